"""`openbank copy`"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from openbank import address, config
from openbank.cli import grpc_log
from openbank.cli.errors import CommandFailed
from openbank.cli.event_loop import loop_factory
from openbank.cli.parsers import Commands
from openbank.cli.signals import Interrupted
from openbank.config import Settings

if TYPE_CHECKING:
    from openbank.app import Copied
    from openbank.progress import OnProgress


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "copy",
        help="copy a bank to another event store, to serve it from there",
        description="Copies all events of a bank to another event store, and reads each of them back. Either place is a"
        " data directory, which must not be served from meanwhile, or an address of EventStoreDB. A copy that was"
        " interrupted continues where it stopped, by the same command.",
    )
    parser.add_argument(
        "--from", dest="source", metavar="PLACE", required=True, help="data, or esdb://HOST:PORT?OPTIONS"
    )
    parser.add_argument(
        "--to", dest="target", metavar="PLACE", required=True, help="the same; created if it does not exist"
    )
    config.add_flags(parser, "store_wait_seconds")
    parser.set_defaults(run=run)


def run(settings: Settings, flags: argparse.Namespace) -> int:
    grpc_log.silence()
    from openbank.app import CANNOT_COPY, copy
    from openbank.cli.progress import progress

    source, target = (_check(flag, place) for flag, place in (("--from", flags.source), ("--to", flags.target)))
    shown = address.shown(target)
    print(f"copying the bank in {address.shown(source)} to {shown}", flush=True)
    try:
        with progress() as report, asyncio.Runner(loop_factory=loop_factory()) as runner:
            copied = runner.run(copy(source, target, _saying(report), settings.store_wait_seconds))
    except CANNOT_COPY as error:
        raise CommandFailed(f"the copy is not complete: {error}") from error
    except Interrupted as interrupted:
        why = "the copy is not complete: interrupted; the same command continues where it stopped"
        raise CommandFailed(why, interrupted.exit_code) from None
    print(
        f"complete: {shown} has all {copied.events:,} events, {copied.appended:,} of them new;"
        " each was read back, and is what the source has"
    )
    return 0


def _check(flag: str, place: str) -> str:
    try:
        config.read_location(place)
    except ValueError as error:
        raise CommandFailed(f"{flag} {error}") from None
    return place


def _saying(report: OnProgress) -> Callable[[Copied], None]:
    return lambda copied: report("copying", copied.part)
