"""Parses the command line and runs the command. Returns the exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from openbank import config
from openbank.cli import (
    accept_loss,
    access,
    account,
    backup,
    completion,
    context,
    copy,
    health,
    hold,
    person,
    quarantine,
    rebuild,
    restore,
    serve,
    sinks,
    tail,
    top,
    transfer,
    verify,
    web,
)
from openbank.cli.errors import EXIT_FAILED, CommandFailed
from openbank.cli.parsers import Parser
from openbank.config import BadSetting

COMMANDS = (
    serve, backup, restore, accept_loss, verify, copy,
    person, account, transfer, hold, tail, top, web, sinks, quarantine, rebuild, health, access, context, completion,
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    flags = parser_of_all().parse_args(arguments)
    try:
        settings = config.settings(vars(flags), os.environ)
        return int(flags.run(settings, flags))
    except BadSetting as error:
        return _fail(str(error), EXIT_FAILED)
    except CommandFailed as error:
        return _fail(str(error), error.code)


def parser_of_all() -> Parser:
    parser = Parser(prog="openbank", description="An event-sourced bank of persons and accounts.")
    parser.add_argument("--version", action=_Version, nargs=0, help="show program's version number and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


class _Version(argparse.Action):
    """Asks for the version only when it is to be printed: that takes a fifth of the time of `--help`."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"openbank {version('openbank')}")
        parser.exit()


def _fail(why: str, code: int) -> int:
    print(f"openbank: {why}", file=sys.stderr)
    return code
