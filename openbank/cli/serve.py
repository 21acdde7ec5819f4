"""`openbank serve`"""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from openbank import config, logs
from openbank.cli import grpc_log, signals
from openbank.cli.errors import CommandFailed, OutputFailed
from openbank.cli.event_loop import loop_factory
from openbank.cli.parsers import Commands, Parser
from openbank.config import Settings

if TYPE_CHECKING:
    from openbank.app import Server

READY_SECONDS = 1.0
"""A bank that is ready within this time prints only that it is ready."""
TRY = "openbank.persons.v1.PersonsService/ListPersons"


def add(commands: Commands) -> None:
    commands.add_parser(
        "serve",
        help="serve the bank over gRPC",
        description="Serves the bank over gRPC. A data directory that is not there is created.",
        fill=_fill,
    )


def _fill(parser: Parser) -> None:
    config.add_flags(parser)
    parser.set_defaults(run=run)


def run(settings: Settings, _: argparse.Namespace) -> int:
    grpc_log.silence()
    # Imported late, so that other commands and usage errors need not wait for all of grpc.
    from openbank.app import CANNOT_START

    logs.configure(settings.log_level, settings.log_format)
    if unknown := config.unknown_variables(os.environ):
        values = {"names": " ".join(unknown)}
        logging.getLogger("openbank").warning("unknown variables are ignored", extra={"values": values})
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(_serve_until_told(settings))
    except CANNOT_START as error:
        # These lines come before the line that says why the bank ended.
        logging.shutdown()
        raise CommandFailed(str(error)) from error
    return 0


async def _serve_until_told(settings: Settings) -> None:
    """Raises signals.Interrupted for a signal that comes before the bank listens."""
    from openbank.app import serving

    told = _Told(settings)
    try:
        async with serving(settings) as server:
            told.is_started(server.reloader.look_now)
            _keep_pauses_short()
            announcing = asyncio.create_task(_announce(settings, server))
            await told.to_stop.wait()
            announcing.cancel()
            _say("stopping", signal=told.signal_name)
    except asyncio.CancelledError:
        if not told.number:
            raise
        _say("stopped before it was ready", signal=told.signal_name)
        raise signals.Interrupted(told.number) from None
    _say("stopped")


class _Told:
    """Handles signals from the first moment on.

    The first signal cancels a start, or stops a bank that serves. A later signal ends the process at once: what was
    acknowledged is on disk. SIGHUP stops a bank too, as the terminal that started it has gone; but a bank with TLS or
    an access file then looks at these files. During a stop SIGHUP is ignored.
    """

    def __init__(self, settings: Settings) -> None:
        self.to_stop = asyncio.Event()
        self.number = 0
        self._look: Callable[[], None] | None = None
        self._starting = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        self._numbers = [signal.SIGTERM, signal.SIGINT]
        # nohup ignores SIGHUP, and that is kept. Shell scripts ignore SIGINT for background processes; it is handled
        # nevertheless.
        if settings.reloads:
            self._loop.add_signal_handler(signal.SIGHUP, self._look_at_files)
        elif signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            self._numbers.append(signal.SIGHUP)
        for number in self._numbers:
            self._loop.add_signal_handler(number, self._take, number)

    @property
    def signal_name(self) -> str:
        return signal.Signals(self.number).name

    def is_started(self, look: Callable[[], None]) -> None:
        """`look` is what SIGHUP does from now on, where it does not stop the bank."""
        self._starting = None
        self._look = look

    def _look_at_files(self) -> None:
        # A start has just read them.
        if self._look is not None:
            self._look()

    def _take(self, number: int) -> None:
        self.number = number
        for each in (*self._numbers, signal.SIGHUP):
            self._loop.remove_signal_handler(each)
        signals.end_at_next()
        # Neither a terminal that goes nor a certificate that is replaced cuts the drain short.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.to_stop.set()
        if self._starting is not None:
            self._starting.cancel()


def _keep_pauses_short() -> None:
    """Bounds the pauses of the garbage collector, during which nothing is served.

    Objects from the start stay, and are never scanned again. Calls leave young garbage in cycles, since gRPC makes one
    for each. So the young generation is collected in small portions, and a full collection, which takes up to a tenth
    of a second, hardly ever happens.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 5, 4_000)


async def _announce(settings: Settings, server: Server) -> None:
    """Prints where the bank listens, and later that it is ready: building views takes a while."""
    with suppress(TimeoutError):
        async with asyncio.timeout(READY_SECONDS):
            await server.ready()
    waits_for = server.not_serving
    if waits_for:
        names = " ".join(waits_for)
        _tell(settings, server, "is starting", f"waits for   {names}", "listening", not_serving=names)
        await server.ready()
    call = f"grpcurl {_grpcurl_flags(settings)} {server.address} {TRY}"
    _tell(settings, server, "is ready", f"try         {call}", "ready")


def _grpcurl_flags(settings: Settings) -> str:
    if settings.tls_cert is None:
        return "-plaintext"
    return "-cacert CA.pem" + (" -cert CLIENT.pem -key CLIENT.key" if settings.tls_client_ca else "")


def _tell(settings: Settings, server: Server, is_what: str, last: str, event: str, **values: str) -> None:
    tls = "mutual TLS" if settings.tls_client_ca else "TLS" if settings.tls_cert else ""
    from importlib.metadata import version

    if settings.log_format == "console":
        # This line need not be read.
        with suppress(OutputFailed):
            print(f"OpenBank {version('openbank')} {is_what}.")
            print(f"  listens on  {server.address}{f' by {tls}' if tls else ''}")
            if settings.local_socket:
                print(f"              {settings.local_socket}")
            print(f"  data in     {settings.stores}")
            if server.metrics_address:
                print(f"  metrics on  http://{server.metrics_address}/metrics")
            print(f"  {last}", flush=True)
    else:
        values |= {"tls": tls} if tls else {}
        values |= {"local_socket": settings.local_socket} if settings.local_socket else {}
        _say(event, version=version("openbank"), listen=server.address, data=settings.stores, **values)


def _say(what: str, **values: str) -> None:
    logging.getLogger("openbank").info(what, extra={"values": values})
