"""Where a version of the bank must stop if it does not know the type of an event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from openbank.eventstore.errors import NewerVersionNeeded
from openbank.eventstore.port import RecordedEvent

Item = TypeVar("Item", bound="Checkable")


class Checkable(Protocol):
    @property
    def event(self) -> RecordedEvent: ...

    @property
    def newer(self) -> NewerVersionNeeded | None: ...


def known(items: Sequence[Item]) -> Sequence[Item]:
    """The entries before the first append with an event that only a newer version can check. Some may have been left
    out."""
    for index, item in enumerate(items):
        if item.newer:
            append = item.event.revision - item.event.metadata.part
            while index and _is_from(items[index - 1].event, item.event.stream, append):
                index -= 1
            return items[:index]
    return items


def _is_from(event: RecordedEvent, stream: str, revision: int) -> bool:
    return event.stream == stream and event.revision >= revision


def needed_by(items: Sequence[Item]) -> NewerVersionNeeded:
    """The error to raise for the first of those events."""
    return next(item.newer for item in items if item.newer).again()
