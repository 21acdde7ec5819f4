"""Logs on disk as a stop or a kill leaves them, and what is in a directory, for tests that change files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from openbank import sqlite_wal
from openbank.eventstore.sqlite import FILE, SqliteEventStore
from tests.eventstore.conformance import some_events, whole_log

WAL = f"{FILE}-wal"
EPOCH = f"{FILE}-epoch"
PAGE = 4_096


async def write(directory: Path, events: int, *, clean: bool) -> None:
    """Appends to the log in `directory`, which then is stopped, or is as a kill at that moment leaves it."""
    os.makedirs(directory, exist_ok=True)
    store = SqliteEventStore(directory)
    begin = (await store.head()).position
    for revision in range(begin, begin + events):
        await store.append("account-1", revision, some_events(request_id=revision.to_bytes(16, "big")))
    if clean:
        await store.close()
        return
    left = contents(directory)
    await store.close()
    put_back(directory, left)


async def events_in(directory: Path) -> int:
    """How many events a start finds there."""
    store = SqliteEventStore(directory)
    events = len(await whole_log(store))
    await store.close()
    return events


def contents(directory: Path) -> Mapping[str, bytes]:
    """The files of a directory, but for the memory that SQLite shares with other readers."""
    files = [path for path in directory.iterdir() if path.is_file() and not path.name.endswith("-shm")]
    return {path.name: path.read_bytes() for path in files}


def put_back(directory: Path, files: Mapping[str, bytes]) -> None:
    for path in directory.iterdir():
        if path.is_file():
            path.unlink()
    for name, content in files.items():
        (directory / name).write_bytes(content)


@contextmanager
def states_of(directory: Path, into: Path) -> Iterator[list[Path]]:
    """Copies of the directory as it is before and after each sync, rename, removal and checkpoint that the block makes:
    what a kill at that moment leaves."""
    states: list[Path] = []
    copying = False

    def keep() -> None:
        nonlocal copying
        if not copying:
            copying = True
            states.append(into / f"state-{len(states)}")
            shutil.copytree(directory, states[-1])
            copying = False

    def kept(call: Callable[..., object]) -> Callable[..., object]:
        def between(*arguments: object, **options: object) -> object:
            keep()
            result = call(*arguments, **options)
            keep()
            return result

        return between

    with pytest.MonkeyPatch.context() as patched:
        for name in ("fsync", "replace", "rename", "unlink", "mkdir"):
            patched.setattr(os, name, kept(getattr(os, name)))
        patched.setattr(sqlite_wal, "checkpoint", kept(sqlite_wal.checkpoint))
        yield states
