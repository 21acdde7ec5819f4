"""One call at the edge: its correlation id, its line in the log, and how it fails. Methods get it with the request."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from time import perf_counter
from typing import Any, NoReturn
from urllib.parse import unquote

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message

from openbank.access.caller import Caller, CertificateNames
from openbank.access.errors import DENIALS
from openbank.common.v1 import access_pb2
from openbank.domain.clock import Clock
from openbank.logs import AUDIT, tell
from openbank.publishing.cloudevent import is_traceparent
from openbank.rpc.errors import DETAILS_KEY, Failure, failure_of, internal, to_status
from openbank.rpc.statistics import CallStatistics
from openbank.tracing.span import Span, Traces, current

CORRELATION_ID = "x-correlation-id"
TRACEPARENT = "traceparent"
AUTHORIZATION = "authorization"
LOCAL = "unix:"
"""What the peer of a call through the local socket begins with."""

_log = logging.getLogger("openbank.calls")
_audit = logging.getLogger(AUDIT)
_CORRELATION_ID = re.compile(r"[ -~]{1,128}")
_LOGGABLE = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_NAMES = frozenset({"sink", "aggregate"})
"""Fields that are ids under another name."""

Context = grpc.aio.ServicerContext[Any, Any]
Response = Message | bytes


class Method:
    """What is known of a method before any call. `clock` is the bank's, and `statistics` those of all calls."""

    def __init__(self, method: MethodDescriptor, clock: Clock, statistics: CallStatistics | None = None) -> None:
        self.request = method.input_type
        self.clock = clock
        self.service = method.containing_service.full_name
        self.name = f"{self.service}/{method.name}"
        self.is_mutation = method.GetOptions().idempotency_level != MethodOptions.NO_SIDE_EFFECTS
        self.permission = method.GetOptions().Extensions[access_pb2.access].permission
        """What a caller needs to call it."""
        self.is_guarded = False
        """Whether callers are known: there is an access file."""
        self.is_stream = method.server_streaming
        """Whether it has many responses."""
        statistics = statistics or CallStatistics()
        self.durations, self.refusals = statistics.durations_of(self.name), statistics.refusals
        self._ids = _names_of_ids(method.input_type)
        self._has_dry_runs = "validate_only" in method.input_type.fields_by_name
        self._has_commands = "commands" in method.input_type.fields_by_name
        self._made = list(_resources(method.output_type))
        """The resources in the response, each with its id, which the request may have left to the bank."""

    def add_ids(self, values: dict[str, object], request: Any, response: Response | None) -> None:
        _add_ids(values, self._ids, request)
        if self._has_dry_runs and request.validate_only:
            values["validate_only"] = True
        if self._has_commands:
            values["commands"] = len(request.commands)
        if response is None:
            return
        for resource, id in self._made:
            if id not in values:
                values[id] = getattr(getattr(response, resource), id)


def _add_ids(values: dict[str, object], names: Iterable[str], request: Any) -> None:
    for name in names:
        value = getattr(request, name)
        # What is no id may be anything: a name, or a page of text.
        if value and _LOGGABLE(value):
            values[name] = value


def _names_of_ids(request: Descriptor) -> list[str]:
    single = [field for field in request.fields if field.label != FieldDescriptor.LABEL_REPEATED]
    texts = [field.name for field in single if field.type == FieldDescriptor.TYPE_STRING]
    return [name for name in texts if name.endswith("_id") or name in _NAMES]


def _resources(response: Descriptor) -> Iterator[tuple[str, str]]:
    """The fields that are a resource, `account`, each with the field of its id, `account_id`."""
    for field in response.fields:
        id = f"{field.name}_id"
        if field.message_type is not None and id in field.message_type.fields_by_name:
            yield field.name, id


class Call:
    """One call, for as long as it runs."""

    __slots__ = (
        "_context",
        "_started",
        "authorization",
        "caller",
        "correlation_id",
        "method",
        "owner",
        "request",
        "span",
    )

    def __init__(self, method: Method, context: Context) -> None:
        self._started = perf_counter()
        self.method, self._context = method, context
        self.request: Message | None = None
        """None until it has been read."""
        self.span: Span | None = None
        """None in a call that is not traced."""
        self.caller: Caller | None = None
        """None before the caller is known, and where there is no access file."""
        self.owner: str | None = None
        """The id of the person to whose accounts the call is restricted; None for a call that is not restricted."""
        self.correlation_id, self.authorization = _read_metadata(context)
        context.set_trailing_metadata(((CORRELATION_ID, self.correlation_id),))

    def admit(self, caller: Caller) -> None:
        """From now on the call is this caller's. Raises PermissionMissing."""
        self.caller = caller
        self.owner = caller.scope(self.method.permission)

    def scope(self, permission: str) -> str | None:
        """As `owner`, for a part of the call that needs a permission of its own. Raises PermissionMissing."""
        return None if self.caller is None else self.caller.scope(permission)

    @property
    def actor(self) -> str:
        """The caller's name, for the events that the call causes; empty where callers are not known."""
        return "" if self.caller is None else self.caller.name

    @property
    def shows_actors(self) -> bool:
        """Whether the caller may see who caused an event."""
        return self.caller is None or self.caller.sees_actors

    @property
    def is_local(self) -> bool:
        return bool(self._context.peer().startswith(LOCAL))

    def certificate_names(self) -> CertificateNames:
        """The names in the client's certificate, which mutual TLS has verified."""
        names: Mapping[str, Iterable[bytes]] = self._context.auth_context()
        spiffe, dns = (names.get(key, ()) for key in ("peer_spiffe_id", "peer_dns"))
        return CertificateNames(*(tuple(name.decode("ascii", "replace") for name in some) for some in (spiffe, dns)))

    def trace(self, traces: Traces) -> None:
        """Begins a span if the caller is traced. What the call does from now on can find it."""
        for key, value in self._context.invocation_metadata() or ():
            if key == TRACEPARENT and isinstance(value, str) and (span := traces.call(self.method.name, value)):
                self.span = span
                current.set(span)
                return

    def failed(self, error: Exception) -> Failure:
        """The status that the caller gets for an error. Writes the log line."""
        failure = failure_of(error, self.request)
        if failure is None:
            error_id = secrets.token_hex(8)
            failure = internal(error_id)
            self.ended("INTERNAL", logging.ERROR, error, error_id=error_id)
        elif failure.concerns_operator:
            self.ended(failure.code.name, logging.WARNING, reason=failure.reason, cause=str(error))
        else:
            self.ended(failure.code.name, reason=failure.reason)
        self.method.refusals[failure.reason] += 1
        _forget_frames(error)
        return failure

    def failure_of(self, error: Exception, request: Message) -> Failure:
        """The status of a part of the call, which ended with an error. Only a bug has a line in the log of its own."""
        failure = failure_of(error, request)
        if failure is None:
            error_id = secrets.token_hex(8)
            failure = internal(error_id)
            values = {"method": self.method.name, "correlation_id": self.correlation_id, "error_id": error_id}
            _log.error("part of a call failed", exc_info=error, extra={"values": values})
        self.method.refusals[failure.reason] += 1
        hidden = self.owner is not None and failure.code is grpc.StatusCode.NOT_FOUND
        if self.caller is not None and (hidden or failure.reason in DENIALS):
            denied: dict[str, object] = {
                "code": failure.code.name,
                "reason": failure.reason,
                "caller": self.caller.name,
            }
            _add_ids(denied, _names_of_ids(request.DESCRIPTOR), request)
            self._audit({"method": self.method.name, "correlation_id": self.correlation_id, **denied})
        _forget_frames(error)
        return failure

    async def abort(self, failure: Failure) -> NoReturn:
        """Ends the call with a refusal. Call it outside of `except`, with no request left in the caller's variables.

        gRPC keeps the exception that `abort` raises in the call's context. The exception has this frame and the
        caller's; if one of them led to the context, there would be a cycle, and the collector, which counts objects
        and not bytes, would leave the request in memory for long.
        """
        context = self._context
        del self._context, self.request
        details = to_status(failure).SerializeToString()
        trailing = ((CORRELATION_ID, self.correlation_id), (DETAILS_KEY, details))
        try:
            await context.abort(failure.code, failure.message, trailing)
        finally:
            del context

    def ended(
        self,
        code: str,
        level: int = logging.INFO,
        exception: Exception | None = None,
        response: Response | None = None,
        **more: str,
    ) -> None:
        """Counts the call, and writes its line in the log. Of what was sent and answered that holds ids only."""
        seconds = perf_counter() - self._started
        self.method.durations[code].observe(seconds)
        if self.span is not None:
            self.span.end(code)
        values: dict[str, object] = {
            "method": self.method.name,
            "code": code,
            "duration_ms": round(seconds * 1000, 2),
            "correlation_id": self.correlation_id,
            "peer": _shown(self._context.peer()),
        }
        if self.caller is not None:
            values["caller"] = self.caller.name
        if self.request is not None:
            self.method.add_ids(values, self.request, response)
        values.update(more)
        if self.method.is_guarded:
            self._audit(values)
        if exception is None:
            tell(_log, level, "call", values)
        else:
            _log.log(level, "call", exc_info=exception, extra={"values": values})

    def _audit(self, values: Mapping[str, object]) -> None:
        """A line of its own for what was changed, and for what was denied: the access file, or what belongs to others.

        It is written whatever the log level is.
        """
        hidden = self.owner is not None and values["code"] == grpc.StatusCode.NOT_FOUND.name
        denied = hidden or values.get("reason") in DENIALS
        if denied or self.method.is_mutation:
            outcome = "denied" if denied else "done" if values["code"] == "OK" else "refused"
            tell(_audit, logging.INFO, "audit", {"outcome": outcome, **values})


def _shown(peer: str) -> str:
    """gRPC's "ipv4:127.0.0.1:50051" and "ipv6:%5B::1%5D:50051" without what is no address."""
    _, _, address = peer.partition(":")
    return unquote(address) if "%" in address else address


def _forget_frames(error: BaseException | None) -> None:
    """Drops the frames of a handled error. A frame that awaited it holds the future that holds it: another cycle."""
    while error is not None:
        error.__traceback__ = None
        error = error.__context__


_process = secrets.token_hex(8)
_made = (f"{_process}-{number:x}" for number in count(1))


def _read_metadata(context: Context) -> tuple[str, str | None]:
    """The correlation id, and what the caller sends to say who it is.

    The id is the caller's, where it is 1 to 128 printable ASCII characters; else its trace context; else one made here.
    So what happens to a caller that is traced can be followed to the event and beyond, at no cost to other callers.
    """
    correlation_id = trace = ""
    authorization = None
    for key, value in context.invocation_metadata() or ():
        if key == AUTHORIZATION:
            # Which of two would count, a proxy may see otherwise: both are refused.
            authorization = str(value) if authorization is None else ""
        elif key == CORRELATION_ID:
            if not correlation_id and isinstance(value, str) and _CORRELATION_ID.fullmatch(value):
                correlation_id = value
        elif key == TRACEPARENT and isinstance(value, str) and is_traceparent(value):
            trace = value
    return correlation_id or trace or next(_made), authorization
