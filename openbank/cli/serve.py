"""`openbank serve`"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import signal
from contextlib import suppress
from importlib.metadata import version

from openbank import config, logs
from openbank.cli import grpc_log, signals
from openbank.cli.errors import CommandFailed, OutputFailed
from openbank.cli.event_loop import loop_factory
from openbank.cli.parsers import Commands
from openbank.config import Settings

TRY = "grpcurl -plaintext {address} openbank.persons.v1.PersonsService/ListPersons"


def add(commands: Commands) -> None:
    parser = commands.add_parser("serve", help="serve the bank over gRPC", description="Serves the bank over gRPC.")
    config.add_flags(parser)
    parser.set_defaults(run=run)


def run(settings: Settings, _: argparse.Namespace) -> int:
    grpc_log.silence()
    # Late, so that other commands and mistaken flags need not wait for all of grpc.
    from openbank.app import CANNOT_START

    logs.configure(settings.log_level, settings.log_format)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve_until_told(settings))
    except CANNOT_START as error:
        # They come before the line that says why it ended.
        logging.shutdown()
        raise CommandFailed(str(error)) from error
    return 0


async def _serve_until_told(settings: Settings) -> None:
    from openbank.app import serving

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with serving(settings) as server:
        _relax_garbage_collection()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        _say_ready(settings, server.address)
        await stop.wait()
        # A second signal ends the process at once: what was acknowledged is on disk.
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        signals.end_at_once()
        _say(settings, "stopping")
    _say(settings, "stopped")


def _relax_garbage_collection() -> None:
    """What the start has made stays, and of what calls make there are no cycles: seldom looking is enough."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def _say_ready(settings: Settings, address: str) -> None:
    if settings.log_format == "console":
        # Nobody needs to read it.
        with suppress(OutputFailed):
            print(f"OpenBank {version('openbank')} is ready.")
            print(f"  listens on  {address}")
            print(f"  data in     {settings.stores}")
            print(f"  try         {TRY.format(address=address)}", flush=True)
    else:
        values = {"version": version("openbank"), "listen": address, "data": settings.stores}
        logging.getLogger("openbank").info("ready", extra={"values": values})


def _say(settings: Settings, what: str) -> None:
    logging.getLogger("openbank").info(what)
