"""Files that can be replaced while the bank serves: certificates and keys.

A change is taken once the files are the same in two looks, so that one that is being written counts neither as good nor
as bad. A change that cannot be used is an error in the log, and what was made of the former files stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

LOOK_SECONDS = 10.0
SETTLE_SECONDS = 0.5
"""Between two looks at files that have changed."""
FILE_BYTES_MAX = 1 << 20

Made = TypeVar("Made")
FileContents = Mapping[str, bytes]
"""What is in the files, by the settings that name them."""

_log = logging.getLogger(__name__)


class BadFile(Exception):
    """A file that a setting names cannot be used; the message names both, and says why."""


class Reloaded(Generic[Made]):
    """What is made of files, and made again when they change."""

    def __init__(self, files: Mapping[str, Path], make: Callable[[FileContents], Made]) -> None:
        """`files` are by the names of their settings. `make` raises BadFile; so does this."""
        self._files = files
        self._make = make
        self._seen: FileContents | BadFile = self._read()
        if isinstance(self._seen, BadFile):
            raise self._seen
        self.current = make(self._seen)
        self.failures = 0
        """How many changes could not be used."""
        self._failure = ""
        """Why the files as they were last seen are not used."""

    async def look(self) -> None:
        """Takes a change of the files."""
        found = await asyncio.to_thread(self._read)
        if not _same(found, self._seen):
            await asyncio.sleep(SETTLE_SECONDS)
            # What is still being written is left to the next look.
            if not _same(found, await asyncio.to_thread(self._read)):
                return
            self._seen, self._failure = found, ""
        elif not self._failure:
            return
        self._take(found)

    def _take(self, found: FileContents | BadFile) -> None:
        """Uses the files, or says once why not: what cannot be used now may be later, as a certificate of tomorrow."""
        try:
            if isinstance(found, BadFile):
                raise found
            self.current = self._make(found)
        except BadFile as error:
            if str(error) == self._failure:
                return
            self._failure = str(error)
            self.failures += 1
            _log.error("a changed file is not used, the former one is", extra={"values": {"reason": error}})
        else:
            self._failure = ""
            _log.info("changed files are used", extra={"values": {"files": " ".join(map(str, self._files.values()))}})

    def _read(self) -> FileContents | BadFile:
        contents = {}
        for setting, path in self._files.items():
            try:
                with path.open("rb") as file:
                    contents[setting] = file.read(FILE_BYTES_MAX)
            except OSError as error:
                return BadFile(f"{setting} {path} cannot be read: {error.strerror}")
        return contents


class Reloader:
    """Looks at the files of all that is reloaded, every LOOK_SECONDS and when SIGHUP comes."""

    def __init__(self, *sources: Reloaded[Any]) -> None:
        self._sources = sources
        self._told = asyncio.Event()

    def look_now(self) -> None:
        self._told.set()

    async def run(self) -> None:
        """Runs until it is cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._told.wait()
            self._told.clear()
            for source in self._sources:
                await source.look()


def _same(one: FileContents | BadFile, other: FileContents | BadFile) -> bool:
    return str(one) == str(other) if isinstance(one, BadFile) and isinstance(other, BadFile) else one == other
