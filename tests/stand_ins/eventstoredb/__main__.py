"""python -m tests.stand_ins.eventstoredb --listen 127.0.0.1:2113 [--data FILE]"""

import argparse
import asyncio
import signal
from pathlib import Path

import uvloop

from tests.stand_ins.eventstoredb.cluster import cluster


async def serve(listen: list[str], data: Path | None, seed: int | None) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    async with cluster(data, listen) as nodes:
        for node in nodes.nodes:
            if seed is not None:
                node.modes.turn_on(seed)
        addresses = ",".join(node.address for node in nodes.nodes)
        print(f"eventstoredb stand-in ready on {addresses}", flush=True)
        await stopped.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A stand-in for EventStoreDB 23.10, for tests.")
    parser.add_argument(
        "--listen",
        default="127.0.0.1:2113",
        metavar="HOST:PORT[,HOST:PORT...]",
        help="loopback only; port 0 picks one; several are the nodes of a cluster",
    )
    parser.add_argument("--data", type=Path, metavar="FILE", help="keep the events here, through kill -9")
    parser.add_argument("--modes", type=int, metavar="SEED", help="late, ahead, slow and cut, as the real server is")
    arguments = parser.parse_args()
    uvloop.run(serve(arguments.listen.split(","), arguments.data, arguments.modes))


if __name__ == "__main__":
    main()
