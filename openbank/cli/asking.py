"""Shared by the commands that call a running bank and print its answer."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from openbank.cli.connection import Connection
from openbank.cli.errors import CommandFailed
from openbank.cli.terminal import shown
from openbank.cli.unreachable import UNREACHABLE, unreachable
from openbank.client.errors import bank_error

ANSWER_SECONDS = 10.0


Action = Callable[[Any, argparse.Namespace], Iterator[str]]
"""Calls a service through its stub as was typed, and returns the lines to print."""


def print_answer(
    bank: Connection, stub_class: Callable[[grpc.Channel], Any], action: Action, flags: argparse.Namespace
) -> int:
    """Prints the answer of a running bank. Returns the exit code. Raises CommandFailed."""
    with asking(bank), bank.channel() as channel:
        lines = list(action(stub_class(channel), flags))
    for line in lines:
        print(shown(line))
    return 0


@contextmanager
def asking(bank: Connection) -> Iterator[None]:
    """Raises CommandFailed for the error of a call."""
    try:
        yield
    except grpc.RpcError as error:
        status: Any = error
        said = f"{status.code().name}: {shown(status.details() or '')}"
        if bank_error(error):
            raise CommandFailed(f"{bank.target} answers {said}") from error
        why = unreachable(bank) if status.code().name in UNREACHABLE else ""
        raise CommandFailed(why or f"no bank answers at {bank.target}: {said}") from error


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns, the first row their headings."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()


def time_text(time: Timestamp) -> str:
    return datetime.fromtimestamp(time.seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
