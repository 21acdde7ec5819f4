"""Parses the command line and runs the command. Returns the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

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
)
from openbank.cli.errors import EXIT_FAILED, CommandFailed
from openbank.cli.parsers import Parser
from openbank.config import BadSetting

COMMANDS = (
    serve, backup, restore, accept_loss, verify, copy,
    person, account, transfer, hold, tail, top, sinks, quarantine, rebuild, health, access, context, completion,
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
    parser.add_argument("--version", action="version", version=f"openbank {version('openbank')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


def _fail(why: str, code: int) -> int:
    print(f"openbank: {why}", file=sys.stderr)
    return code
