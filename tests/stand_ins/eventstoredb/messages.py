"""Between the wire and the log: ids, expected versions, events, refusals."""

import re
import uuid
from collections.abc import AsyncIterator
from typing import NoReturn, TypeVar

import grpc
from esdbclient.protos.Grpc import code_pb2, shared_pb2, status_pb2, streams_pb2
from google.protobuf.message import Message
from grpc.aio import ServicerContext

from tests.stand_ins.eventstoredb.log import (
    ANY,
    NO_STREAM,
    STREAM_EXISTS,
    Appended,
    Proposed,
    Record,
    WrongExpectedVersion,
)

Context = ServicerContext[Message, Message]
ProposedMessage = streams_pb2.AppendReq.ProposedMessage | streams_pb2.BatchAppendReq.ProposedMessage
Structured = shared_pb2.UUID.Structured
T = TypeVar("T")

CANONICAL = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}").fullmatch
JSON = "application/json"
OCTETS = "application/octet-stream"
NOT_READY = "Server Is Not Ready"
EXPECTED = {"any": ANY, "no_stream": NO_STREAM, "stream_exists": STREAM_EXISTS}
EXPECTED_NAMES = {number: name for name, number in EXPECTED.items()}


class BadRequest(Exception):
    """What the real server's own code trips over."""


def stream_of(identifier: shared_pb2.StreamIdentifier) -> str:
    name = identifier.stream_name.decode(errors="replace")
    if name in ("", "$$"):
        raise BadRequest("Value cannot be null. (Parameter 'value')")
    return name


def uuid_of(message: shared_pb2.UUID) -> str:
    form = message.WhichOneof("value")
    if form == "structured":
        high, low = message.structured.most_significant_bits, message.structured.least_significant_bits
        return str(uuid.UUID(int=(high & (2**64 - 1)) << 64 | low & (2**64 - 1)))
    if form is None:
        raise BadRequest("Value cannot be null. (Parameter 'dto')")
    if CANONICAL(message.string):
        return message.string
    try:
        return str(uuid.UUID(message.string))
    except ValueError:
        raise BadRequest("Unrecognized Guid format.") from None


def structured(event_id: str) -> Structured:
    value = uuid.UUID(event_id).int
    return Structured(most_significant_bits=signed(value >> 64), least_significant_bits=signed(value))


def signed(value: int) -> int:
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


def proposed_of(message: ProposedMessage) -> Proposed:
    metadata = message.metadata
    event_type, content_type = metadata["type"], metadata["content-type"]
    if not event_type or not content_type:
        raise BadRequest("The given key was not present in the dictionary.")
    return Proposed(uuid_of(message.id), event_type, content_type == JSON, message.data, message.custom_metadata)


def revision_of(number: int) -> int:
    if number >= 2**63:
        raise BadRequest("a revision out of range")
    return number


def fill(message: streams_pb2.ReadResp.ReadEvent.RecordedEvent, record: Record, *, as_text: bool) -> None:
    if as_text:
        message.id.string = record.id
    else:
        message.id.structured.CopyFrom(structured(record.id))
    message.stream_identifier.stream_name = record.stream.encode()
    message.stream_revision = record.number
    message.prepare_position = message.commit_position = record.position
    metadata = message.metadata
    metadata["type"] = record.type
    metadata["content-type"] = JSON if record.is_json else OCTETS
    metadata["created"] = str(record.created)
    message.custom_metadata = record.metadata
    message.data = record.data


def read_event(record: Record, resolved: Record | None, *, is_link: bool, as_text: bool) -> streams_pb2.ReadResp:
    response = streams_pb2.ReadResp()
    event = response.event
    event.commit_position = record.position
    if is_link:
        fill(event.link, record, as_text=as_text)
    if resolved is not None:
        fill(event.event, resolved, as_text=as_text)
    return response


def fill_success(
    success: streams_pb2.BatchAppendResp.Success | streams_pb2.AppendResp.Success, appended: Appended
) -> None:
    if appended.revision < 0:
        success.no_stream.SetInParent()
    else:
        success.current_revision = appended.revision
    if appended.position is None:
        success.no_position.SetInParent()
    else:
        success.position.commit_position = success.position.prepare_position = appended.position


def refused(code: int, message: str, detail: Message) -> status_pb2.Status:
    status = status_pb2.Status(message=message)
    status.code = code_pb2.Code.ValueType(code)
    status.details.Pack(detail)
    return status


def wrong_version(error: WrongExpectedVersion, expected: int) -> status_pb2.Status:
    detail = shared_pb2.WrongExpectedVersion()
    if error.current < 0:
        detail.current_no_stream.SetInParent()
    else:
        detail.current_stream_revision = error.current
    if expected >= 0:
        detail.expected_stream_position = expected
    else:
        getattr(detail, f"expected_{EXPECTED_NAMES[expected]}").SetInParent()
    return refused(code_pb2.ALREADY_EXISTS, "WrongExpectedVersion", detail)


def append_wrong_version(error: WrongExpectedVersion, expected: int) -> streams_pb2.AppendResp:
    """Every version twice: as clients before 20.6 expect it, and as later ones do."""
    response = streams_pb2.AppendResp()
    wrong = response.wrong_expected_version
    if error.current < 0:
        wrong.no_stream_20_6_0.SetInParent()
        wrong.current_no_stream.SetInParent()
    else:
        wrong.current_revision_20_6_0 = wrong.current_revision = error.current
    if expected >= 0:
        wrong.expected_revision_20_6_0 = wrong.expected_revision = expected
    elif expected == NO_STREAM:
        wrong.expected_revision_20_6_0 = 2**64 - 1
        wrong.expected_no_stream.SetInParent()
    else:
        getattr(wrong, f"{EXPECTED_NAMES[expected]}_20_6_0").SetInParent()
        getattr(wrong, f"expected_{EXPECTED_NAMES[expected]}").SetInParent()
    return response


async def only(requests: AsyncIterator[T]) -> T:
    """The request of a unary call, when the client has ended its side: the real server answers no sooner, and a client
    that is cut short while it still does so sees a broken call in place of the answer."""
    received = [request async for request in requests]
    if len(received) != 1:
        raise BadRequest
    return received[0]


async def abort(context: Context, code: grpc.StatusCode, details: str, **trailing: str | int) -> NoReturn:
    metadata = tuple((key.replace("_", "-"), in_ascii(str(value))) for key, value in trailing.items())
    await context.abort(code, details, metadata)
    raise AssertionError("abort does not return")


def in_ascii(text: str) -> str:
    """Metadata of a call cannot carry more."""
    return text.encode("ascii", "backslashreplace").decode()


async def abort_unexpected(context: Context) -> NoReturn:
    await abort(context, grpc.StatusCode.UNKNOWN, "Exception was thrown by handler.")


async def abort_invalid(context: Context, details: str) -> NoReturn:
    await abort(context, grpc.StatusCode.INVALID_ARGUMENT, details)


async def abort_not_leader(context: Context, leader: str) -> NoReturn:
    host, _, port = leader.rpartition(":")
    details = "Leader info available"
    trailing = {"leader_endpoint_host": host, "leader_endpoint_port": port}
    await abort(context, grpc.StatusCode.NOT_FOUND, details, exception="not-leader", **trailing)


async def abort_not_ready(context: Context) -> NoReturn:
    await abort(context, grpc.StatusCode.UNAVAILABLE, NOT_READY)


def requires_leader(context: Context) -> bool:
    return ("requires-leader", "true") in [tuple(pair) for pair in context.invocation_metadata() or ()]


async def abort_deleted(context: Context, stream: str) -> NoReturn:
    details = f"Event stream '{stream}' is deleted."
    code = grpc.StatusCode.FAILED_PRECONDITION
    await abort(context, code, details, exception="stream-deleted", stream_name=stream)


def not_one_of(oneof: str) -> str:
    return f"'None' is not a valid EventStore.Client.Streams.{oneof}"
