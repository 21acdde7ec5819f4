"""The `openbank` command."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

from openbank import config, logs
from openbank.config import BadSetting, Settings

EXIT_BAD_START = 2

TRY = "grpcurl -plaintext {address} openbank.persons.v1.PersonsService/ListPersons"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    flags = parser.parse_args(arguments)
    try:
        settings = config.settings(vars(flags), os.environ)
        return int(flags.run(settings, flags))
    except BadSetting as error:
        return _refuse(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="openbank", description="An event-sourced bank of persons and accounts.")
    parser.add_argument("--version", action="version", version=f"openbank {version('openbank')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="serve the bank over gRPC", description="Serves the bank over gRPC.")
    config.add_flags(serve)
    serve.set_defaults(run=_serve)
    backup = commands.add_parser(
        "backup",
        help="copy the bank's events to a file",
        description="Copies the bank's events to a file, also while it is served. To restore, put the file as"
        " events.db into an empty data directory; views are rebuilt from it.",
    )
    backup.add_argument("file", type=Path, metavar="FILE", help="must not be there yet")
    config.add_flags(backup, "data")
    backup.set_defaults(run=_backup)
    return parser


def _serve(settings: Settings, _: argparse.Namespace) -> int:
    # What is wrong, the one line says; grpc's own log would say it again, in many.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Late, so that other commands and mistaken flags need not wait for all of grpc.
    from openbank.app import CANNOT_START

    logs.configure(settings.log_level, settings.log_format)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve_until_told(settings))
    except CANNOT_START as error:
        return _refuse(str(error))
    return 0


async def _serve_until_told(settings: Settings) -> None:
    from openbank.app import serving

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with serving(settings) as server:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        _say_ready(settings, server.address)
        await stop.wait()
        # A second signal ends the process at once: what was acknowledged is on disk.
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        _say(settings, "stopping")
    _say(settings, "stopped")


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def _say_ready(settings: Settings, address: str) -> None:
    if settings.log_format == "console":
        print(f"OpenBank {version('openbank')} is ready.")
        print(f"  listens on  {address}")
        print(f"  data in     {settings.stores}")
        print(f"  try         {TRY.format(address=address)}", flush=True)
    else:
        values = {"version": version("openbank"), "listen": address, "data": settings.stores}
        logging.getLogger("openbank").info("ready", extra={"values": values})


def _say(settings: Settings, what: str) -> None:
    logging.getLogger("openbank").info(what)


def _backup(settings: Settings, flags: argparse.Namespace) -> int:
    from openbank.app import backup

    try:
        backup(settings.data, flags.file)
    except OSError as error:
        return _refuse(f"no backup was made: {error}")
    print(f"{flags.file} holds the events of {settings.data.resolve()}")
    return 0


def _refuse(why: str) -> int:
    print(f"openbank: {why}", file=sys.stderr)
    return EXIT_BAD_START


if __name__ == "__main__":
    sys.exit(main())
