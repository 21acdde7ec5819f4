"""An older version stops before the append that has an event which it does not know."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from openbank.eventstore.errors import NewerVersionNeeded
from openbank.eventstore.known import known, needed_by
from openbank.eventstore.port import Metadata, RecordedEvent
from openbank.following.entry import Entry

GIFT = "openbank.accounts.v9.Gift"
DEPOSITED = "openbank.accounts.v1.MoneyDeposited"


def entry(stream: str, revision: int, type_name: str = DEPOSITED, part: int = 0, parts: int = 1) -> Entry:
    event = RecordedEvent(revision, stream, revision, b"", type_name, b"", Metadata(1, part=part, parts=parts))
    return Entry(event, newer=NewerVersionNeeded(stream, revision, type_name) if type_name == GIFT else None)


A, B = "account-a", "account-b"
APPEND = [entry(A, 2, part=0, parts=3), entry(A, 3, GIFT, part=1, parts=3), entry(A, 4, part=2, parts=3)]


@pytest.mark.parametrize(
    ("entries", "count"),
    [
        ([], 0),
        ([entry(A, 1), entry(B, 1)], 2),
        ([entry(A, 1), entry(B, 1), entry(A, 2, GIFT), entry(B, 2)], 2),
        ([entry(A, 1), entry(B, 1), *APPEND, entry(B, 2)], 2),
        # A filter has left out the first event of the append.
        ([entry(A, 1), entry(B, 1), *APPEND[1:]], 2),
        (APPEND, 0),
    ],
)
def test_events_before_the_unknown_one_are_known(entries: Sequence[Entry], count: int) -> None:
    assert known(entries) == entries[:count]


def test_the_first_unknown_event_says_which_version_is_needed() -> None:
    needed = needed_by([entry(A, 1), *APPEND, entry(B, 1, GIFT)])
    assert (needed.stream, needed.revision, needed.unknown) == (A, 3, GIFT)
