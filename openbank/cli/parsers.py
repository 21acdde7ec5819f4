"""What the parsers of several commands share."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from openbank import address, setting_types

Commands: TypeAlias = "argparse._SubParsersAction[Any]"


class Parser(argparse.ArgumentParser):
    """Shows the usage of the subcommand that was mistyped. Repeats no address: it may hold a password.

    `fill` adds the arguments. It is called when they are needed: no command waits for the arguments of all others.
    """

    def __init__(self, *arguments: Any, fill: Callable[[Parser], None] | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._fill = fill

    def fill(self) -> None:
        fill, self._fill = self._fill, None
        if fill is not None:
            fill(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        self.fill()
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            from difflib import get_close_matches

            flags = [text.partition("=")[0] for text in unknown if text.startswith("--")]
            near = [match for flag in flags for match in get_close_matches(flag, self._option_string_actions, n=1)]
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            self.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        super().error(re.sub(r"\S*(?:://|@)\S*", "...", message))


def add_aggregate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("aggregate", type=text, metavar="AGGREGATE", help="such as account-1234")


def add_aggregate_or_all(parser: argparse.ArgumentParser, all_help: str) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("aggregate", type=text, metavar="AGGREGATE", nargs="?", default="", help="such as account-1234")
    which.add_argument("--all", action="store_true", help=all_help)


def add_revision(parser: argparse.ArgumentParser, help: str) -> None:
    parser.add_argument("--revision", type=revision, metavar="REVISION", help=help)


def text(text: str) -> str:
    """The type of an argument that is sent to the bank."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("is not UTF-8") from None
    return text


def target(target: str) -> str:
    """The type of an argument that is a bank's address."""
    try:
        return setting_types.bank_address(text(target))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def revision(text: str) -> int:
    """The type of an argument that is a revision."""
    if not (text.isascii() and text.isdigit() and 0 < int(text[:20]) < 1 << 63):
        raise argparse.ArgumentTypeError("must be a whole number, 1 or more")
    return int(text)


def path(text: str) -> Path:
    """The type of an argument that is a file or directory: an address is refused without repeating it."""
    try:
        return address.path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
