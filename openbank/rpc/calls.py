"""The calls under way: how many there may be, and how they end when the server stops."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from openbank.eventstore.errors import LogReplaced
from openbank.feeds.errors import ServerDraining
from openbank.rpc.backlog import Backlog
from openbank.rpc.errors import TooManyCalls
from openbank.rpc.statistics import CallStatistics
from openbank.tracing.span import Traces

GIVE_WAY_SECONDS = 0.005
"""How long background work stands back for calls. It then does its next slice, unless there is a burst of calls."""
BURST_CALLS = 4
"""There is a burst while so many more calls arrive than end in that time. It cannot last: all groups have a limit."""


class Group:
    """Calls that share a limit."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Calls:
    """Calls in groups with a limit each: commands, queries, and queries that wait because the views are behind, for
    their token or for their refusal. None keeps the others out, however many there are of it. Watches are not among
    them: the feed counts its own.

    A stop goes through four steps. `drain`: new calls are refused. `cut`: calls that did not finish in time are
    cancelled. `hold`: new calls wait. `release`: they are refused, at the moment when the server says goodbye to their
    connections; so no caller's next call arrives between its last answer and the goodbye, where gRPC would cancel it
    without a reason.
    """

    def __init__(self, maximum: int, traces: Traces | None = None) -> None:
        self.maximum = maximum
        self.traces = traces
        self.refusing = False
        """Whether new calls are refused."""
        self._draining = False
        self._replaced: str | None = None
        self._cut = False
        self.commands = Group()
        self.queries = Group()
        self.backlog = Backlog()
        self.waiting = Group()
        self.statistics = CallStatistics()
        self._tasks: dict[asyncio.Task[Any] | None, Group] = {}
        self._none_left = asyncio.Event()
        self._held = 0
        self._released: asyncio.Event | None = None

    def enter(self, group: Group) -> None:
        """Counts the call, which is the task that runs, until `leave`. Raises TooManyCalls."""
        if group.count >= self.maximum:
            raise TooManyCalls(self.maximum)
        group.count += 1
        self.backlog.arrived += 1
        self._tasks[asyncio.current_task()] = group

    def wait(self) -> None:
        """From now on the call counts among those that wait, and makes room for another. Raises TooManyCalls."""
        task = asyncio.current_task()
        group = self._tasks.get(task, self.waiting)
        if group is self.waiting:
            return
        self.enter(self.waiting)
        group.count -= 1

    async def wait_for_refusal(self) -> None:
        """Waits for the end of a burst of calls, as one of those that wait. Raises TooManyCalls."""
        self.wait()
        await self.backlog.wait()

    def leave(self) -> None:
        """Does nothing for a call that was refused."""
        group = self._tasks.pop(asyncio.current_task(), None)
        if group is not None:
            group.count -= 1
        if self._draining and not self._tasks:
            self._none_left.set()

    def giving_way(self, seconds: float = GIVE_WAY_SECONDS) -> Callable[[], Awaitable[None]]:
        """What one kind of background work awaits between its slices: it lets calls go first.

        grpc.aio takes up one call after another, each some turns of the loop after the one before. A slice of work in
        each of these turns would let a queue of calls wait for more slices than it has calls.
        """
        seen = self.backlog.arrived

        async def give_way() -> None:
            nonlocal seen
            before, seen = seen, self.backlog.arrived
            if seen == before:
                await asyncio.sleep(0)
                return
            is_burst = True
            while is_burst:
                under_way = len(self._tasks)
                await asyncio.sleep(seconds)
                is_burst = len(self._tasks) >= under_way + BURST_CALLS

        return give_way

    async def refuse(self, *, for_operators: bool = False) -> None:
        """Raises the refusal of calls while `refusing`; first waits while calls are held.

        What is `for_operators` is refused only by a server that stops: they must be able to put the log right.
        """
        if self._replaced is not None and not self._draining:
            if for_operators:
                return
            raise LogReplaced(self._replaced)
        if self._released and self._held < self.maximum:
            self._held += 1
            try:
                await self._released.wait()
            finally:
                self._held -= 1
        raise ServerDraining

    @property
    def was_cut(self) -> bool:
        """Whether the call's cancellation came from `cut`, not from its caller."""
        return self._cut and asyncio.current_task() in self._tasks

    def refuse_for(self, replaced: str) -> None:
        """New calls are refused since the store does not hold the bank's log any more."""
        self.refusing, self._replaced = True, replaced

    def drain(self) -> None:
        self.refusing = self._draining = True

    async def finished(self) -> None:
        """Waits until no call is under way. Comes after `drain`."""
        if self._tasks:
            await self._none_left.wait()

    def cut(self) -> None:
        self._cut = True
        for task in self._tasks:
            if task is not None:
                task.cancel()

    def hold(self) -> None:
        self._released = asyncio.Event()

    def release(self) -> None:
        if self._released:
            self._released.set()
            self._released = None
