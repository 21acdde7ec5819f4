"""What happens around every call, whatever its method: built into each handler when it is registered.

Reading the request, the correlation id, the limit of calls, unknown fields, errors to statuses, and one line in the
log. An interceptor would do the same at several times the cost for every call.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Awaitable, Callable
from itertools import count
from time import perf_counter
from typing import Any, NoReturn

import grpc
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet  # type: ignore[import-not-found]

from openbank.domain.errors import InvalidFields, Violation
from openbank.logs import tell
from openbank.publishing.cloudevent import is_traceparent
from openbank.rpc.errors import DETAILS_KEY, Malformed, TooManyCalls, failure_of, internal, to_status

CORRELATION_ID = "x-correlation-id"
TRACEPARENT = "traceparent"

_log = logging.getLogger("openbank.calls")
_LOGGED_IDS = ("request_id", "person_id", "account_id", "owner_id", "sink", "aggregate")
_RESOURCES = {"person": "person_id", "account": "account_id"}
_CORRELATION_ID = re.compile(r"[ -~]{1,128}")
_LOGGABLE = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
# What an operator may have to act on; the rest is the caller's affair.
_OURS = frozenset({"STORE_UNAVAILABLE", "OUTCOME_UNKNOWN", "VIEW_BEHIND"})

Context = grpc.aio.ServicerContext[Any, Any]
Response = Message | bytes
Answer = Callable[[Any, str], Awaitable[Response]]
"""A unary method: from the request and the correlation id to the response, which may be encoded already."""
Stream = Callable[[Any, Callable[[bytes], Awaitable[None]]], Awaitable[None]]
"""A method with many responses: it writes each, encoded, and returns when there are no more."""


class Calls:
    """The unary calls under way. Watches are not among them: the feed counts its own."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self._active = 0
        self._none_left: asyncio.Event | None = None

    def enter(self) -> None:
        self._active += 1

    def leave(self) -> None:
        self._active -= 1
        if self._none_left and not self._active:
            self._none_left.set()

    @property
    def too_many(self) -> bool:
        return self._active > self.maximum

    async def finished(self) -> None:
        """Until no call is under way."""
        self._none_left = asyncio.Event()
        if self._active:
            await self._none_left.wait()


def handlers(service: ServiceDescriptor, servicer: object, calls: Calls) -> grpc.GenericRpcHandler:
    """The handlers of `service`: the method of the same name of `servicer` for each of its methods."""
    methods = {method.name: _handler(method, getattr(servicer, method.name), calls) for method in service.methods}
    return grpc.method_handlers_generic_handler(service.full_name, methods)


def _handler(method: MethodDescriptor, serve: Callable[..., Any], calls: Calls) -> grpc.RpcMethodHandler[Any, Any]:
    read = _reader(GetMessageClass(method.input_type))
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(_stream(method, serve), read)
    return grpc.unary_unary_rpc_method_handler(_unary(method, serve, calls), read, _write)


def _reader(request_class: type[Message]) -> Callable[[bytes], Message | None]:
    """None for bytes that are no such message: an exception here would reach the caller as UNKNOWN with its text."""

    def read(data: bytes) -> Message | None:
        try:
            return request_class.FromString(data)
        except DecodeError:
            return None

    return read


def _write(response: Response) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()


def _unary(method: MethodDescriptor, answer: Answer, calls: Calls) -> Callable[[Any, Context], Awaitable[Response]]:
    about = _Method(method)

    async def handle(request: Message | None, context: Context) -> Response:
        call = _Call(about, request, context)
        calls.enter()
        try:
            if request is None:
                raise Malformed
            if calls.too_many:
                raise TooManyCalls(calls.maximum)
            if about.is_mutation:
                about.refuse_unknown_fields(request)
            response = await answer(request, call.correlation_id)
            call.ended("OK", response=response)
            return response
        except asyncio.CancelledError:
            call.ended("CANCELLED")
            raise
        except Exception as error:
            await call.fail(error)
        finally:
            calls.leave()

    return handle


def _stream(method: MethodDescriptor, stream: Stream) -> Callable[[Any, Context], Awaitable[None]]:
    about = _Method(method)

    async def handle(request: Message | None, context: Context) -> None:
        call = _Call(about, request, context)
        try:
            if request is None:
                raise Malformed
            await stream(request, context.write)
            call.ended("OK")
        # A write that fails because the caller has gone raises an error of grpc's own.
        except (asyncio.CancelledError, grpc.aio.BaseError):
            call.ended("CANCELLED")
            raise
        except Exception as error:
            await call.fail(error)

    return handle


class _Method:
    """What is known of a method before any call."""

    def __init__(self, method: MethodDescriptor) -> None:
        fields = method.input_type.fields_by_name
        self.name = f"{method.containing_service.full_name}/{method.name}"
        self.is_mutation = method.GetOptions().idempotency_level != MethodOptions.NO_SIDE_EFFECTS
        self._ids = [name for name in _LOGGED_IDS if name in fields]
        self._resource = next((name for name in _RESOURCES if name in method.output_type.fields_by_name), "")
        self._made = _RESOURCES.get(self._resource, "")
        """The id that the answer has, where the request left it to the bank."""
        self._nested = _nested(method.input_type) if self.is_mutation else {}

    def add_ids(self, values: dict[str, object], request: Message, response: Response | None) -> None:
        for name in self._ids:
            value = getattr(request, name)
            # What is no id may be anything: a name, or a page of text.
            if value and _LOGGABLE(value):
                values[name] = value
        if response is not None and self._made and self._made not in values:
            values[self._made] = getattr(getattr(response, self._resource), self._made)

    def refuse_unknown_fields(self, request: Message) -> None:
        """An older server must not do what a newer client meant otherwise: as a dry run, for example."""
        unknown = _unknown_fields(request, self._nested, "")
        if unknown:
            why = "is not known to this server, which does not carry out half a request"
            raise InvalidFields([Violation(path, "UNKNOWN_FIELD", why) for path in unknown])


class _Call:
    """One call: who may be told of it what, in the trailing metadata and in the log."""

    __slots__ = ("_about", "_context", "_request", "_started", "correlation_id")

    def __init__(self, about: _Method, request: Message | None, context: Context) -> None:
        self._started = perf_counter()
        self._about, self._request, self._context = about, request, context
        self.correlation_id = _correlation_id(context)
        context.set_trailing_metadata(((CORRELATION_ID, self.correlation_id),))

    async def fail(self, error: Exception) -> NoReturn:
        failure = failure_of(error, self._request)
        if failure is None:
            error_id = secrets.token_hex(8)
            failure = internal(error_id)
            self.ended("INTERNAL", logging.ERROR, error, error_id=error_id)
        elif failure.reason in _OURS:
            self.ended(failure.code.name, logging.WARNING, reason=failure.reason, cause=str(error))
        else:
            self.ended(failure.code.name, reason=failure.reason)
        details = to_status(failure).SerializeToString()
        trailing = ((CORRELATION_ID, self.correlation_id), (DETAILS_KEY, details))
        await self._context.abort(failure.code, failure.message, trailing)

    def ended(
        self,
        code: str,
        level: int = logging.INFO,
        exception: Exception | None = None,
        response: Response | None = None,
        **more: str,
    ) -> None:
        """The line in the log. Of what was sent and answered it holds ids and nothing else."""
        values: dict[str, object] = {
            "method": self._about.name,
            "code": code,
            "duration_ms": round((perf_counter() - self._started) * 1000, 2),
            "correlation_id": self.correlation_id,
        }
        if self._request is not None:
            self._about.add_ids(values, self._request, response)
        values.update(more)
        if exception is None:
            tell(_log, level, "call", values)
        else:
            _log.log(level, "call", exc_info=exception, extra={"values": values})


def _nested(message: Descriptor) -> dict[str, Any]:
    """The fields of a message that are messages themselves, with theirs. No mutation is recursive or repeats one."""
    return {field.name: _nested(field.message_type) for field in message.fields if field.message_type is not None}


def _unknown_fields(request: Any, nested: dict[str, Any], path: str) -> list[str]:
    """By path and, having no name here, by number: "amount.4"."""
    unknown = UnknownFieldSet(request)
    paths = [f"{path}{field.field_number}" for field in unknown] if len(unknown) else []
    for name, deeper in nested.items():
        if request.HasField(name):
            paths += _unknown_fields(getattr(request, name), deeper, f"{path}{name}.")
    return paths


_process = secrets.token_hex(8)
_made = (f"{_process}-{number:x}" for number in count(1))


def _correlation_id(context: Context) -> str:
    """The caller's, where it is 1 to 128 printable ASCII characters; else its trace context; else one made here.

    So what happens to a caller that is traced can be followed to the event and beyond, at no cost to other callers.
    """
    trace = ""
    for key, value in context.invocation_metadata() or ():
        if key == CORRELATION_ID and isinstance(value, str) and _CORRELATION_ID.fullmatch(value):
            return value
        if key == TRACEPARENT and isinstance(value, str) and is_traceparent(value):
            trace = value
    return trace or next(_made)
