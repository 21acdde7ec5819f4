"""The yardstick of a stall: a bare grpc.aio server that answers every call with nothing, and reads no request.

What a health check waits here, gRPC alone makes it wait: for the bytes of large requests, and for calls before it.
Reads of one account end after a second, as those do that wait for views.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import uvloop
from grpc_health.v1.health_pb2 import HealthCheckResponse

from openbank.config import Settings
from openbank.rpc.health import SERVING
from openbank.server import _options

HEALTHY = HealthCheckResponse(status=SERVING).SerializeToString()
WAIT_SECONDS = 1.0


class Everything(grpc.GenericRpcHandler):
    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        method = details.method.rpartition("/")[2]
        return grpc.unary_unary_rpc_method_handler({"Check": _check, "GetAccount": _wait}.get(method, _nothing))


async def _check(request: bytes, context: object) -> bytes:
    return HEALTHY


async def _wait(request: bytes, context: object) -> bytes:
    await asyncio.sleep(WAIT_SECONDS)
    return b""


async def _nothing(request: bytes, context: object) -> bytes:
    return b""


async def serve() -> None:
    server = grpc.aio.server(options=_options(Settings()))
    server.add_generic_rpc_handlers((Everything(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listens on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
