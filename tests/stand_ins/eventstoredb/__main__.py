"""python -m tests.stand_ins.eventstoredb --listen 127.0.0.1:2113 [--data FILE]"""

import argparse
import asyncio
import signal
from pathlib import Path

import uvloop

from tests.stand_ins.eventstoredb.server import EventStoreDB


async def serve(listen: str, data: Path | None) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    server = EventStoreDB(data)
    await server.start(listen)
    print(f"eventstoredb stand-in ready on {server.address}", flush=True)
    await stopped.wait()
    await server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for EventStoreDB 23.10, for tests.")
    parser.add_argument(
        "--listen", default="127.0.0.1:2113", metavar="HOST:PORT", help="loopback only; port 0 picks one"
    )
    parser.add_argument("--data", type=Path, metavar="FILE", help="keep the events here, through kill -9")
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.listen, arguments.data))


if __name__ == "__main__":
    main()
