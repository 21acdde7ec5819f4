"""The record of what is quarantined, and its form in the event store: JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from openbank.eventstore.errors import StoreDamaged
from openbank.eventstore.port import RECORD_TIME_MAX

RELEASED_MAX = 1_000
"""The most released aggregates in the record; the oldest are dropped."""
NUMBER_MAX = (1 << 63) - 1
"""The largest revision and position."""


class SetAside(NamedTuple):
    """The aggregate's events are not believed from `revision` on, which is at `position` of the log.

    `reason` holds no figures and no personal data. `time` is when it was set aside, in microseconds since 1970 UTC.
    While `retrying`, the projector reads the stream again from `revision`.
    """

    revision: int
    position: int
    reason: str
    time: int
    retrying: bool = False


class Released(NamedTuple):
    """Events that are believed and once were not: from `revision` on, up to `position` of the log."""

    revision: int
    position: int


class QuarantineRecord(NamedTuple):
    """What is set aside, and which events an operator has declared not to be the bank's, by the stream's name.

    `released` is for views that were away, or have lost their last commits, when it happened.
    """

    aside: Mapping[str, SetAside] = MappingProxyType({})
    skipped: Mapping[str, frozenset[int]] = MappingProxyType({})
    released: Mapping[str, Released] = MappingProxyType({})


def encode_record(record: QuarantineRecord) -> bytes:
    """The record as JSON, as the event store keeps it."""
    aside = {stream: aside._asdict() for stream, aside in sorted(record.aside.items())}
    skipped = {stream: sorted(revisions) for stream, revisions in sorted(record.skipped.items())}
    released = {stream: one._asdict() for stream, one in record.released.items()}
    return json.dumps({"aside": aside, "skipped": skipped, "released": released}).encode()


def decode_record(data: bytes) -> QuarantineRecord:
    """The inverse. Raises StoreDamaged."""
    if not data:
        return QuarantineRecord()
    try:
        document = json.loads(data)
        aside = {
            str(stream): SetAside(
                int(held["revision"]),
                int(held["position"]),
                str(held["reason"]),
                int(held["time"]),
                bool(held["retrying"]),
            )
            for stream, held in document["aside"].items()
        }
        skipped = {str(stream): frozenset(map(int, revs)) for stream, revs in document["skipped"].items()}
        released = {
            str(stream): Released(int(one["revision"]), int(one["position"]))
            for stream, one in document.get("released", {}).items()
        }
        if not all(map(_is_possible, aside.values())):
            raise ValueError
    except (ValueError, ArithmeticError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreDamaged(f"the record of what is quarantined cannot be read: {type(error).__name__}") from None
    return QuarantineRecord(aside, skipped, released)


def more_is_believed(before: QuarantineRecord, after: QuarantineRecord) -> bool:
    """Whether some events were set aside before, and are not after."""
    return any(
        stream not in after.aside or after.aside[stream].revision > aside.revision
        for stream, aside in before.aside.items()
    )


def with_released(record: QuarantineRecord, stream: str, position: int) -> QuarantineRecord:
    """Adds the stream to what was released. Does not remove it from what is set aside."""
    if stream not in record.aside:
        return record
    revision = record.aside[stream].revision
    before = record.released.get(stream, Released(revision, position))
    others = [(name, one) for name, one in record.released.items() if name != stream][1 - RELEASED_MAX :]
    now = Released(min(revision, before.revision), max(position, before.position))
    return record._replace(released=dict([*others, (stream, now)]))


def _is_possible(aside: SetAside) -> bool:
    numbers_are = 0 < aside.revision <= NUMBER_MAX and 0 <= aside.position <= NUMBER_MAX
    return numbers_are and 0 <= aside.time <= RECORD_TIME_MAX
