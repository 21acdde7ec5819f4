"""grpc.health.v1.Health.

Not grpcio-health-checking's servicer for asyncio: its Watch loses updates when one of two watchers leaves. Here a
watcher holds no queue: it looks at the status each time something has changed.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1.health_pb2 import DESCRIPTOR, HealthCheckRequest, HealthCheckResponse

from openbank.rpc.call import Context
from openbank.rpc.calls import Calls
from openbank.rpc.streams import limited

SERVICE = DESCRIPTOR.services_by_name["Health"]

EVERYTHING = ""
COMMANDS = "openbank.commands"
QUERIES = "openbank.queries"
FEEDS = "openbank.feeds"
QUARANTINE = "openbank.quarantine"
"""NOT_SERVING while an aggregate is quarantined, which stops nothing else."""
VERSION = "openbank.version"
"""NOT_SERVING once an event was met that only a newer version of the bank knows."""
"""What health reports beside each service: the whole, and its parts."""
REQUEST_BYTES_MAX = 1024
"""The names of services are far shorter."""

SERVING = HealthCheckResponse.SERVING
NOT_SERVING = HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """The health of the parts of this server. Each is NOT_SERVING until it is set."""

    def __init__(self, *parts: str) -> None:
        self._serving = dict.fromkeys(parts, False)
        self._draining = False
        self._changed = asyncio.Event()

    def set(self, part: str, serving: bool) -> None:
        if self._serving[part] != serving:
            self._serving[part] = serving
            self._tell()

    def drain(self) -> None:
        """NOT_SERVING for good, whatever is set from now on."""
        self._draining = True
        self._tell()

    def status(self, part: str) -> int:
        if part not in self._serving:
            return SERVICE_UNKNOWN
        return SERVING if self._serving[part] and not self._draining else NOT_SERVING

    async def serving(self, *parts: str) -> None:
        """Returns once all of these parts are SERVING."""
        while not all(self.status(part) == SERVING for part in parts):
            await self._changed.wait()

    async def check(self, request: HealthCheckRequest | None, context: Context) -> HealthCheckResponse:
        status = self.status((await _read_or_abort(request, context)).service)
        if status == SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
        return HealthCheckResponse(status=status)

    async def watch(self, request: HealthCheckRequest | None, context: Context) -> None:
        part = (await _read_or_abort(request, context)).service
        told = None
        while True:
            changed = self._changed
            status = self.status(part)
            if status != told:
                await context.write(HealthCheckResponse(status=status))
                told = status
            else:
                await changed.wait()

    def _tell(self) -> None:
        # A new event for the next change: who waits for that one must not see this one.
        self._changed.set()
        self._changed = asyncio.Event()


def handlers(health: Health, streams: Calls) -> grpc.GenericRpcHandler:
    write = HealthCheckResponse.SerializeToString
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "Check": grpc.unary_unary_rpc_method_handler(health.check, _read, write),
        "Watch": grpc.unary_stream_rpc_method_handler(limited(health.watch, streams), _read, write),
    }
    return grpc.method_handlers_generic_handler(SERVICE.full_name, methods)


def _read(data: bytes) -> HealthCheckRequest | None:
    if len(data) > REQUEST_BYTES_MAX:
        return None
    try:
        return HealthCheckRequest.FromString(data)
    except DecodeError:
        return None


async def _read_or_abort(request: HealthCheckRequest | None, context: Context) -> HealthCheckRequest:
    if request is None:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a HealthCheckRequest")
    return request
