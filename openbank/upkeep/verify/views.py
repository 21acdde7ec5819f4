"""The views, in either database, compared with rebuilt views. Writes nothing to them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Protocol

from openbank.config import Settings, is_embedded
from openbank.eventstore.port import BEGINNING, LogPosition
from openbank.extras import needs
from openbank.views.changes import Change
from openbank.views.port import LogId
from openbank.views.sqlite import FILE, SLICE, MadeViews, SqliteViewsFile

BYTES_MIN = 300
"""An event takes at least this many of EventStoreDB's positions, which are bytes of its log."""

CatchUp = Callable[[], Awaitable[None]]
"""Brings the views that are made as far as those that are there."""


class Compared(Protocol):
    def place(self) -> tuple[LogId | None, LogPosition]:
        """The log that the views belong to, and how far they are."""
        ...

    def rebuild(self, changes: Sequence[Change], through: LogPosition) -> None:
        """Brings the views that are made up to a place."""
        ...

    async def differences(self, catch_up: CatchUp, revision_of: Callable[[str], int]) -> Mapping[str, int] | None:
        """How many rows or documents of each kind differ from the log; None for views whose rebuild has begun
        meanwhile.

        `revision_of` is where a stream ends in the log. Raises ViewsUnavailable.
        """
        ...


async def open_views(stack: AsyncExitStack, settings: Settings) -> Compared | None:
    """None if there are no views yet. Raises ViewsUnavailable, StoreRefused."""
    if not is_embedded(settings.views):
        # Late: its driver takes long to load.
        with needs("mongodb", "an address that begins with mongodb"):
            from openbank.upkeep.verify.mongo import MongoViewsCompared

        made = MadeViews()
        stack.callback(made.close)
        compared = MongoViewsCompared(settings.views, made)
        stack.push_async_callback(compared.close)
        await compared.load()
        return compared if compared.place()[0] else None
    directory = settings.data.resolve()
    if not (directory / FILE).exists():
        return None
    file = SqliteViewsFile(directory)
    stack.callback(file.close)
    return FileViews(file, SLICE if is_embedded(settings.event_store) else SLICE * BYTES_MIN)


class FileViews:
    def __init__(self, file: SqliteViewsFile, step: int) -> None:
        """`step` is how many positions are compared in one transaction."""
        self._file = file
        self._step = step
        self._through = BEGINNING

    def place(self) -> tuple[LogId | None, LogPosition]:
        return self._file.place()

    def rebuild(self, changes: Sequence[Change], through: LogPosition) -> None:
        self._file.rebuild(changes, through)
        self._through = through

    async def differences(self, catch_up: CatchUp, revision_of: Callable[[str], int]) -> Mapping[str, int] | None:
        file = self._file
        with file.held():
            if file.place()[1].position < self._through.position:
                return None
            # What was written since.
            await catch_up()
            different = dict(file.differences())
        place, step = self._through.position, self._step
        # These rows never change, so that they need not be of one moment.
        starts = range(0, place, step)
        different["account_events"] = sum(file.differing_events(at, min(at + step, place)) for at in starts)
        different["movement_terms"] = sum(file.differing_terms(byte, place) for byte in range(256))
        return different
