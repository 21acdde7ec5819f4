"""What a disk has kept at any moment of a journal that `layer.c` wrote: what was synced, and a part of the rest.

The rest is what a file system may have written by itself, in an order of its own: of each file any of the 512-byte
sectors that were written and not synced, any change of its size, and of each directory's changes some first ones. A
sync covers what was done before it began, once it has ended. One that failed leaves it to chance what it has written,
and no later one makes up for that: the system holds those pages for clean.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

HEAD = struct.Struct("<IIQQQ")
"""Operation, number of a sync, inode, offset or new size, and how many bytes follow: data, or a path."""
TOLD = "a"
SECTOR = 512

Chance = Callable[[], bool]


class Record(NamedTuple):
    operation: str
    sync: int
    inode: int
    offset: int
    data: bytes

    @property
    def path(self) -> Path:
        return Path(os.fsdecode(self.data))

    @property
    def told(self) -> Any:
        return json.loads(self.data)


def read(journal: Path) -> Iterator[Record]:
    """The records of a journal that is complete."""
    content = journal.read_bytes()
    at = 0
    while at < len(content):
        operation, sync, inode, offset, size = HEAD.unpack_from(content, at)
        at += HEAD.size
        yield Record(chr(operation), sync, inode, offset, content[at : at + size])
        at += size


class _Unsynced:
    """Changes in order, of which a sync takes those that were there when it began."""

    def __init__(self) -> None:
        self.changes: list[Any] = []
        self._begun: dict[int, int] = {}
        self._taken = 0

    def begin(self, sync: int) -> None:
        self._begun[sync] = self._taken + len(self.changes)

    def end(self, sync: int) -> list[Any]:
        """What this sync covers, and no earlier one has."""
        count = max(0, self._begun.pop(sync) - self._taken)
        covered, self.changes = self.changes[:count], self.changes[count:]
        self._taken += count
        return covered


class _Write(NamedTuple):
    offset: int
    data: bytes


class _Resize(NamedTuple):
    size: int


class _File(_Unsynced):
    def __init__(self, content: bytes = b"") -> None:
        super().__init__()
        self.content = bytearray(content)

    def synced(self, sync: int) -> None:
        for change in self.end(sync):
            _apply(self.content, change, _always)

    def failed(self, sync: int, chance: Chance) -> None:
        for change in self.end(sync):
            _apply(self.content, change, chance)

    def kept(self, chance: Chance) -> bytes:
        content = bytearray(self.content)
        for change in self.changes:
            _apply(content, change, chance)
        return bytes(content)


class _Directory(_Unsynced):
    """Its changes take the entries before and make those after: a journal of the file system's keeps their order."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: dict[str, _File | _Directory] = {}
        self.now: dict[str, _File | _Directory] = {}

    def change(self, entries: dict[str, _File | _Directory]) -> None:
        self.now = entries
        self.changes.append(entries)

    def synced(self, sync: int) -> None:
        for entries in self.end(sync):
            self.entries = entries

    def failed(self, sync: int, chance: Chance) -> None:
        for entries in self.end(sync):
            if not chance():
                break
            self.entries = entries

    def kept(self, chance: Chance) -> dict[str, _File | _Directory]:
        entries = self.entries
        for after in self.changes:
            if not chance():
                break
            entries = after
        return entries


class Disk:
    """A directory as a journal describes it, record by record, from when it was empty."""

    def __init__(self, root: Path, random: Random) -> None:
        self._root = root
        self._random = random
        self._top = _Directory()
        self._nodes: dict[int, _File | _Directory] = {root.stat().st_ino: self._top}

    def apply(self, record: Record) -> None:
        match record.operation:
            case "w":
                self._file(record).changes.append(_Write(record.offset, record.data))
            case "t":
                self._file(record).changes.append(_Resize(record.offset))
            case "b":
                self._nodes[record.inode].begin(record.sync)
            case "e":
                self._nodes[record.inode].synced(record.sync)
            case "x":
                self._nodes[record.inode].failed(record.sync, self._some())
            case "c" | "d":
                made = self._nodes[record.inode] = _File() if record.operation == "c" else _Directory()
                parent = self._parent(record.path)
                parent.change({**parent.now, record.path.name: made})
            case "u":
                parent = self._parent(record.path)
                parent.change({name: node for name, node in parent.now.items() if name != record.path.name})
            case "n":
                self._rename(*(Path(os.fsdecode(path)) for path in record.data.split(b"\0")))

    def cut(self, directory: Path) -> None:
        """Writes what is left after a loss of power at this moment to `directory`, which is made."""
        chance = self._random.choice((_always, _never, self._some(), self._some()))
        self._write(self._top, directory, chance)

    def _write(self, node: _Directory, directory: Path, chance: Chance) -> None:
        directory.mkdir()
        for name, entry in node.kept(chance).items():
            if isinstance(entry, _Directory):
                self._write(entry, directory / name, chance)
            else:
                (directory / name).write_bytes(entry.kept(chance))

    def _some(self) -> Chance:
        part = self._random.random()
        return lambda: self._random.random() < part

    def _file(self, record: Record) -> _File:
        file = self._nodes[record.inode]
        assert isinstance(file, _File)
        return file

    def _parent(self, path: Path) -> _Directory:
        node: _File | _Directory = self._top
        for name in path.relative_to(self._root).parts[:-1]:
            assert isinstance(node, _Directory)
            node = node.now[name]
        assert isinstance(node, _Directory)
        return node

    def _rename(self, old: Path, new: Path) -> None:
        parent = self._parent(old)
        assert parent is self._parent(new), "a move between directories is not told apart from its two halves"
        moved = parent.now[old.name]
        rest = {name: node for name, node in parent.now.items() if name != old.name}
        parent.change({**rest, new.name: moved})


def _always() -> bool:
    return True


def _never() -> bool:
    return False


def _apply(content: bytearray, change: _Write | _Resize, chance: Chance) -> None:
    """Sector by sector; what is left out of a file that has grown is zero."""
    if isinstance(change, _Resize):
        if chance():
            content[change.size :] = bytes(max(0, change.size - len(content)))
        return
    at, end = change.offset, change.offset + len(change.data)
    while at < end:
        stop = min(end, at - at % SECTOR + SECTOR)
        if chance():
            content.extend(bytes(max(0, stop - len(content))))
            content[at:stop] = change.data[at - change.offset : stop - change.offset]
        at = stop
