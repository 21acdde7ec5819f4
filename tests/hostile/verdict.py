"""What a server may answer to whatever it is sent, and what it may not."""

from __future__ import annotations

import re
from typing import NamedTuple

from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode

from openbank.common.v1.errors_pb2 import ErrorReason

DETAILS_BYTES_MAX = 4096
EXCEPTION_TEXT = re.compile(
    r"Traceback|\w+(Error|Exception|Warning)\b|File \"|\.py\b|object at 0x|<class|"
    r"sqlite|asyncio|cygrpc|servicer|coroutine"
)
NEVER = (StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.DATA_LOSS)
REASONS = frozenset(ErrorReason.keys())
NEVER_REASONS = {"ERROR_REASON_UNSPECIFIED", "ERROR_REASON_INTERNAL", "ERROR_REASON_OUTCOME_UNKNOWN"}


class Broken(Exception):
    """The server has not stood firm; the message tells what it was sent and what it did."""


class Told(NamedTuple):
    """How a call ended, as it came over the wire. `details` is grpc-status-details-bin, None where there is none."""

    code: StatusCode
    message: str = ""
    details: bytes | None = None


class Row(NamedTuple):
    """A status without details, which the bank did not make."""

    code: StatusCode
    message: str
    """A regular expression for the whole of it."""
    when: str


_Code = StatusCode

CORE = (
    Row(_Code.RESOURCE_EXHAUSTED, r"SERVER: Received message larger than max \(\d+ vs\. \d+\)", "a message over 1 MiB"),
    Row(_Code.RESOURCE_EXHAUSTED, r"received metadata size exceeds (hard|soft) limit .*", "metadata over 8 KiB"),
    Row(_Code.UNIMPLEMENTED, "Method not found!", "a method or a host that is not there"),
    Row(_Code.UNIMPLEMENTED, r"Compression algorithm '\w+' is disabled\.", "a message that is compressed"),
    Row(_Code.DEADLINE_EXCEEDED, "Deadline Exceeded", "a deadline that has passed"),
    Row(_Code.INTERNAL, r"frame of size \d+ overflows local window of \d+", "data beyond the window that was given"),
    Row(_Code.UNKNOWN, r"Missing :\w+ header|Bad method header", "a header of HTTP/2's own that is missing or wrong"),
    Row(_Code.UNAVAILABLE, "Too many pings|GOAWAY received; .*", "streams of a connection that is being ended"),
    Row(_Code.UNAVAILABLE, "Failed parsing HTTP/2", "header blocks that are none"),
)
"""What gRPC's core answers itself; docs/hostile-input.md has the same table."""

OTHERS = (
    Row(_Code.NOT_FOUND, "no such service", "health of a service that is not there"),
    Row(_Code.INVALID_ARGUMENT, "not a HealthCheckRequest", "bytes that are no health check"),
)
"""Methods of services that are not the bank's own, and have no reasons to give."""


def judge(told: Told) -> str:
    """The reason, or the case, under which it is counted. Raises Broken for an answer that may not be."""
    if told.code is StatusCode.OK:
        return "OK"
    if told.details is None:
        for row in CORE + OTHERS:
            if told.code is row.code and re.fullmatch(row.message, told.message, re.DOTALL):
                return f"{row.code.name}, {row.when}"
        raise Broken(f"nobody answers {told.code.name}: {told.message!r}")
    if told.code in NEVER or EXCEPTION_TEXT.search(told.message):
        raise Broken(f"{told.code.name}: {told.message!r}")
    return _reason(told, told.details)


def _reason(told: Told, details: bytes) -> str:
    """Raises Broken for details that are not as published."""
    if len(details) > DETAILS_BYTES_MAX:
        raise Broken(f"{len(details)} bytes of details")
    try:
        status = status_pb2.Status.FromString(details)
        info = error_details_pb2.ErrorInfo()
        unpacked = status.details[0].Unpack(info)
    except (DecodeError, IndexError):
        raise Broken(f"details that are none: {details!r}") from None
    if not unpacked or info.domain != "openbank" or info.reason not in REASONS or info.reason in NEVER_REASONS:
        raise Broken(f"no published reason: {info}")
    if status.code != told.code.value[0] or EXCEPTION_TEXT.search(str(status)):
        raise Broken(f"{told.code.name}: {status}")
    return info.reason.removeprefix("ERROR_REASON_")
