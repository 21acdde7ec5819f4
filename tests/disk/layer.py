"""The layer of C between a bank and its disk: compiled here, put under a process, and told when to fail."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.disk.journal import HEAD, TOLD

SOURCE = Path(__file__).with_name("layer.c")
CONTROL_BYTES = 128
EVERY = -1


class CompilerMissing(Exception):
    def __init__(self) -> None:
        super().__init__("there is no C compiler (cc), so the layer between a bank and its disk cannot be built")


def build(directory: Path) -> Path:
    """Compiles the layer into `directory`. Raises CompilerMissing."""
    compiler = shutil.which("cc")
    if not compiler:
        raise CompilerMissing
    library = directory / "layer.so"
    options = ["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    subprocess.run([compiler, *options, "-o", str(library), str(SOURCE), "-ldl", "-lpthread"], check=True)
    return library


class Layer:
    """Under every process that is started with `environment`: what it does below `root` is noted in `journal`."""

    def __init__(self, library: Path, directory: Path, sync_seconds: float = 0.002) -> None:
        """`root` and the layer's own files are made in `directory`. Every sync takes so long."""
        directory.mkdir(parents=True, exist_ok=True)
        self.root = directory.resolve() / "disk"
        self.root.mkdir()
        self.journal = directory.resolve() / "journal"
        control = directory.resolve() / "faults"
        self._appending = os.open(self.journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        self._control = os.open(control, os.O_WRONLY | os.O_CREAT)
        self._faults = 0
        self.environment = {
            "LD_PRELOAD": str(library),
            "DISK_ROOT": str(self.root),
            "DISK_JOURNAL": str(self.journal),
            "DISK_FAULT": str(control),
            "DISK_SYNC_MICROSECONDS": str(round(sync_seconds * 1_000_000)),
        }

    def close(self) -> None:
        os.close(self._appending)
        os.close(self._control)

    def told(self, what: object) -> None:
        """Notes an answer in the journal: everything behind it was done before this moment."""
        self._write(TOLD, 0, json.dumps(what).encode())

    def put(self, directory: Path) -> int:
        """Copies a directory's content to the empty root, and notes it as being on the disk; in how many records."""
        shutil.copytree(directory, self.root, dirs_exist_ok=True)
        paths = sorted(self.root.rglob("*"))
        records = [("d" if path.is_dir() else "c", path, os.fsencode(path)) for path in paths]
        records += [("w", path, path.read_bytes()) for path in paths if path.is_file()]
        records += [(operation, path, b"") for path in (self.root, *paths) for operation in "be"]
        for operation, path, data in records:
            self._write(operation, path.stat().st_ino, data)
        return len(records)

    @contextmanager
    def failing(self, operations: str, error: int, file: str, *, after: int = 0, times: int = EVERY) -> Iterator[None]:
        """`operations` on files whose names end with `file` fail with `error`: so many `times`, `after` so many passed.

        Operations are w (write), s (sync), r (read) and c (create); with h, the first write is only cut short.
        """
        self._faults += 1
        self._tell(f"{self._faults} {operations} {error} {after} {times} {file}")
        try:
            yield
        finally:
            self._tell("")

    def _tell(self, line: str) -> None:
        os.pwrite(self._control, line.encode().ljust(CONTROL_BYTES, b" "), 0)

    def _write(self, operation: str, inode: int, data: bytes = b"") -> None:
        os.write(self._appending, HEAD.pack(ord(operation), 0, inode, 0, len(data)) + data)
