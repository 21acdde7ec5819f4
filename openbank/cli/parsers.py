"""What the parsers of several commands share."""

from __future__ import annotations

import argparse
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_target(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--target", metavar="ADDRESS", help="HOST:PORT (default: what the bank here listens on)")
