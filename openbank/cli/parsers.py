"""What the parsers of several commands share."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import NoReturn, TypeAlias

from openbank import address

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class Parser(argparse.ArgumentParser):
    """Repeats no address in an error: it may hold a password."""

    def error(self, message: str) -> NoReturn:
        super().error(re.sub(r"\S*(?:://|@)\S*", "...", message))


def add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", metavar="ADDRESS", help="HOST:PORT (default: what the bank here listens on)")


def path(text: str) -> Path:
    """The type of an argument that is a file or directory: an address is refused without repeating it."""
    try:
        return address.path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
