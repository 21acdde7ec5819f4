"""A file that stores how far a feed was printed."""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from openbank.cli.errors import CommandFailed
from openbank.disk import PRIVATE_FILE, create, sync

KEPT_BY = "openbank tail"


class ResumeFile:
    """One token, with its feed and filter: with another filter it would skip events that were never printed.

    A context manager: within the block no other tail can use the file. The lock is the kernel's (flock), on the file
    itself. Each replacement is locked before it replaces the previous file.
    """

    def __init__(self, path: Path, target: str, feed: str, filter: Mapping[str, object]) -> None:
        # A link stays a link: the file that it leads to is replaced.
        self._path = path.resolve()
        self._contents = {"kept_by": KEPT_BY, "target": target, "feed": feed, "filter": filter, "resume_token": ""}
        self._file = -1
        self._is_new = False

    def __enter__(self) -> Self:
        """Raises CommandFailed."""
        try:
            self._is_new = not self._path.exists()
            self._file = _hold(self._path)
        except OSError as error:
            raise CommandFailed(f"cannot keep the place in {self._path}: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_new and not self._contents["resume_token"]:
            self._path.unlink(missing_ok=True)
        os.close(self._file)

    def token(self) -> str | None:
        """The stored token; None for a new or empty file. Raises CommandFailed."""
        try:
            text = self._path.read_text()
        except (OSError, ValueError) as error:
            raise CommandFailed(f"cannot read {self._path}: {error}") from error
        if not text.strip():
            return None
        kept = _parsed(text)
        token = kept.get("resume_token")
        if kept.get("kept_by") != KEPT_BY or not isinstance(token, str) or not token:
            raise CommandFailed(f"{self._path} is not, or no longer, a resume file: name another, or remove it")
        if (kept.get("feed"), kept.get("filter")) != (self._contents["feed"], self._contents["filter"]):
            kept_of = json.dumps({"feed": kept.get("feed"), "filter": kept.get("filter")})
            raise CommandFailed(f"{self._path} is of another feed or filter, {kept_of}: name another file")
        self._contents["resume_token"] = token
        return token

    def keep(self, token: str) -> None:
        """Stores the token atomically: the file has either the old one or this one. Raises CommandFailed."""
        if token == self._contents["resume_token"]:
            return
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            self._replace(json.dumps({**self._contents, "resume_token": token}, indent=2) + "\n", beside)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise CommandFailed(f"cannot keep the place in {self._path}: {error.strerror}") from error
        self._contents["resume_token"] = token

    def _replace(self, text: str, beside: Path) -> None:
        with ExitStack() as failing:
            new = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            failing.callback(os.close, new)
            fcntl.flock(new, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.fchmod(new, stat.S_IMODE(os.fstat(self._file).st_mode))
            os.write(new, text.encode())
            os.fsync(new)
            beside.replace(self._path)
            failing.pop_all()
        os.close(self._file)
        self._file = new
        sync(self._path.parent)


def _hold(path: Path) -> int:
    """A descriptor with the lock on the file that has this name. Raises OSError, CommandFailed."""
    while True:
        create(path)
        file = os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        with ExitStack() as failing:
            failing.callback(os.close, file)
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise CommandFailed(f"cannot keep the place in {path}: it is not a regular file")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CommandFailed(f"another tail is keeping its place in {path}: name another file") from None
            # The owner of the lock may have replaced or removed the file between the two calls.
            if _is_at(file, path):
                failing.pop_all()
                return file


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _parsed(text: str) -> Mapping[str, object]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return parsed if isinstance(parsed, dict) else {}
