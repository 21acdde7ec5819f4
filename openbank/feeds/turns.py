"""Lets a few watches send at a time; the others wait, first come, first served.

gRPC reports to this process (a message has left, a call has come in) one event after another. With a thousand messages
on their way at once, every call would wait for all of them. So only a few are under way. Watches that wait for their
turn miss nothing: events recorded meanwhile travel together.

A message to a client without room for it does not leave, and must not keep its place. It is recognized when others
overtake it. A clock would, on a busy machine, take every message for a stuck one.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

OVERTAKEN_MAX = 64
"""After this many later messages have left, nothing waits for a message any more."""
STUCK_SECONDS = 0.005
"""After this time without a message that has left, nothing waits for those on their way."""


class _Waiting(NamedTuple):
    whose: object
    turn: asyncio.Future[None]


class Turns:
    def __init__(self, at_once: int) -> None:
        self.round = 0
        """Changes once all watches that waited at its last change have had their turn."""
        self._at_once = at_once
        self._sending: dict[object, int] = {}
        """For each message under way, in order: how many had left when it began."""
        self._left = 0
        self._queue: deque[_Waiting] = deque()
        self._of_this_round = 0
        self._watching = False

    @property
    def waiting(self) -> int:
        return sum(not waiting.turn.done() for waiting in self._queue)

    async def take(self, whose: object) -> None:
        """Waits until it is the turn of `whose`. Call `done` afterwards, also after a cancellation."""
        if not self._queue and len(self._sending) < self._at_once:
            self.round += 1
            self._sending[whose] = self._left
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(whose, turn))
        if not self._watching:
            self._watch()
        await turn

    def done(self, whose: object) -> None:
        """Call when the message of `whose` has left, or there was none."""
        if self._sending.pop(whose, None) is not None:
            self._left += 1
        if self._queue:
            self._let_on()

    def _let_on(self) -> None:
        while self._sending and self._left - self._sending[first := next(iter(self._sending))] > OVERTAKEN_MAX:
            del self._sending[first]
        while self._queue and len(self._sending) < self._at_once:
            if self._of_this_round == 0:
                self._of_this_round = len(self._queue)
                self.round += 1
            self._of_this_round -= 1
            whose, turn = self._queue.popleft()
            if not turn.done():
                self._sending[whose] = self._left
                turn.set_result(None)

    def _watch(self) -> None:
        """Runs while there is a queue."""
        self._watching = bool(self._queue)
        if self._watching:
            asyncio.get_running_loop().call_later(STUCK_SECONDS, self._look, self._left)

    def _look(self, left: int) -> None:
        # Events that gRPC already has come first.
        asyncio.get_running_loop().call_soon(self._go_on, left)

    def _go_on(self, left: int) -> None:
        if left == self._left:
            self._sending.clear()
            self._let_on()
        self._watch()
