"""The yardstick: a bare grpc.aio server that answers every method of the bank with one fixed message.

It reads each request and encodes each answer as the bank does, on the same event loop, with the same options, and does
nothing between: what remains is the cost of gRPC in Python.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import uvloop
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from openbank.accounts.v1 import accounts_service_pb2
from openbank.config import Settings
from openbank.server import _options

SERVICE = accounts_service_pb2.DESCRIPTOR.services_by_name["AccountsService"]


async def serve(listen: str, answers: Path) -> None:
    server = grpc.aio.server(options=_options(Settings()))
    methods = [method for method in SERVICE.methods if (answers / method.name).exists()]
    handlers = {method.name: _handler(method, answers / method.name) for method in methods}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE.full_name, handlers),))
    port = server.add_insecure_port(listen)
    await server.start()
    print(f"listens on {listen.rpartition(':')[0]}:{port}", flush=True)
    await server.wait_for_termination()


def _handler(method: MethodDescriptor, answer: Path) -> grpc.RpcMethodHandler[Any, Any]:
    request_class, response_class = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
    return grpc.unary_unary_rpc_method_handler(
        _echo(response_class.FromString(answer.read_bytes())),
        request_class.FromString,
        response_class.SerializeToString,
    )


def _echo(response: Message) -> Callable[[Message, object], Awaitable[Message]]:
    async def echo(request: Message, context: object) -> Message:
        return response

    return echo


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("answers", type=Path, help="a directory with an encoded response for each method, by its name")
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(arguments.listen, arguments.answers))
