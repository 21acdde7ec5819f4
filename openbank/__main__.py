"""The `openbank` command."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from openbank import config, logs
from openbank.config import BadSetting, Settings

if TYPE_CHECKING:
    from openbank.app import Copied

EXIT_NOT_SERVING = 1
EXIT_FAULTS = 1
EXIT_BAD_START = 2
EXIT_INTERRUPTED = 130
PROGRESS_SECONDS = 2.0

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
    accept = commands.add_parser(
        "accept-loss",
        help="go on with a log that has lost events",
        description="For a bank that refuses to start as its log has lost events, where no backup has more: makes what"
        " is left a log of its own. Views are rebuilt from it at the next start.",
    )
    config.add_flags(accept, "data")
    accept.set_defaults(run=_accept_loss)
    verify = commands.add_parser(
        "verify",
        help="check all that is on disk",
        description="Checks every event and what the events say of one another, the indexes, the money, and the views"
        f" against views made anew; also while it is served. Exits with 0 if all is well, with {EXIT_FAULTS} if not.",
    )
    config.add_flags(verify, "data")
    verify.set_defaults(run=_verify)
    copy = commands.add_parser(
        "copy",
        help="copy a bank to another event store, to serve it from there",
        description="Copies all events of a bank to another event store, and reads each of them back. Either place is a"
        " data directory, which must not be served from meanwhile, or an address of EventStoreDB. A copy that was"
        " interrupted goes on where it stopped, by the same command.",
    )
    copy.add_argument("--from", dest="source", metavar="PLACE", required=True, help="data, or esdb://HOST:PORT?OPTIONS")
    copy.add_argument("--to", dest="target", metavar="PLACE", required=True, help="the same; made where there is none")
    copy.set_defaults(run=_copy)
    tail = commands.add_parser(
        "tail",
        help="print events as they come",
        description="Prints events as they come, until Ctrl-C. Lost connections are made again, and it goes on where it"
        " was: no event is left out, and none comes twice.",
    )
    _add_tail_flags(tail)
    tail.set_defaults(run=_tail)
    sinks = commands.add_parser(
        "sinks",
        help="see where integration events are sent, and what to do about those that are refused",
        description="Asks a running bank about its sinks.",
    )
    _add_sinks_commands(sinks)
    health = commands.add_parser(
        "health",
        help="ask whether a bank is serving",
        description=f"Exits with 0 if a bank is serving, else with {EXIT_NOT_SERVING}.",
    )
    health.add_argument(
        "part", nargs="?", default="", metavar="PART", help="openbank.commands, openbank.queries, openbank.feeds, ..."
    )
    health.add_argument("--target", metavar="ADDRESS", help="HOST:PORT (default: what the bank here listens on)")
    health.set_defaults(run=_health)
    return parser


def _add_tail_flags(tail: argparse.ArgumentParser) -> None:
    tail.add_argument("feed", choices=("accounts", "persons"), help="whose events")
    tail.add_argument("--target", metavar="ADDRESS", help="HOST:PORT (default: what the bank here listens on)")
    for flag, what in (
        ("--account", "only this account's"),
        ("--person", "only this person's; for persons"),
        ("--owner", "only those of this person's accounts"),
    ):
        tail.add_argument(flag, metavar="ID", action="append", default=[], help=f"{what}; may be repeated")
    tail.add_argument(
        "--type", action="append", default=[], help="only of this type, such as MONEY_DEPOSITED; may be repeated"
    )
    tail.add_argument(
        "--from",
        dest="start",
        metavar="WHERE",
        default="live",
        help="beginning, live, or a time such as 2026-11-23T15:25Z (default: live)",
    )
    tail.add_argument(
        "--resume",
        type=Path,
        metavar="FILE",
        help="keep in FILE how far it has come, and go on from there the next time; --from counts for the first",
    )
    tail.add_argument("--format", choices=("text", "json"), default="text", help="json: one object a line")
    tail.add_argument("--until-caught-up", action="store_true", help="end once there are no more events, for scripts")


def _add_sinks_commands(sinks: argparse.ArgumentParser) -> None:
    actions = sinks.add_subparsers(required=True, metavar="ACTION", dest="action")
    listing = actions.add_parser("list", help="all sinks: state, how far behind, how much is parked")
    show = actions.add_parser("show", help="one sink, and what is parked")
    retry = actions.add_parser("retry", help="send a parked aggregate's events again, from the first the sink lacks")
    skip = actions.add_parser("skip", help="leave out the first event the sink lacks, and send the rest")
    for action in (show, retry, skip):
        action.add_argument("sink_name", metavar="NAME", help="of the sink")
    which = retry.add_mutually_exclusive_group(required=True)
    which.add_argument("aggregate", metavar="AGGREGATE", nargs="?", default="", help="such as account-1234")
    which.add_argument("--all", action="store_true", help="everything that is parked")
    skip.add_argument("aggregate", metavar="AGGREGATE", help="such as account-1234")
    skip.add_argument("--all", action="store_true", help="leave out all that was held back, and send what comes")
    skip.add_argument(
        "--revision", type=int, metavar="REVISION", help="only if this is the first event that the sink lacks"
    )
    for action in (listing, show, retry, skip):
        action.add_argument("--target", metavar="ADDRESS", help="HOST:PORT (default: what the bank here listens on)")
        action.set_defaults(run=_sinks)


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
    return _end()


def _end() -> NoReturn:
    """At once: what else Python does at its end has a part in which gRPC waits for its own thread, and this one, where
    many messages were on their way, for an event loop that is gone."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


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
        _say(settings, "stopping")
    _say(settings, "stopped")


def _relax_garbage_collection() -> None:
    """What the start has made stays, and of what calls make there are no cycles: seldom looking is enough."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


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


def _verify(settings: Settings, _: argparse.Namespace) -> int:
    from openbank.app import CANNOT_START
    from openbank.verify import verify

    try:
        report = asyncio.run(verify(settings.data.resolve()))
    except CANNOT_START as error:
        return _refuse(str(error))
    for line in (*report.lines, *report.faults):
        print(line)
    print(f"{report.fault_count:,} faults" if report.fault_count else "no fault")
    return EXIT_FAULTS if report.fault_count else 0


def _accept_loss(settings: Settings, _: argparse.Namespace) -> int:
    from openbank.app import CANNOT_START, accept_loss

    try:
        end = accept_loss(settings.data)
    except CANNOT_START as error:
        return _refuse(str(error))
    print(f"the log in {settings.data.resolve()} ends at position {end}, and is a log of its own from here on")
    return 0


def _copy(settings: Settings, flags: argparse.Namespace) -> int:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from openbank.app import CANNOT_COPY, copy

    source, target = (config.without_credentials(place) for place in (flags.source, flags.target))
    print(f"copying the bank in {source} to {target}", flush=True)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            copied = runner.run(copy(flags.source, flags.target, _Progress()))
    except CANNOT_COPY as error:
        return _refuse(f"the copy is not complete: {error}")
    except KeyboardInterrupt:
        _refuse("the copy is not complete: interrupted; the same command goes on where it stopped")
        return EXIT_INTERRUPTED
    print(
        f"complete: {target} has all {copied.events:,} events, {copied.appended:,} of them new;"
        " each was read back, and is what the source has"
    )
    return 0


class _Progress:
    """Says every few seconds how far a copy has come."""

    def __init__(self) -> None:
        self._start = self._said = time.monotonic()

    def __call__(self, copied: Copied) -> None:
        now = time.monotonic()
        if now - self._said < PROGRESS_SECONDS:
            return
        self._said = now
        rate = copied.events / (now - self._start)
        print(
            f"  {copied.part:4.0%}  {copied.events:,} events, {copied.appended:,} of them new; {rate:,.0f} a second",
            flush=True,
        )


def _tail(settings: Settings, flags: argparse.Namespace) -> int:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from openbank.client.errors import CannotTail
    from openbank.client.tail import Wanted, tail

    wanted = Wanted(
        feed=flags.feed,
        target=flags.target or settings.listen,
        accounts=flags.account,
        persons=flags.person,
        owners=flags.owner,
        types=flags.type,
        start=flags.start,
        resume=flags.resume,
        format=flags.format,
        until_caught_up=flags.until_caught_up,
    )
    try:
        tail(wanted)
    except CannotTail as error:
        return _refuse(str(error))
    return 0


def _sinks(settings: Settings, flags: argparse.Namespace) -> int:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from openbank.client.errors import CannotAsk
    from openbank.client.sinks import Wanted, ask

    wanted = Wanted(
        target=flags.target or settings.listen,
        action=flags.action,
        sink=getattr(flags, "sink_name", ""),
        aggregate=getattr(flags, "aggregate", ""),
        all=getattr(flags, "all", False),
        revision=getattr(flags, "revision", None),
    )
    try:
        for line in ask(wanted):
            print(line)
    except CannotAsk as error:
        return _refuse(str(error))
    return 0


def _health(settings: Settings, flags: argparse.Namespace) -> int:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from openbank.rpc.probe import SERVING, probe

    status = probe(flags.target or settings.listen, flags.part)
    print(status)
    return 0 if status == SERVING else EXIT_NOT_SERVING


def _refuse(why: str) -> int:
    print(f"openbank: {why}", file=sys.stderr)
    return EXIT_BAD_START


if __name__ == "__main__":
    sys.exit(main())
