"""The yardstick: a bare grpc.aio server that streams messages unchanged to any caller, as fast as they are taken.

python -m benchmarks.feeds.bare MESSAGES: a file of messages, each after its length in 4 bytes, which every call is
given in turn, from the first on, until it ends.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import cycle
from pathlib import Path

import grpc
import uvloop

from benchmarks.messages import SERVICE
from openbank.config import Settings
from openbank.server import _options


async def serve(messages: Sequence[bytes]) -> None:
    async def stream(request: bytes, context: object) -> AsyncIterator[bytes]:
        # The first response confirms, without an event.
        yield b""
        for message in cycle(messages):
            yield message
            # As a watch does: what is in memory does not suspend, and the others must have their turn.
            await asyncio.sleep(0)

    server = grpc.aio.server(options=_options(Settings()))
    handlers = {"WatchAccountEvents": grpc.unary_stream_rpc_method_handler(stream)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE.full_name, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(f"listens on 127.0.0.1:{port}", flush=True)
    await server.wait_for_termination()


def read(path: Path) -> Sequence[bytes]:
    data, messages = path.read_bytes(), []
    while data:
        end = 4 + int.from_bytes(data[:4])
        messages.append(data[4:end])
        data = data[end:]
    return messages


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("messages", type=Path)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(read(parser.parse_args().messages)))
