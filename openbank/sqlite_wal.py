"""SQLite files in WAL mode: what must hold at the start, and how the WAL stays small.

SQLite's pragmas report failure in their result, or not at all, so each is read back.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

OPEN_SECONDS_MAX = 5.0
"""How long a start waits for a lock of another process."""
SYNCHRONOUS_NORMAL, SYNCHRONOUS_FULL = 1, 2
CACHE_KIB = 4 * 1024
"""The pages that a connection keeps: enough for the inner ones of all trees. The system keeps the others: with more
here, a deposit on 1,000,000 events takes no less processor time."""
BYTES_MAX = 64 << 20
"""The size after which a WAL is truncated, and a warning says what prevents it."""
SHRINK_SECONDS = 1.0
"""The time between two tries."""

# https://sqlite.org/walformat.html: the WAL, and the index of it in shared memory, of the machine's byte order.
_WAL_HEADER = 32
_FRAME_HEADER = struct.Struct(">II8s8s")
_FRAMES_AT_ONCE = 256
_INDEX = struct.Struct("=14xHI76xI")
"""Page size, last frame that is committed, and frames that are in the database."""
_CHECKPOINT_LOCK = 121
_READ_LOCKS, _OPEN_LOCK = (123, 5), (128, 1)
"""First byte and length: of those who read, and of all that have the database open."""
_FLOCK = struct.Struct("hhqqi4x")

_log = logging.getLogger(__name__)


class Checkpointed(NamedTuple):
    busy: int
    """Whether another connection kept the WAL from being truncated."""
    frames: int
    written: int
    """Frames that are in the database too; fewer than `frames` if a reader needs what they would overwrite."""

    @property
    def is_whole(self) -> bool:
        return not self.busy and self.frames == self.written


class WalFiles:
    """Descriptors of a database, its WAL and its shared memory.

    To be closed after the last connection: closing any descriptor of a file takes SQLite's locks on it from the whole
    process. Raises OSError.
    """

    def __init__(self, path: Path, database: int | None = None) -> None:
        """`database` is a descriptor of it, where there is one already."""
        self.path = path
        self.database = os.open(path, os.O_RDWR) if database is None else database
        self.wal = self._shared = -1

    def open_wal(self) -> None:
        """Once a connection has made it."""
        self.wal = os.open(f"{self.path}-wal", os.O_RDWR)
        self._shared = os.open(f"{self.path}-shm", os.O_RDWR)

    def close(self) -> None:
        for descriptor in (self.wal, self._shared, self.database):
            if descriptor >= 0:
                os.close(descriptor)
        self.database = self.wal = self._shared = -1

    def size(self) -> int:
        return os.fstat(self.wal).st_size

    def index(self) -> tuple[int, int, int]:
        """Page size, frames in the WAL, and how many of them count as written to the database."""
        page_size, frames, written = _INDEX.unpack(os.pread(self._shared, _INDEX.size, 0))
        return 65_536 if page_size == 1 else page_size, frames, written

    def write_again(self) -> None:
        """Writes and syncs what the WAL holds, and the pages that were copied from it, as they are.

        The caller has the write lock. To sync would prove nothing: the kernel takes a page whose sync has failed for
        clean. Raises OSError, and sqlite3.OperationalError where the WAL is not what its index says.
        """
        with self._no_checkpoint():
            page_size, frames, written = self.index()
            pages = self._write_wal_again(page_size, frames)[:written]
            os.fsync(self.wal)
            # A checkpoint that a reader cuts short leaves out each page with a later frame: it may not be there yet.
            end = os.fstat(self.database).st_size // page_size
            for page in sorted(page for page in set(pages) if page <= end):
                _write_again(self.database, page_size, (page - 1) * page_size)
            os.fsync(self.database)

    def _write_wal_again(self, page_size: int, frames: int) -> Sequence[int]:
        """The page of each frame."""
        salts = _write_again(self.wal, _WAL_HEADER, 0)[16:24]
        size, pages = _FRAME_HEADER.size + page_size, list[int]()
        for first in range(0, frames, _FRAMES_AT_ONCE):
            count = min(_FRAMES_AT_ONCE, frames - first)
            content = _write_again(self.wal, count * size, _WAL_HEADER + first * size)
            for at in range(0, len(content), size):
                page, _, frame_salts, _ = _FRAME_HEADER.unpack_from(content, at)
                if frame_salts != salts:
                    raise sqlite3.OperationalError("the WAL has lost frames that its index names")
                pages.append(page)
        return pages

    @contextmanager
    def _no_checkpoint(self) -> Iterator[None]:
        """Holds SQLite's lock of checkpoints. It belongs to the descriptor, not to the process, so it takes none away
        from connections here."""
        deadline = time.monotonic() + OPEN_SECONDS_MAX
        while not self._lock(fcntl.F_WRLCK):
            if time.monotonic() > deadline:
                raise sqlite3.OperationalError("another process is making a checkpoint")
            time.sleep(0.01)
        try:
            yield
        finally:
            self._lock(fcntl.F_UNLCK)

    def _lock(self, kind: int) -> bool:
        lock = _FLOCK.pack(kind, os.SEEK_SET, _CHECKPOINT_LOCK, 1, 0)
        try:
            fcntl.fcntl(self._shared, fcntl.F_OFD_SETLK, lock)
        except BlockingIOError:
            return False
        return True

    def reader(self) -> str:
        """Which other process reads, or at least has it open."""
        process = self._holder(_READ_LOCKS) or self._holder(_OPEN_LOCK)
        with suppress(OSError):
            return f"process {process} ({Path(f'/proc/{process}/comm').read_text().strip()})"
        return f"process {process}" if process else "a process that is gone"

    def _holder(self, bytes_: tuple[int, int]) -> int:
        """0 where no other process has a lock there."""
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, *bytes_, 0)
        kind, *_, process = _FLOCK.unpack(fcntl.fcntl(self._shared, fcntl.F_GETLK, asked))
        return 0 if kind == fcntl.F_UNLCK else process


class WalBound:
    """Truncates a WAL that has grown because of a reader, once the reader is gone.

    `connection` is used in `thread` only.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        files: WalFiles,
        thread: Executor,
        failed: Callable[[sqlite3.Error], object],
    ) -> None:
        self._connection = connection
        self._files = files
        self._thread = thread
        self._failed = failed
        self._shrinking: asyncio.Task[None] | None = None

    def look(self) -> None:
        """Call now and then, on the event loop."""
        if self._files.size() > BYTES_MAX and (self._shrinking is None or self._shrinking.done()):
            self._shrinking = asyncio.create_task(self._shrink())

    async def close(self) -> None:
        if self._shrinking is not None:
            self._shrinking.cancel()
            with suppress(asyncio.CancelledError):
                await self._shrinking

    async def _shrink(self) -> None:
        told = 0
        while (size := self._files.size()) > BYTES_MAX:
            try:
                done = await asyncio.get_running_loop().run_in_executor(self._thread, self._truncate)
            except sqlite3.Error as error:
                self._failed(error)
                return
            if not done.is_whole and size >= 2 * told:
                told = size
                _log.warning("WAL grows", extra={"values": self._values(held_by=self._files.reader())})
            await asyncio.sleep(SHRINK_SECONDS)
        _log.info("WAL is small again", extra={"values": self._values()})

    def _truncate(self) -> Checkpointed:
        """In two steps, as the second keeps writers out."""
        done = checkpoint(self._connection, "PASSIVE")
        return checkpoint(self._connection, "TRUNCATE") if done.is_whole else done

    def _values(self, **others: str) -> dict[str, object]:
        return {"file": f"{self._files.path}-wal", "bytes": self._files.size(), **others}


def use_wal(connection: sqlite3.Connection) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise sqlite3.OperationalError(f"its journal mode is {mode}, and cannot be made wal")


def set_pragma(connection: sqlite3.Connection, name: str, value: int) -> None:
    """Raises sqlite3.OperationalError where it has no effect."""
    connection.execute(f"PRAGMA {name} = {value}").fetchall()
    actual = connection.execute(f"PRAGMA {name}").fetchone()[0]
    if actual != value:
        raise sqlite3.OperationalError(f"its {name} is {actual}, and cannot be made {value}")


def checkpoint(connection: sqlite3.Connection, mode: str) -> Checkpointed:
    return Checkpointed(*connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone())


def make_durable(connection: sqlite3.Connection, files: WalFiles) -> None:
    """Makes durable all that the database holds, whatever became of the syncs of the process before.

    A checkpoint of all of the WAL writes it again, into the database, and syncs that. It is not made while another
    process reads, and it leaves out what the process before has copied if another one has kept the index of the WAL in
    shared memory since: then the files are written again as they are. Raises sqlite3.Error or OSError.
    """
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    files.open_wal()
    *_, written = files.index()
    if written or not emptied(connection):
        values = {"file": str(files.path), "held_by": files.reader()}
        _log.warning("another process reads, so the WAL is written again", extra={"values": values})
        connection.execute("BEGIN IMMEDIATE")
        try:
            files.write_again()
        finally:
            connection.execute("ROLLBACK")
    # What was cut off could come back with the power, and its beginning be taken for later than the database.
    os.fsync(files.wal)


def emptied(connection: sqlite3.Connection) -> bool:
    """Whether a checkpoint has all of the WAL; a reader is not waited for."""
    set_pragma(connection, "busy_timeout", 0)
    try:
        return checkpoint(connection, "TRUNCATE").is_whole
    finally:
        set_pragma(connection, "busy_timeout", round(1_000 * OPEN_SECONDS_MAX))


def is_locked(error: sqlite3.Error) -> bool:
    """Whether another process or connection has a lock that was not waited for."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _write_again(file: int, size: int, offset: int) -> bytes:
    content = os.pread(file, size, offset)
    if len(content) != size or os.pwrite(file, content, offset) != size:
        raise OSError(f"of {size} bytes at {offset} only a part can be read and written")
    return content


def is_failed_sync(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0)
    return code in (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)
