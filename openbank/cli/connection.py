"""How a command reaches a bank: the flags that every such command has, and the channel they ask for."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from openbank.cli.errors import CommandFailed
from openbank.cli.parsers import path, target, text
from openbank.config import Settings

if TYPE_CHECKING:
    import grpc

Channel = TypeVar("Channel")

TOKEN_VARIABLE = "OPENBANK_TOKEN"
ANYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
"""Hosts that mean every address of the machine, and where a client finds a bank that listens there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """The bank that a command calls."""

    target: str
    """HOST:PORT or unix:PATH."""
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    token_file: Path | None = None
    token: str | None = field(default=None, repr=False)

    def channel(self, options: Any = ()) -> grpc.Channel:
        """A new channel. Raises CommandFailed, by the name of the flag, for files that cannot be used."""
        # Imported late, so that usage errors need not wait for all of grpc.
        from openbank.client.channel import connect_sync

        return self._made_by(connect_sync, options)

    def channel_for_asyncio(self, options: Any = ()) -> grpc.aio.Channel:
        """`channel`, for the event loop that runs."""
        from openbank.client.channel import connect

        return self._made_by(connect, options)

    def _made_by(self, make: Callable[..., Channel], options: Any) -> Channel:
        from openbank.client.channel import BadCredentials

        try:
            return make(
                self.target,
                tls_ca=self.tls_ca,
                tls_cert=self.tls_cert,
                tls_key=self.tls_key,
                token_file=self.token_file,
                token=self.token,
                options=options,
            )
        except BadCredentials as error:
            flag = "--" + error.parameter.replace("_", "-")
            raise CommandFailed(f"{TOKEN_VARIABLE if error.parameter == 'token' else flag} {error.why}") from None


def add_connection(parser: argparse.ArgumentParser, *, context: bool = True) -> None:
    """The flags of a command that calls a bank; with `context` it may be one that has a name."""
    group = parser.add_argument_group("connection")
    if context:
        group.add_argument("--context", type=text, metavar="NAME", help="one of openbank context list")
    group.add_argument(
        "--target",
        type=target,
        metavar="ADDRESS",
        help="HOST:PORT or unix:PATH (default: the current context, or the bank that listens here)",
    )
    for flag, what in (
        ("--tls-ca", "use TLS, and trust a bank whose certificate one of the authorities in FILE has signed"),
        ("--tls-cert", "certificate of this client, for a bank with mutual TLS"),
        ("--tls-key", "key of this client's certificate"),
        ("--token-file", f"file with the token to send; without it {TOKEN_VARIABLE} holds the token"),
    ):
        # The names differ from those of the settings: a client's certificate is not the bank's.
        group.add_argument(flag, type=path, metavar="FILE", dest=f"client_{flag[2:].replace('-', '_')}", help=what)
    # Else argparse would take it for an abbreviation, and the token for the name of a file that is not there.
    group.add_argument("--token", type=_refused_token, help=argparse.SUPPRESS)


def connection(
    settings: Settings, flags: argparse.Namespace, environment: Mapping[str, str] | None = None
) -> Connection:
    """The connection that was typed: flags, what they leave open as the context has it. Raises CommandFailed."""
    from openbank.cli import contexts

    variables = os.environ if environment is None else environment
    context = _context(flags)
    files = {
        name: getattr(flags, f"client_{name}") or (Path(context[name]) if context.get(name) else None)
        for name in contexts.FIELDS
        if name != "target"
    }
    return Connection(
        target=flags.target or context.get("target") or _here(settings),
        # An empty variable is one that is not set.
        token=(variables.get(TOKEN_VARIABLE) or None) if files["token_file"] is None else None,
        **files,
    )


def _context(flags: argparse.Namespace) -> Mapping[str, str]:
    """Empty where none is to be used. A target that was typed is not the current context's: its token is not sent
    there."""
    from openbank.cli import contexts

    name = flags.context
    if name is None:
        if flags.target is not None:
            return {}
        name = contexts.read().current
    if not name:
        return {}
    context = contexts.read().named(name)
    try:
        target(context["target"])
    except argparse.ArgumentTypeError as error:
        raise CommandFailed(f"{contexts.file()}: contexts.{name}.target {error}") from None
    return context


def _refused_token(_: str) -> NoReturn:
    raise argparse.ArgumentTypeError(f"would show in the list of processes: use --token-file or {TOKEN_VARIABLE}")


def _here(settings: Settings) -> str:
    if settings.local_socket:
        return settings.local_socket
    host, colon, port = settings.listen.rpartition(":")
    return ANYWHERE.get(host, host) + colon + port
