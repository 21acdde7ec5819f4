"""Appends to EventStoreDB: each is followed until its outcome is known.

An answer that is lost with its connection says nothing about the append. So the same append, with the same ids and the
same expected version, is sent again until the server has it (success, nothing is written twice) or has something else
in its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from itertools import count

from esdbclient.protos.Grpc import shared_pb2, streams_pb2

from openbank.eventstore.errors import LogReplaced, OutcomeUnknown, StoreUnavailable
from openbank.eventstore.eventstoredb.append_call import AppendCall
from openbank.eventstore.eventstoredb.append_messages import (
    ANSWER_SECONDS,
    AnswerLost,
    Find,
    NotTaken,
    append_request,
    conclude,
    position_of,
)
from openbank.eventstore.eventstoredb.discovery import PROBED_STREAM
from openbank.eventstore.eventstoredb.link import Link
from openbank.eventstore.eventstoredb.own_events import OwnEvents
from openbank.eventstore.eventstoredb.refusals import MISSING_RIGHT, AccessRefused
from openbank.eventstore.port import NewEvent

RETRY_SECONDS_MIN = 0.05
RETRY_SECONDS_MAX = 0.5
PROBE_PAUSE_SECONDS = 0.3
"""How often the server is asked again while appends have no outcome. Callers get an error at once meanwhile."""

REVISION_MAX = (1 << 63) - 1


class Appends:
    def __init__(self, link: Link, settle_seconds: float, own: OwnEvents) -> None:
        """`settle_seconds` is how long the outcome of an append is asked for, when its answer is lost."""
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._settle_seconds = settle_seconds
        self._own = own
        self._call: AppendCall | None = None
        self._opening: asyncio.Task[AppendCall] | None = None
        self._numbers = count(1)
        self._under_way = 0
        self._none_under_way = asyncio.Event()
        self._none_under_way.set()
        self._probing: asyncio.Task[None] | None = None

    @property
    def stuck(self) -> bool:
        """Whether an append got no outcome, and the server has not answered another one since."""
        return self._probing is not None

    async def append(self, stream: str, expected: int, events: Sequence[NewEvent], find: Find) -> int:
        """Appends `events` right after `expected`, or nowhere. Returns the position of the last one."""
        if self.stuck:
            raise StoreUnavailable("EventStoreDB takes no appends")
        request = append_request(stream, expected, events, next(self._numbers), self._own)
        until = self._loop.time() + max(self._settle_seconds, self._link.patience_seconds)
        self._under_way += 1
        self._none_under_way.clear()
        try:
            return await self._try(request, find)
        except AnswerLost as lost:
            return await self._settle(request, find, until, may_be_written=not isinstance(lost, NotTaken))
        except (LogReplaced, AccessRefused):
            raise
        except StoreUnavailable:
            if not self._link.patience_seconds:
                raise
            return await self._settle(request, find, until, may_be_written=False)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._none_under_way.set()

    async def check_right(self, stream: str) -> None:
        """Raises AccessRefused if these credentials lack the right to append to a stream. Writes nothing."""
        try:
            answer = await self._ask(append_request(stream, REVISION_MAX, (), next(self._numbers)))
        except AnswerLost:
            raise StoreUnavailable("EventStoreDB answers no appends") from None
        if answer.error.details.Is(shared_pb2.AccessDenied.DESCRIPTOR):
            raise AccessRefused(MISSING_RIGHT)

    async def close(self) -> None:
        """Waits until no append is under way."""
        await self._none_under_way.wait()
        for task in (self._probing, self._opening):
            if task is not None:
                task.cancel()
        if self._call is not None:
            await self._call.stop()

    async def _settle(
        self, request: streams_pb2.BatchAppendReq, find: Find, until: float, *, may_be_written: bool
    ) -> int:
        """Finds the outcome of an append whose answer is lost. Once it may have been written, a later refusal changes
        nothing."""
        pause = RETRY_SECONDS_MIN
        while self._loop.time() + pause <= until:
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_SECONDS_MAX)
            try:
                return await self._try(request, find)
            except AnswerLost as lost:
                may_be_written |= not isinstance(lost, NotTaken)
            except (LogReplaced, AccessRefused):
                if not may_be_written:
                    raise
                break
            except StoreUnavailable:
                pass
        # A server that can't write may still read.
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                position = position_of(request, await find())
            if position is not None:
                return position
        if self._probing is None:
            self._probing = asyncio.create_task(self._probe())
        if not may_be_written:
            raise StoreUnavailable("EventStoreDB takes no appends")
        raise OutcomeUnknown(f"no answer from EventStoreDB for {self._settle_seconds} s")

    async def _try(self, request: streams_pb2.BatchAppendReq, find: Find) -> int:
        return await conclude(request, await self._ask(request), find)

    async def _ask(self, request: streams_pb2.BatchAppendReq) -> streams_pb2.BatchAppendResp:
        """The server's answer. Raises StoreUnavailable if nothing was sent, and AnswerLost."""
        self._link.check()
        call = self._call
        if call is None or call.ended:
            call = await self._open_call()
        return await call.ask(request)

    async def _probe(self) -> None:
        """Runs until the server answers appends again."""
        try:
            while not await self._answers():  # noqa: ASYNC110 - only the server knows
                await asyncio.sleep(PROBE_PAUSE_SECONDS)
        finally:
            self._probing = None

    async def _answers(self) -> bool:
        """Whether the server gives a reason for refusing an append. The expected revision cannot exist, so nothing is
        written."""
        request = append_request(PROBED_STREAM, REVISION_MAX, (), next(self._numbers))
        try:
            answer = await self._ask(request)
        except LogReplaced:
            # Permanent: the next append gets the error.
            return True
        except (StoreUnavailable, AnswerLost):
            return False
        return bool(answer.error.details.Is(shared_pb2.WrongExpectedVersion.DESCRIPTOR))

    async def _open_call(self) -> AppendCall:
        """The call, opened once for all callers. Raises StoreUnavailable."""
        if self._opening is None:
            self._opening = asyncio.create_task(AppendCall.open(self._link))
            self._opening.add_done_callback(self._opened)
        return await asyncio.shield(self._opening)

    def _opened(self, opening: asyncio.Task[AppendCall]) -> None:
        self._opening = None
        if not opening.cancelled() and opening.exception() is None:
            self._call = opening.result()
