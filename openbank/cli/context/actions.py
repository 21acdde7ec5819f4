"""`openbank context`: what it does with the file."""

from __future__ import annotations

import argparse
import os

from openbank.cli import contexts
from openbank.cli.errors import CommandFailed
from openbank.cli.output.rows import print_rows


def _add(flags: argparse.Namespace) -> int:
    if not flags.target:
        raise CommandFailed("give --target ADDRESS")
    files = {name: getattr(flags, f"client_{name}") for name in contexts.FIELDS if name != "target"}
    context = {"target": flags.target} | {name: os.path.abspath(path) for name, path in files.items() if path}
    with contexts.changing() as contents:
        if flags.name in contents["contexts"] and not flags.replace:
            raise CommandFailed(f"there is a context {flags.name}: give --replace, or another name")
        contents["contexts"][flags.name] = context
    return 0


def _use(flags: argparse.Namespace) -> int:
    if flags.none == bool(flags.name):
        raise CommandFailed("give the name of a context, or --none")
    with contexts.changing() as contents:
        if flags.name and flags.name not in contents["contexts"]:
            raise CommandFailed(f"there is no context {flags.name}: openbank context list")
        contents["current"] = flags.name or ""
    return 0


def _remove(flags: argparse.Namespace) -> int:
    with contexts.changing() as contents:
        if contents["contexts"].pop(flags.name, None) is None:
            raise CommandFailed(f"there is no context {flags.name}: openbank context list")
        if contents["current"] == flags.name:
            contents["current"] = ""
    return 0


def _list(flags: argparse.Namespace) -> int:
    found = contexts.read()
    print_rows(
        ("name", "current", *contexts.FIELDS),
        [
            {"name": name, "current": "*" if name == found.current else "", **context}
            for name, context in found.by_name.items()
        ],
        flags,
    )
    return 0


ACTIONS = {"add": _add, "use": _use, "remove": _remove, "list": _list}
