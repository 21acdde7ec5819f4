"""What happens around every call, whatever its method: built into each handler when it is registered.

Guards, errors to statuses, and one line in the log. An interceptor would do the same at several times the cost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from openbank.access.gate import Gate
from openbank.access.roles import PERMISSIONS
from openbank.domain.clock import Clock
from openbank.rpc.backlog import Backlog
from openbank.rpc.call import Call, Context, Method, Response
from openbank.rpc.calls import Calls
from openbank.rpc.errors import interrupted
from openbank.rpc.guards import ReadFailure, guards, reader
from openbank.rpc.statistics import OTHER, CallStatistics

Write = Callable[[bytes], Awaitable[None]]
"""Sends one response of a stream, encoded."""
Unary = Callable[[Any, Call], Awaitable[Response]]
"""A method with one response, which may be encoded already."""
Stream = Callable[[Any, Call, Write], Awaitable[None]]
"""A method with many responses: it writes each, and returns when there are no more."""


def handlers(
    service: ServiceDescriptor,
    methods: Mapping[str, Unary | Stream],
    calls: Calls,
    clock: Clock,
    gate: Gate | None = None,
) -> Mapping[str, grpc.RpcMethodHandler[Any, Any]]:
    """The handlers of `service`, by path. Raises KeyError for a method of the contract that `methods` lacks, and
    ValueError for one that names no permission."""
    return {
        f"/{service.full_name}/{method.name}": _handler(method, methods[method.name], calls, clock, gate)
        for method in service.methods
    }


def _handler(
    descriptor: MethodDescriptor, serve: Callable[..., Awaitable[Any]], calls: Calls, clock: Clock, gate: Gate | None
) -> grpc.RpcMethodHandler[Any, Any]:
    method, read = Method(descriptor, clock, calls.statistics), reader(descriptor.input_type)
    if method.permission not in PERMISSIONS:
        raise ValueError(f"{method.name} needs the option (openbank.common.v1.access) with a known permission")
    handle = _around(method, serve, calls, gate)
    if method.is_stream:
        return grpc.unary_stream_rpc_method_handler(handle, read)
    return grpc.unary_unary_rpc_method_handler(handle, read, _encode)


class Methods(grpc.GenericRpcHandler):
    """The handlers of the bank's methods, by path.

    It comes first: gRPC asks it for each call that it takes up, whatever the method, before the request is there.
    """

    def __init__(self, by_path: Mapping[str, grpc.RpcMethodHandler[Any, Any]], backlog: Backlog) -> None:
        self._by_path = by_path
        self._backlog = backlog

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        self._backlog.arrived += 1
        return self._by_path.get(details.method)


class UnknownMethods(grpc.GenericRpcHandler):
    """Comes last: counts the calls that no service has a method for. gRPC refuses them."""

    def __init__(self, statistics: CallStatistics) -> None:
        self._durations = statistics.durations_of(OTHER, "UNIMPLEMENTED")

    def service(self, _: grpc.HandlerCallDetails) -> None:
        self._durations["UNIMPLEMENTED"].observe(0.0)


def _encode(response: Response) -> bytes:
    return response if isinstance(response, bytes) else response.SerializeToString()


def _around(
    method: Method, serve: Callable[..., Awaitable[Any]], calls: Calls, gate: Gate | None
) -> Callable[[Message | ReadFailure, Context], Awaitable[Any]]:
    guarding = guards(method, calls, gate)
    is_stream = method.is_stream

    async def handle(request: Message | ReadFailure, context: Context) -> Response | None:
        call = Call(method, context)
        write = context.write if is_stream else None
        # Nothing in this frame may lead to the context or, at the end, to the request: see `Call.abort`.
        del context
        try:
            try:
                for guard in guarding:
                    if (waiting := guard(request, call)) is not None:
                        await waiting
                response: Response | None = await (serve(request, call, write) if is_stream else serve(request, call))
                call.ended("OK", response=response)
                return response
            # A write that fails because the caller has gone raises an error of grpc's own.
            except (asyncio.CancelledError, grpc.aio.BaseError):
                if not calls.was_cut:
                    call.ended("CANCELLED")
                    raise
                failure = call.failed(interrupted(call.request if method.is_mutation else None))
            except Exception as error:
                failure = call.failed(error)
            del request, write
            await call.abort(failure)
        finally:
            calls.leave()

    return handle
