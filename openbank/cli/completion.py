"""`openbank completion`"""

from __future__ import annotations

import argparse

from openbank.cli.errors import CommandFailed
from openbank.cli.parsers import Commands, Parser
from openbank.config import Settings

SHELLS = ("bash", "zsh", "tcsh")


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "completion",
        help="print what makes a shell complete commands and flags",
        description="Prints a script for a shell, which then completes commands, flags and their choices: openbank"
        " completion bash > ~/.local/share/bash-completion/completions/openbank.",
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(run=_run)


def _run(_: Settings, flags: argparse.Namespace) -> int:
    from openbank.cli.main import parser_of_all
    from openbank.extras import ExtraMissing, needs

    try:
        with needs("cli", "openbank completion"):
            import shtab
    except ExtraMissing as error:
        raise CommandFailed(str(error)) from None
    parser = parser_of_all()
    _fill(parser)
    print(shtab.complete(parser, shell=flags.shell))
    return 0


def _fill(parser: Parser) -> None:
    """Adds the arguments of all commands, of which only those that were typed have theirs."""
    parser.fill()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                _fill(each)
