"""The flags of commands that print an answer."""

from __future__ import annotations

import argparse

FORMATS = ("table", "json", "jsonl", "csv")
COLORS = ("auto", "always", "never")
TIME_FORMATS = ("utc", "local", "relative")


def add_output(parser: argparse.ArgumentParser, elsewhere: str = "json") -> None:
    """`elsewhere` is the format where the output is no terminal."""
    default = f"table on a terminal, {elsewhere} elsewhere" if elsewhere != "table" else "table"
    parser.add_argument("-o", "--output", choices=FORMATS, help=f"(default: {default})")
    parser.add_argument("--color", choices=COLORS, default="auto", help="auto: on a terminal, unless NO_COLOR is set")
    parser.add_argument(
        "--time-format", choices=TIME_FORMATS, default="utc", help="of times in tables and CSV (default: utc)"
    )
    parser.set_defaults(format_elsewhere=elsewhere)
