"""Events that are copied, grouped into appends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from openbank.eventstore.port import APPEND_BYTES_MAX, RecordedEvent

BATCH_EVENTS_MAX = 250
BATCH_BYTES_MAX = APPEND_BYTES_MAX // 8
"""The most events, and bytes of their payloads, in one append. As JSON with every character escaped they are six times
as long, and metadata comes on top."""


def batches(events: Iterable[RecordedEvent]) -> Iterator[Sequence[RecordedEvent]]:
    """As few appends as possible: consecutive events of one stream, and only whole commands."""
    batch: list[RecordedEvent] = []
    size = 0
    for command in _commands(events):
        length = sum(len(event.data) for event in command)
        full = len(batch) + len(command) > BATCH_EVENTS_MAX or size + length > BATCH_BYTES_MAX
        if batch and (full or command[0][1:3] != (batch[-1].stream, batch[-1].revision + 1)):
            yield batch
            batch, size = [], 0
        batch += command
        size += length
    if batch:
        yield batch


def _commands(events: Iterable[RecordedEvent]) -> Iterator[Sequence[RecordedEvent]]:
    command: list[RecordedEvent] = []
    for event in events:
        command.append(event)
        if ends_command(event):
            yield command
            command = []


def ends_command(event: RecordedEvent) -> bool:
    return event.metadata.part + 1 >= event.metadata.parts
