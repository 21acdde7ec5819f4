"""What happens around every call, whatever its method: built into each handler when it is registered.

Reading the request, the limit of calls, unknown fields, errors to statuses, and one line in the log. An interceptor
would do the same at several times the cost for every call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from openbank.rpc.call import Call, Context, Method, Response
from openbank.rpc.calls import Calls
from openbank.rpc.errors import interrupted
from openbank.rpc.guards import KnownFields, Unreadable, reader

Answer = Callable[[Any, str], Awaitable[Response]]
"""A unary method: from the request and the correlation id to the response, which may be encoded already."""
Stream = Callable[[Any, Callable[[bytes], Awaitable[None]]], Awaitable[None]]
"""A method with many responses: it writes each, encoded, and returns when there are no more."""


def handlers(service: ServiceDescriptor, servicer: object, calls: Calls) -> grpc.GenericRpcHandler:
    """The handlers of `service`: the method of the same name of `servicer` for each of its methods."""
    methods = {method.name: _handler(method, getattr(servicer, method.name), calls) for method in service.methods}
    return grpc.method_handlers_generic_handler(service.full_name, methods)


def _handler(method: MethodDescriptor, serve: Callable[..., Any], calls: Calls) -> grpc.RpcMethodHandler[Any, Any]:
    read = reader(method.input_type)
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(_stream(method, serve), read)
    return grpc.unary_unary_rpc_method_handler(_unary(method, serve, calls), read, _write)


def _write(response: Response) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()


def _unary(
    method: MethodDescriptor, answer: Answer, calls: Calls
) -> Callable[[Message | Unreadable, Context], Awaitable[Response]]:
    about = Method(method)
    known_fields = KnownFields(method.input_type) if about.is_mutation else None
    group = calls.commands if about.is_mutation else calls.queries

    async def handle(request: Message | Unreadable, context: Context) -> Response:
        call = Call(about, context)
        # Nothing in this frame may lead to the context or, at the end, to the request: see `Call.abort`.
        del context
        try:
            try:
                if calls.refusing:
                    await calls.refuse()
                calls.enter(group)
                if not isinstance(request, Message):
                    raise request()
                call.request = request
                if known_fields is not None:
                    known_fields.check(request)
                response = await answer(request, call.correlation_id)
                call.ended("OK", response=response)
                return response
            except asyncio.CancelledError:
                if not calls.was_cut:
                    call.ended("CANCELLED")
                    raise
                failure = call.failed(interrupted(call.request if about.is_mutation else None))
            except Exception as error:
                failure = call.failed(error)
            del request
            await call.abort(failure)
        finally:
            calls.leave()

    return handle


def _stream(method: MethodDescriptor, stream: Stream) -> Callable[[Message | Unreadable, Context], Awaitable[None]]:
    about = Method(method)

    async def handle(request: Message | Unreadable, context: Context) -> None:
        call, write = Call(about, context), context.write
        del context
        try:
            if not isinstance(request, Message):
                raise request()
            call.request = request
            await stream(request, write)
            call.ended("OK")
            return
        # A write that fails because the caller has gone raises an error of grpc's own.
        except (asyncio.CancelledError, grpc.aio.BaseError):
            call.ended("CANCELLED")
            raise
        except Exception as error:
            failure = call.failed(error)
        del request, write
        await call.abort(failure)

    return handle
