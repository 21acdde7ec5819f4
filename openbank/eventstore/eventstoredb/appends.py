"""Appends to EventStoreDB: all of them on one long-lived call, and each until its outcome is known.

A call an append costs three times as much. An answer that is lost with its connection says nothing about the append;
so the very same append, with the same ids and the same expected version, is sent again until the server knows it
(success, nothing is written twice) or has something else in its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import Any, NamedTuple

from esdbclient.common import AsyncGrpcStreamer, handle_rpc_error
from esdbclient.exceptions import (
    AccessDeniedError,
    BadRequestError,
    EventStoreDBClientException,
    MaximumAppendSizeExceededError,
    StreamIsDeleted,
    WrongCurrentVersion,
)
from esdbclient.protos.Grpc import shared_pb2, streams_pb2
from esdbclient.streams import AsyncStreamsService, StreamState
from google.protobuf import empty_pb2
from grpc.aio import AioRpcError

from openbank.eventstore.errors import (
    AppendTooLarge,
    LogReplaced,
    OutcomeUnknown,
    StoreUnavailable,
    StreamDamaged,
    WrongExpectedRevision,
)
from openbank.eventstore.eventstoredb.discovery import PROBED_STREAM
from openbank.eventstore.eventstoredb.events import metadata_of, payload, uuid_text
from openbank.eventstore.eventstoredb.link import (
    CONNECT_SECONDS,
    VISIBLE_PAUSE_SECONDS,
    VISIBLE_SECONDS,
    Link,
)
from openbank.eventstore.eventstoredb.own_events import OwnEvents, Sent
from openbank.eventstore.eventstoredb.refusals import MISSING_RIGHT, AccessRefused
from openbank.eventstore.port import APPEND_BYTES_MAX, NO_STREAM, NewEvent, RecordedEvent, StoredPayload

ANSWER_SECONDS = 2.0
"""For one answer, before the append is sent again. The server gives up a write of its own after as long."""
RETRY_SECONDS_MIN = 0.05
RETRY_SECONDS_MAX = 0.5
PROBE_PAUSE_SECONDS = 0.3
"""While appends have no outcome, callers are told at once, and the server is asked this often."""

REVISION_MAX = (1 << 63) - 1

_EVERY_REQUEST = streams_pb2.BatchAppendReq(is_final=True)
_EVERY_REQUEST.options.deadline.FromTimedelta(timedelta(seconds=ANSWER_SECONDS))

Find = Callable[[], Awaitable[Sequence[RecordedEvent]]]
"""What the stream has in the place of an append's events, as far as that can be read."""


async def nowhere() -> Sequence[RecordedEvent]:
    """For appends of which it does not matter what is there in their place."""
    return ()


class _AnswerLost(Exception):
    """Whether the append was written is unknown."""


class _NotTaken(_AnswerLost):
    """It was surely not: the node does not lead."""


class _Asked(NamedTuple):
    """An append on its way, since `time`."""

    time: float
    answer: asyncio.Future[streams_pb2.BatchAppendResp]


class Appends:
    def __init__(self, link: Link, settle_seconds: float, own: OwnEvents) -> None:
        """`settle_seconds` is how long the outcome of an append is asked for, when its answer is lost."""
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._settle_seconds = settle_seconds
        self._own = own
        self._call: _Call | None = None
        self._opening: asyncio.Task[_Call] | None = None
        self._numbers = count(1)
        self._under_way = 0
        self._none_under_way = asyncio.Event()
        self._none_under_way.set()
        self._probing: asyncio.Task[None] | None = None

    @property
    def stuck(self) -> bool:
        """Whether an append got no outcome, and the server has answered none since."""
        return self._probing is not None

    async def append(self, stream: str, expected: int, events: Sequence[NewEvent], find: Find) -> int:
        """The position of the last of `events`, which the log has after `expected` and nowhere else."""
        if self.stuck:
            raise StoreUnavailable("EventStoreDB takes no appends")
        request = _request(stream, expected, events, next(self._numbers), self._own)
        until = self._loop.time() + max(self._settle_seconds, self._link.patience_seconds)
        self._under_way += 1
        self._none_under_way.clear()
        try:
            return await self._try(request, find)
        except _AnswerLost as lost:
            return await self._settle(request, find, until, may_be_written=not isinstance(lost, _NotTaken))
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
        """Raises AccessRefused where nobody with these credentials may append to a stream. Writes nothing."""
        try:
            answer = await self._ask(_request(stream, REVISION_MAX, (), next(self._numbers)))
        except _AnswerLost:
            raise StoreUnavailable("EventStoreDB answers no appends") from None
        if answer.error.details.Is(shared_pb2.AccessDenied.DESCRIPTOR):
            raise AccessRefused(MISSING_RIGHT)

    async def close(self) -> None:
        """Once no append is under way."""
        await self._none_under_way.wait()
        for task in (self._probing, self._opening):
            if task is not None:
                task.cancel()
        if self._call is not None:
            await self._call.stop()

    async def _settle(
        self, request: streams_pb2.BatchAppendReq, find: Find, until: float, *, may_be_written: bool
    ) -> int:
        """The outcome of an append whose answer is lost. One that may be written stays so, whatever is said later."""
        pause = RETRY_SECONDS_MIN
        while self._loop.time() + pause <= until:
            await asyncio.sleep(pause)
            pause = min(pause * 2, RETRY_SECONDS_MAX)
            try:
                return await self._try(request, find)
            except _AnswerLost as lost:
                may_be_written |= not isinstance(lost, _NotTaken)
            except (LogReplaced, AccessRefused):
                if not may_be_written:
                    raise
                break
            except StoreUnavailable:
                pass
        # A server that can't write may still read.
        with suppress(StoreUnavailable, TimeoutError):
            async with asyncio.timeout(ANSWER_SECONDS):
                position = _position_of(request, await find())
            if position is not None:
                return position
        if self._probing is None:
            self._probing = asyncio.create_task(self._probe())
        if not may_be_written:
            raise StoreUnavailable("EventStoreDB takes no appends")
        raise OutcomeUnknown(f"no answer from EventStoreDB for {self._settle_seconds} s")

    async def _try(self, request: streams_pb2.BatchAppendReq, find: Find) -> int:
        return await _conclude(request, await self._ask(request), find)

    async def _ask(self, request: streams_pb2.BatchAppendReq) -> streams_pb2.BatchAppendResp:
        """The server's answer. Raises StoreUnavailable where nothing was sent, and _AnswerLost."""
        self._link.check()
        call = self._call
        if call is None or call.ended:
            call = await self._open_call()
        return await call.ask(request)

    async def _probe(self) -> None:
        """Until the server answers appends again."""
        try:
            while not await self._answers():  # noqa: ASYNC110 - only the server knows
                await asyncio.sleep(PROBE_PAUSE_SECONDS)
        finally:
            self._probing = None

    async def _answers(self) -> bool:
        """Whether the server says why an append can't be: after a revision that can't be there nothing is written."""
        request = _request(PROBED_STREAM, REVISION_MAX, (), next(self._numbers))
        try:
            answer = await self._ask(request)
        except LogReplaced:
            # For good. Whoever appends is told so.
            return True
        except (StoreUnavailable, _AnswerLost):
            return False
        return bool(answer.error.details.Is(shared_pb2.WrongExpectedVersion.DESCRIPTOR))

    async def _open_call(self) -> _Call:
        """Opened by whoever needs it first, for all. Raises StoreUnavailable."""
        if self._opening is None:
            self._opening = asyncio.create_task(_Call.open(self._link))
            self._opening.add_done_callback(self._opened)
        return await asyncio.shield(self._opening)

    def _opened(self, opening: asyncio.Task[_Call]) -> None:
        self._opening = None
        if not opening.cancelled() and opening.exception() is None:
            self._call = opening.result()


class _Call(AsyncGrpcStreamer):
    """One `BatchAppend` call. esdbclient stops it with its connection, as it does with its own calls."""

    def __init__(self, link: Link) -> None:
        super().__init__(link.connection._grpc_streamers)
        self.ended = False
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._requests: asyncio.Queue[streams_pb2.BatchAppendReq | None] = asyncio.Queue()
        self._waiting: dict[str, _Asked] = {}
        """In the order in which they were asked."""
        self._call: Any = link.append_call(self._sent())
        self._answered = False
        self._refused: AccessRefused | None = None
        """Why the server has refused the call as a whole: then it has done nothing of what it was asked."""
        self._receiving: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, link: Link) -> _Call:
        """A call that has reached the server; until then nothing has been sent. Raises StoreUnavailable."""
        async with link.answered():
            call = cls(link)
            try:
                await asyncio.wait_for(call._call.wait_for_connection(), CONNECT_SECONDS)
            except AioRpcError as error:
                await call.stop()
                raise handle_rpc_error(error) from None
            except (TimeoutError, asyncio.CancelledError):
                await call.stop()
                raise
        call._receiving = asyncio.create_task(call._receive())
        call._watching = asyncio.create_task(call._watch())
        try:
            link.guard.lost()
            await link.guard.passed()
        except BaseException:
            await call.stop()
            raise
        return call

    async def ask(self, request: streams_pb2.BatchAppendReq) -> streams_pb2.BatchAppendResp:
        """The server's answer. Raises _AnswerLost, and AccessRefused where the call was refused."""
        if self.ended:
            raise self._lost()
        number = request.correlation_id.string
        answer: asyncio.Future[streams_pb2.BatchAppendResp] = self._loop.create_future()
        self._waiting[number] = _Asked(self._loop.time(), answer)
        self._requests.put_nowait(request)
        try:
            return await answer
        finally:
            self._waiting.pop(number, None)

    async def stop(self) -> None:
        self._call.cancel()
        self._end()

    async def _sent(self) -> AsyncIterator[streams_pb2.BatchAppendReq]:
        while (request := await self._requests.get()) is not None:
            yield request

    async def _receive(self) -> None:
        try:
            async for response in self._call:
                self._answered = True
                asked = self._waiting.get(response.correlation_id.string)
                self._link.pulse.heard()
                if asked is not None and not asked.answer.done():
                    asked.answer.set_result(response)
        except AioRpcError as error:
            reason = handle_rpc_error(error)
            if not self._answered:
                self._refused = self._link.access_refused(reason)
            self._link.broken(reason)
        finally:
            self._link.guard.lost()
            self._call.cancel()
            self._end()

    async def _watch(self) -> None:
        """Counts answers that do not come as lost: one timer for all of them, as this is the hottest path."""
        while True:
            await asyncio.sleep(ANSWER_SECONDS / 4)
            now = self._loop.time()
            for asked in self._waiting.values():
                if now - asked.time < ANSWER_SECONDS:
                    break
                _lose(asked.answer, _AnswerLost())

    def _end(self) -> None:
        self.ended = True
        self._requests.put_nowait(None)
        if self._watching is not None:
            self._watching.cancel()
        for asked in self._waiting.values():
            _lose(asked.answer, self._lost())

    def _lost(self) -> Exception:
        return _AnswerLost() if self._refused is None else AccessRefused(str(self._refused))


def _lose(answer: asyncio.Future[streams_pb2.BatchAppendResp], why: Exception) -> None:
    if not answer.done():
        answer.set_exception(why)


def _request(
    stream: str, expected: int, events: Sequence[NewEvent], number: int, own: OwnEvents | None = None
) -> streams_pb2.BatchAppendReq:
    """An append, whose `number` its answer repeats. Its events are noted in `own`."""
    request = streams_pb2.BatchAppendReq()
    request.CopyFrom(_EVERY_REQUEST)
    request.correlation_id.string = f"00000000-0000-0000-0000-{number:012x}"
    options = request.options
    options.stream_identifier.stream_name = stream.encode()
    if expected == NO_STREAM:
        options.no_stream.SetInParent()
    else:
        options.stream_position = expected - 1
    size = 0
    for event in events:
        content_type, data = payload(event.type, event.data)
        about = metadata_of(event)
        proposed = request.proposed_messages.add()
        proposed.id.string = uuid_text(event.id)
        proposed.data, proposed.custom_metadata = data, about
        system = proposed.metadata
        system["type"], system["content-type"] = event.type, content_type
        size += len(data) + len(about)
        if own is not None and not isinstance(event.data, StoredPayload):
            own.note(event.id, Sent(event.type, event.data, event.metadata, data, about))
    # Here, not by the server: a message beyond gRPC's own limit would break the call for everybody.
    if size > APPEND_BYTES_MAX:
        raise AppendTooLarge(stream)
    return request


async def _conclude(request: streams_pb2.BatchAppendReq, response: streams_pb2.BatchAppendResp, find: Find) -> int:
    """What an answer means. Raises _AnswerLost for one that tells nothing, and what `append` raises."""
    if response.HasField("success"):
        return await _written(request, response, find)
    stream = request.options.stream_identifier.stream_name.decode()
    try:
        AsyncStreamsService._convert_batch_append_resp(response, stream, StreamState.ANY)
    except WrongCurrentVersion as error:
        position = _position_of(request, await _read_cause(request, response, find))
        if position is None:
            raise WrongExpectedRevision(f"{stream}: {error}") from None
        return position
    except StreamIsDeleted as error:
        raise StreamDamaged(f"{stream} was deleted for ever, by a tombstone") from error
    except MaximumAppendSizeExceededError as error:
        raise AppendTooLarge(stream) from error
    except BadRequestError as error:
        raise ValueError(f"EventStoreDB refused an append to {stream}") from error
    except AccessDeniedError as error:
        raise AccessRefused(MISSING_RIGHT) from error
    except EventStoreDBClientException:
        # It timed out inside the server, or the server can't tell.
        lost = _NotTaken() if response.error.details.Is(empty_pb2.Empty.DESCRIPTOR) else _AnswerLost()
    raise lost


async def _written(request: streams_pb2.BatchAppendReq, response: streams_pb2.BatchAppendResp, find: Find) -> int:
    success = response.success
    if success.current_revision + 1 != _expected(request) + len(request.proposed_messages):
        stream = request.options.stream_identifier.stream_name.decode()
        raise StreamDamaged(f"{stream} was deleted in EventStoreDB, and continues at {success.current_revision + 1}")
    if success.HasField("position"):
        return int(success.position.commit_position)
    position = _position_of(request, await find())
    if position is None:
        # It has them already, says so without their position, and does not show them yet.
        raise _AnswerLost
    return position


async def _read_cause(
    request: streams_pb2.BatchAppendReq, response: streams_pb2.BatchAppendResp, find: Find
) -> Sequence[RecordedEvent]:
    """What stands in the place of a refused append. The server refuses before the cause can be read, so it is read
    until it is there. Raises StoreUnavailable where it is not in bounded time."""
    refusal = shared_pb2.WrongExpectedVersion()
    response.error.details.Unpack(refusal)
    revision = refusal.current_stream_revision + 1 if refusal.HasField("current_stream_revision") else NO_STREAM
    if find is nowhere:
        return ()
    there = min(revision - _expected(request), len(request.proposed_messages))
    loop = asyncio.get_running_loop()
    until = loop.time() + VISIBLE_SECONDS
    while len(stored := await find()) < there:
        if loop.time() > until:
            stream = request.options.stream_identifier.stream_name.decode()
            raise StoreUnavailable(f"EventStoreDB has revision {revision} of {stream}, and it cannot be read yet")
        await asyncio.sleep(VISIBLE_PAUSE_SECONDS)
    return stored


def _position_of(request: streams_pb2.BatchAppendReq, stored: Sequence[RecordedEvent]) -> int | None:
    """The position of the last of an append's events, where it is they that are stored."""
    ours = [message.id.string for message in request.proposed_messages]
    return stored[-1].position if ours and [uuid_text(event.id) for event in stored] == ours else None


def _expected(request: streams_pb2.BatchAppendReq) -> int:
    return request.options.stream_position + 1 if request.options.HasField("stream_position") else NO_STREAM
