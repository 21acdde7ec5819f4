"""An append as EventStoreDB has it: the request, and what an answer to it means."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

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

from openbank.eventstore.errors import AppendTooLarge, StoreUnavailable, StreamDamaged, WrongExpectedRevision
from openbank.eventstore.eventstoredb.events import metadata_of, payload, uuid_text
from openbank.eventstore.eventstoredb.link import VISIBLE_PAUSE_SECONDS, VISIBLE_SECONDS
from openbank.eventstore.eventstoredb.own_events import OwnEvents, Sent
from openbank.eventstore.eventstoredb.refusals import MISSING_RIGHT, AccessRefused
from openbank.eventstore.port import APPEND_BYTES_MAX, NO_STREAM, NewEvent, RecordedEvent, StoredPayload

ANSWER_SECONDS = 2.0
"""How long to wait for an answer before the append is sent again. The server gives a write up after the same time."""

_EVERY_REQUEST = streams_pb2.BatchAppendReq(is_final=True)
_EVERY_REQUEST.options.deadline.FromTimedelta(timedelta(seconds=ANSWER_SECONDS))

Find = Callable[[], Awaitable[Sequence[RecordedEvent]]]
"""Reads what the stream has in place of an append's events."""


class AnswerLost(Exception):
    """It is unknown whether the append was written."""


class NotTaken(AnswerLost):
    """The append was not written: the node does not lead."""


async def nowhere() -> Sequence[RecordedEvent]:
    """The `Find` of an append whose caller does not need to know what is there instead."""
    return ()


def append_request(
    stream: str, expected: int, events: Sequence[NewEvent], number: int, own: OwnEvents | None = None
) -> streams_pb2.BatchAppendReq:
    """An append. Its answer repeats `number`. Its events are noted in `own`."""
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
    # Checked here, not by the server: a message beyond gRPC's own limit would break the call for all appends.
    if size > APPEND_BYTES_MAX:
        raise AppendTooLarge(stream)
    return request


async def conclude(request: streams_pb2.BatchAppendReq, response: streams_pb2.BatchAppendResp, find: Find) -> int:
    """What an answer means. Raises AnswerLost for an answer that leaves the outcome open, and what `append` raises."""
    if response.HasField("success"):
        return await _written(request, response, find)
    stream = request.options.stream_identifier.stream_name.decode()
    try:
        AsyncStreamsService._convert_batch_append_resp(response, stream, StreamState.ANY)
    except WrongCurrentVersion as error:
        position = position_of(request, await _read_cause(request, response, find))
        if position is None:
            raise WrongExpectedRevision(f"{stream}: {error}") from None
        return position
    except StreamIsDeleted as error:
        raise StreamDamaged(f"{stream} was deleted permanently, by a tombstone") from error
    except MaximumAppendSizeExceededError as error:
        raise AppendTooLarge(stream) from error
    except BadRequestError as error:
        raise ValueError(f"EventStoreDB refused an append to {stream}") from error
    except AccessDeniedError as error:
        raise AccessRefused(MISSING_RIGHT) from error
    except EventStoreDBClientException:
        # It timed out inside the server, or the server does not know.
        lost = NotTaken() if response.error.details.Is(empty_pb2.Empty.DESCRIPTOR) else AnswerLost()
    raise lost


async def _written(request: streams_pb2.BatchAppendReq, response: streams_pb2.BatchAppendResp, find: Find) -> int:
    success = response.success
    if success.current_revision + 1 != _expected(request) + len(request.proposed_messages):
        stream = request.options.stream_identifier.stream_name.decode()
        raise StreamDamaged(f"{stream} was deleted in EventStoreDB, and continues at {success.current_revision + 1}")
    if success.HasField("position"):
        return int(success.position.commit_position)
    position = position_of(request, await find())
    if position is None:
        # The server already has the events, gives no position, and does not show them yet.
        raise AnswerLost
    return position


async def _read_cause(
    request: streams_pb2.BatchAppendReq, response: streams_pb2.BatchAppendResp, find: Find
) -> Sequence[RecordedEvent]:
    """Reads what the stream has in place of a refused append. The server refuses before the cause can be read, so this
    retries. Raises StoreUnavailable if the cause does not appear in time."""
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


def position_of(request: streams_pb2.BatchAppendReq, stored: Sequence[RecordedEvent]) -> int | None:
    """The position of the last event of the append, if `stored` are its events."""
    ours = [message.id.string for message in request.proposed_messages]
    return stored[-1].position if ours and [uuid_text(event.id) for event in stored] == ours else None


def _expected(request: streams_pb2.BatchAppendReq) -> int:
    return request.options.stream_position + 1 if request.options.HasField("stream_position") else NO_STREAM
