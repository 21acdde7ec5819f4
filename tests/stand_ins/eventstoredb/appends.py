"""Append, BatchAppend, Delete and Tombstone."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import NoReturn

import grpc
from esdbclient.protos.Grpc import code_pb2, shared_pb2, status_pb2, streams_pb2
from google.protobuf import empty_pb2

from tests.stand_ins.eventstoredb.fate import Cut, Silence, abort_cut, never, under_faults
from tests.stand_ins.eventstoredb.faults import Faults
from tests.stand_ins.eventstoredb.log import (
    Appended,
    Log,
    NotCommitted,
    Proposed,
    StreamDeleted,
    WrongExpectedVersion,
)
from tests.stand_ins.eventstoredb.messages import (
    EXPECTED,
    NOT_READY,
    BadRequest,
    Context,
    abort,
    abort_deleted,
    abort_invalid,
    abort_not_leader,
    abort_not_ready,
    abort_unexpected,
    append_wrong_version,
    fill_success,
    not_one_of,
    only,
    proposed_of,
    refused,
    revision_of,
    stream_of,
    uuid_of,
    wrong_version,
)
from tests.stand_ins.eventstoredb.modes import Modes
from tests.stand_ins.eventstoredb.node import Node

MAX_APPEND_BYTES = 1 << 20
WRITE_TIMEOUT_SECONDS = 2.0

BatchOptions = streams_pb2.BatchAppendReq.Options
DeleteOptions = streams_pb2.DeleteReq.Options | streams_pb2.TombstoneReq.Options


Committed = Callable[[], Awaitable[None]]
"""Returns once an append is committed. Raises Silence where no caller will get the answer."""


class TimedOut(Exception):
    pass


class TooLarge(Exception):
    pass


@dataclass(slots=True)
class Pending:
    """One append of a BatchAppend call, until its final request has come."""

    stream: str
    expected: int
    events: list[Proposed] = field(default_factory=list)
    size: int = 0

    def add(self, proposed: list[Proposed]) -> None:
        self.events += proposed
        self.size += sum(event.size for event in proposed)


class Writer:
    """The log, written under faults and in the modes that are on."""

    def __init__(self, log: Log, faults: Faults, modes: Modes, node: Node) -> None:
        self.log = log
        self.faults = faults
        self.node = node
        self._modes = modes

    async def append(self, stream: str, expected: int, events: list[Proposed]) -> tuple[Appended, Committed]:
        """The answer, and when to give it."""
        delay = self._modes.commit_delay()
        remembering = not self.faults.forgets(stream)
        committed: Committed = never_late

        def act() -> Appended:
            nonlocal committed
            self._check_leads()
            end = self.log.head
            appended = self.log.append(stream, expected, events, remembering=remembering, committing=not delay)
            if delay and self.log.head != end:
                committed = self._commit_later(self.log, delay)
            return appended

        try:
            return await under_faults(self.faults, "append", stream, act), committed
        except NotCommitted:
            raise Silence from None

    def _commit_later(self, log: Log, delay: float) -> Committed:
        """The caller may be gone by then: it is committed all the same."""
        end, drops = log.head, log.drops
        asyncio.get_running_loop().call_later(delay, lambda: log.commit(end) if log.drops == drops else None)
        return partial(self._committed, log, end, drops)

    async def remove(self, stream: str, expected: int, *, for_ever: bool) -> int:
        def act() -> int:
            self._check_leads()
            return (self.log.tombstone if for_ever else self.log.delete)(stream, expected)

        return await under_faults(self.faults, "delete", stream, act)

    async def _committed(self, log: Log, end: int, drops: int) -> None:
        await log.until_committed(end)
        self._check_leads()
        if log.drops != drops:
            raise Silence

    def _check_leads(self) -> None:
        """A node that was deposed since it took an append writes nothing, and does not learn what becomes of it."""
        if not self.node.leads:
            raise Silence


async def never_late() -> None:
    pass


class BatchAppendCall:
    """Answers leave while requests come in: waiting for one write after each read would halve the rate."""

    def __init__(self, writer: Writer, context: Context) -> None:
        self._writer = writer
        self._context = context
        self._pending: dict[str, Pending] = {}
        self._answers: asyncio.Queue[streams_pb2.BatchAppendResp] = asyncio.Queue()
        self._timers: set[asyncio.Task[None]] = set()
        self._late: set[asyncio.Task[None]] = set()
        self._silent = False

    async def run(self, requests: AsyncIterator[streams_pb2.BatchAppendReq]) -> None:
        sending = asyncio.create_task(self._send())
        try:
            async for request in requests:
                await self._take(request)
            await asyncio.gather(*self._late)
            await self._answers.join()
            if self._silent:
                await never()  # a call with an append that is not answered does not end
        finally:
            tasks = (sending, *self._timers, *self._late)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self) -> None:
        while True:
            await self._context.write(await self._answers.get())
            self._answers.task_done()

    async def _take(self, request: streams_pb2.BatchAppendReq) -> None:
        response = streams_pb2.BatchAppendResp()
        if request.HasField("correlation_id"):
            response.correlation_id.CopyFrom(request.correlation_id)
        response.stream_identifier.CopyFrom(request.options.stream_identifier)
        try:
            pending = self._collect(request)
            if pending is None:
                return
            response.stream_identifier.stream_name = pending.stream.encode()
            await self._take_place(response)
            if not response.HasField("error"):
                committed = await self._write(pending, response)
                late = asyncio.create_task(self._answer(response, committed))
                self._late.add(late)
                late.add_done_callback(self._late.discard)
                return
        except BadRequest as error:
            detail = shared_pb2.BadRequest(message=str(error))
            response.error.CopyFrom(refused(code_pb2.INVALID_ARGUMENT, "BadRequest", detail))
        except TimedOut:
            response.error.CopyFrom(timed_out())
        except TooLarge:
            too_large = shared_pb2.MaximumAppendSizeExceeded(maxAppendSize=MAX_APPEND_BYTES)
            response.error.CopyFrom(refused(code_pb2.INVALID_ARGUMENT, "MaximumAppendSizeExceeded", too_large))
        except Silence:
            self._silent = True
            return
        except Cut as cut:
            await self._answers.join()  # those before it were given
            if cut.kind != "deny":
                await abort_cut(self._context, cut)
            response.error.CopyFrom(refused(code_pb2.PERMISSION_DENIED, "AccessDenied", shared_pb2.AccessDenied()))
        self._answers.put_nowait(response)

    async def _answer(self, response: streams_pb2.BatchAppendResp, committed: Committed) -> None:
        try:
            await committed()
        except Silence:
            self._silent = True
        else:
            self._answers.put_nowait(response)

    async def _take_place(self, response: streams_pb2.BatchAppendResp) -> None:
        """What a node that does not lead answers."""
        leader = self._writer.node.leader
        if self._writer.node.leads:
            return
        if leader is None:
            response.error.message = NOT_READY
            response.error.details.Pack(empty_pb2.Empty())
        else:
            await abort_not_leader(self._context, leader)

    async def _write(self, pending: Pending, response: streams_pb2.BatchAppendResp) -> Committed:
        try:
            appended, committed = await self._writer.append(pending.stream, pending.expected, pending.events)
            fill_success(response.success, appended)
            return committed
        except WrongExpectedVersion as error:
            response.error.CopyFrom(wrong_version(error, pending.expected))
        except StreamDeleted:
            deleted = shared_pb2.StreamDeleted()
            deleted.stream_identifier.stream_name = pending.stream.encode()
            response.error.CopyFrom(refused(code_pb2.NOT_FOUND, "StreamDeleted", deleted))
        return never_late

    def _collect(self, request: streams_pb2.BatchAppendReq) -> Pending | None:
        """The append that this request completes, if it does."""
        correlation = uuid_of(request.correlation_id)
        pending = self._pending.pop(correlation, None)
        if pending is None:
            if not request.HasField("options"):
                return None
            pending = self._begin(correlation, request)
        pending.add([proposed_of(message) for message in request.proposed_messages])
        if pending.size > MAX_APPEND_BYTES:
            raise TooLarge
        if request.is_final:
            return pending
        self._pending[correlation] = pending
        return None

    def _begin(self, correlation: str, request: streams_pb2.BatchAppendReq) -> Pending:
        stream = stream_of(request.options.stream_identifier)
        seconds = min(seconds_left(request.options), WRITE_TIMEOUT_SECONDS)
        if seconds <= 0:
            raise TimedOut
        pending = Pending(stream, batch_expected(request.options))
        if not request.is_final:
            timer = asyncio.create_task(self._expire(correlation, request.correlation_id, seconds))
            self._timers.add(timer)
            timer.add_done_callback(self._timers.discard)
        return pending

    async def _expire(self, correlation: str, sent: shared_pb2.UUID, seconds: float) -> None:
        await asyncio.sleep(seconds)
        pending = self._pending.pop(correlation, None)
        if pending:
            response = streams_pb2.BatchAppendResp(correlation_id=sent, error=timed_out())
            response.stream_identifier.stream_name = pending.stream.encode()
            self._answers.put_nowait(response)


class Writes:
    """The servicer."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def batch_append(self, requests: AsyncIterator[streams_pb2.BatchAppendReq], context: Context) -> None:
        await BatchAppendCall(self._writer, context).run(requests)

    async def append(self, requests: AsyncIterator[streams_pb2.AppendReq], context: Context) -> streams_pb2.AppendResp:
        try:
            return await self._append(requests, context)
        except BadRequest:
            await abort_unexpected(context)
        except Silence:
            await never()
        except Cut as cut:
            await abort_cut(context, cut)

    async def _append(self, requests: AsyncIterator[streams_pb2.AppendReq], context: Context) -> streams_pb2.AppendResp:
        # All of them first: a client that is still sending would not see a refusal, but a broken call.
        first, *rest = [request async for request in requests] or [streams_pb2.AppendReq()]
        if not first.HasField("options"):
            raise BadRequest
        options = first.options
        form = options.WhichOneof("expected_stream_revision")
        if form is None:
            await abort_invalid(context, not_one_of("AppendReq+Types+Options+ExpectedStreamRevisionOneofCase"))
        expected = EXPECTED[form] if form in EXPECTED else revision_of(options.revision)
        pending = Pending(stream_of(options.stream_identifier), expected)
        for request in rest:
            await check_metadata(request.proposed_message, context)
            pending.add([proposed_of(request.proposed_message)])
            if pending.size > MAX_APPEND_BYTES:
                await abort_too_large(context)
        return await self._write(pending, context)

    async def _write(self, pending: Pending, context: Context) -> streams_pb2.AppendResp:
        response = streams_pb2.AppendResp()
        if not self._writer.node.leads:
            await abort_elsewhere(context, self._writer.node)
        try:
            appended, committed = await self._writer.append(pending.stream, pending.expected, pending.events)
            await committed()
            fill_success(response.success, appended)
            return response
        except WrongExpectedVersion as error:
            return append_wrong_version(error, pending.expected)
        except StreamDeleted:
            await abort_deleted(context, pending.stream)

    async def delete(self, requests: AsyncIterator[streams_pb2.DeleteReq], context: Context) -> streams_pb2.DeleteResp:
        position = await self._remove((await only(requests)).options, context, for_ever=False)
        response = streams_pb2.DeleteResp()
        response.position.commit_position = response.position.prepare_position = position
        return response

    async def tombstone(
        self, requests: AsyncIterator[streams_pb2.TombstoneReq], context: Context
    ) -> streams_pb2.TombstoneResp:
        position = await self._remove((await only(requests)).options, context, for_ever=True)
        response = streams_pb2.TombstoneResp()
        response.position.commit_position = response.position.prepare_position = position
        return response

    async def _remove(self, options: DeleteOptions, context: Context, *, for_ever: bool) -> int:
        form = options.WhichOneof("expected_stream_revision")
        if form is None:
            await abort_invalid(context, not_one_of("DeleteReq+Types+Options+ExpectedStreamRevisionOneofCase"))
        stream, expected = "", 0
        try:
            expected = EXPECTED[form] if form in EXPECTED else revision_of(options.revision)
            stream = stream_of(options.stream_identifier)
            return await self._writer.remove(stream, expected, for_ever=for_ever)
        except BadRequest:
            await abort_unexpected(context)
        except Silence:
            await never()
        except Cut as cut:
            await abort_cut(context, cut)
        except StreamDeleted:
            await abort_deleted(context, stream)
        except WrongExpectedVersion as error:
            await abort_wrong_version(context, stream, expected, error.current)


async def abort_elsewhere(context: Context, node: Node) -> NoReturn:
    if node.leader is None:
        await abort_not_ready(context)
    await abort_not_leader(context, node.leader)


def batch_expected(options: BatchOptions) -> int:
    form = options.WhichOneof("expected_stream_position")
    if form is None:
        raise BadRequest(not_one_of("BatchAppendReq+Types+Options+ExpectedStreamPositionOneofCase"))
    return EXPECTED[form] if form in EXPECTED else revision_of(options.stream_position)


def seconds_left(options: BatchOptions) -> float:
    form = options.WhichOneof("deadline_option")
    if form == "deadline":
        return options.deadline.seconds + options.deadline.nanos / 1e9
    if form == "deadline_21_10_0":
        return options.deadline_21_10_0.seconds - time.time()
    return WRITE_TIMEOUT_SECONDS


def timed_out() -> status_pb2.Status:
    return refused(code_pb2.DEADLINE_EXCEEDED, "Timeout", shared_pb2.Timeout())


async def check_metadata(message: streams_pb2.AppendReq.ProposedMessage, context: Context) -> None:
    for name in ("type", "content-type"):
        if name not in message.metadata:
            await abort(
                context,
                grpc.StatusCode.INVALID_ARGUMENT,
                f"Required Metadata Property '{name}' is missing",
                exception="missing-required-metadata-property",
                required_metadata_properties="type,content-type",
            )


async def abort_too_large(context: Context) -> NoReturn:
    await abort(
        context,
        grpc.StatusCode.INVALID_ARGUMENT,
        f"Maximum Append Size of {MAX_APPEND_BYTES} Exceeded.",
        exception="maximum-append-size-exceeded",
        maximum_append_size=MAX_APPEND_BYTES,
    )


async def abort_wrong_version(context: Context, stream: str, expected: int, actual: int) -> NoReturn:
    await abort(
        context,
        grpc.StatusCode.FAILED_PRECONDITION,
        f"Delete failed due to WrongExpectedVersion. Stream: {stream}, Expected version: {expected}, "
        f"Actual version: {actual}",
        exception="wrong-expected-version",
        stream_name=stream,
        expected_version=expected,
        actual_version=actual,
    )
