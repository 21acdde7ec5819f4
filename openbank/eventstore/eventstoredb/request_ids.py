"""Which requests consecutive events of a stream have, in 8 bytes an event."""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence

RUN = 1_024
RUN_MAX = 1 << 17
"""Merging longer runs would hold up the event loop. This takes some 20 ms, once in 65,536 events."""
_REVISION_BITS = 30
_HASH_MASK = (1 << 64 - _REVISION_BITS) - 1


class RequestIds:
    """The request ids of the events after `after`, up to `through`.

    Each id is a number: 34 bits of its hash, then the revision. The numbers are in sorted runs. Runs of equal size are
    merged, so that adding and finding an id takes some microseconds, also in a stream of a million events. There, one
    in some thousands of unknown ids seems to be known, so the reader looks at the event.
    """

    __slots__ = ("_runs", "after", "asked", "through")

    def __init__(self, after: int) -> None:
        self.after = self.through = after
        self.asked = 0
        """How often an index was asked about earlier events since these were last extended."""
        self._runs = [array("Q")]

    def __len__(self) -> int:
        return self.through - self.after

    def add(self, request_ids: Sequence[bytes]) -> None:
        """Adds the ids of the events that follow; empty for an event without a request."""
        self._insert(self.through, request_ids)
        self.through += len(request_ids)

    def add_before(self, request_ids: Sequence[bytes]) -> None:
        """Adds the ids of the events before."""
        self.after -= len(request_ids)
        self.asked = 0
        self._insert(self.after, request_ids)

    def _insert(self, after: int, request_ids: Sequence[bytes]) -> None:
        newest = self._runs[-1]
        for revision, request_id in enumerate(request_ids, after + 1):
            if request_id:
                insort(newest, _key(request_id) | revision)
        if len(newest) < RUN:
            return
        while len(self._runs) > 1 and len(self._runs[-2]) <= min(2 * len(self._runs[-1]), RUN_MAX // 2):
            last = self._runs.pop()
            self._runs[-1] = array("Q", sorted([*self._runs[-1], *last]))
        self._runs.append(array("Q"))

    def find(self, request_id: bytes) -> Iterator[int]:
        """The revisions of all events that have this id, and perhaps of some that have not."""
        key = _key(request_id)
        for run in self._runs:
            for number in range(bisect_left(run, key), len(run)):
                if run[number] >> _REVISION_BITS != key >> _REVISION_BITS:
                    break
                yield run[number] & ((1 << _REVISION_BITS) - 1)


def _key(request_id: bytes) -> int:
    # Python's own hash, which is keyed: callers cannot choose ids that collide.
    return (hash(request_id) & _HASH_MASK) << _REVISION_BITS
