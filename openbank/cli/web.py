"""`openbank web`"""

from __future__ import annotations

import argparse
import asyncio
import signal
from urllib.parse import urlsplit

from openbank import setting_types
from openbank.cli import grpc_log, signals
from openbank.cli.connection import Connection, add_connection, connection
from openbank.cli.errors import CommandFailed
from openbank.cli.event_loop import loop_factory
from openbank.cli.parsers import Commands, Parser, text
from openbank.client.channel import UNIX
from openbank.config import Settings
from openbank.extras import ExtraMissing, needs

LISTEN = "127.0.0.1:8080"


def add(commands: Commands) -> None:
    commands.add_parser(
        "web",
        help="serve a page about a bank to browsers",
        description="Serves a page with accounts, transfers and holds, and passes calls of browsers (gRPC-Web) on to a"
        " bank. It keeps no token: each browser sends its own. A proxy in front of it has to add TLS.",
        fill=_fill,
    )


def _fill(parser: Parser) -> None:
    parser.add_argument(
        "--listen", dest="web_listen", type=_address, default=LISTEN, metavar="HOST:PORT",
        help=f"where browsers find it; port 0 takes a free one (default: {LISTEN})",
    )  # fmt: skip
    parser.add_argument(
        "--allow-origin", type=_origin, action="append", default=[], metavar="ORIGIN",
        help="let pages of this origin call too, such as https://bank.example; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--insecure", dest="web_insecure", action="store_true",
        help="listen beyond this machine, where tokens can be read on the way unless a proxy adds TLS",
    )  # fmt: skip
    add_connection(parser)
    parser.set_defaults(run=run)


def run(settings: Settings, flags: argparse.Namespace) -> int:
    grpc_log.silence()
    bank = connection(settings, flags)
    if bank.token_file is not None or bank.token is not None:
        raise CommandFailed("every browser would call with this token: start openbank web without one")
    _check_listen(flags.web_listen, insecure=flags.web_insecure)
    try:
        with needs("web", "openbank web"):
            from openbank.web import server  # noqa: F401
    except ExtraMissing as error:
        raise CommandFailed(str(error)) from None
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(bank, flags.web_listen, flags.allow_origin))
    return 0


async def _serve(bank: Connection, listen: str, allowed: list[str]) -> None:
    from openbank.web.server import CHANNEL_OPTIONS, serving

    host, _, port = listen.rpartition(":")
    # With a certificate, or by the local socket, the bridge itself is a caller: nobody may call in its name.
    needs_token = bank.tls_cert is not None or bank.target.startswith(UNIX)
    try:
        async with (
            bank.channel_for_asyncio(CHANNEL_OPTIONS) as channel,
            serving(channel, host, int(port), allowed, needs_token=needs_token) as address,
        ):
            stopped = _signal()
            print(f"http://{address}/ shows the bank at {bank.target}", flush=True)
            number = await stopped
    except OSError as error:
        raise CommandFailed(f"cannot listen on {listen}: {error.strerror}") from None
    raise signals.Interrupted(number)


def _signal() -> asyncio.Future[int]:
    """The first signal that ends the command. The next one ends it at once.

    An exception that is raised in a handler would be lost in a callback of the event loop.
    """
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()
    numbers = [number for number in signals.ENDING if signal.getsignal(number) is not signal.SIG_IGN]

    def stop(number: int) -> None:
        for each in numbers:
            loop.remove_signal_handler(each)
        signals.end_at_next()
        stopped.set_result(number)

    for number in numbers:
        loop.add_signal_handler(number, stop, number)
    return stopped


def _check_listen(listen: str, *, insecure: bool) -> None:
    from openbank.ports import CannotListen, is_of_this_machine

    try:
        if not insecure and not is_of_this_machine(listen):
            raise CommandFailed(
                f"--listen {listen} is beyond this machine, and the page has no TLS: put a proxy with TLS before it, or"
                " add --insecure"
            )
    except CannotListen as error:
        raise CommandFailed(str(error)) from None


def _address(value: str) -> str:
    try:
        return setting_types.host_and_port(text(value))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _origin(value: str) -> str:
    parts = urlsplit(text(value))
    if parts.scheme not in ("http", "https") or value != f"{parts.scheme}://{parts.netloc}" or "@" in parts.netloc:
        raise argparse.ArgumentTypeError("must be an origin, such as https://bank.example, without a path")
    return value.lower()
