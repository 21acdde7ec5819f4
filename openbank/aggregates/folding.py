"""The fold: computes an aggregate after its next event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from openbank.codec import events as codec
from openbank.domain.account_events import Funds
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import SNAPSHOT_EVENTS, RecordedEvent
from openbank.integrity.trail import START, Trail, follow

State = TypeVar("State")


class SnapshotCodec(NamedTuple, Generic[State]):
    """Aggregates of one kind to bytes and back. Decoding takes the aggregate's id too, and returns None for bytes that
    another version wrote."""

    encode: Callable[[Versioned[State]], bytes]
    decode: Callable[[bytes, str], Versioned[State] | None]
    interval: Callable[[State], int] = lambda _: SNAPSHOT_EVENTS
    """Events from one snapshot to the next: SNAPSHOT_EVENTS, and more for a state whose snapshot is large."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[State]):
    """A kind of aggregate: the stream of an id, the fold, the owner and the funds of one (for accounts), and its
    snapshots.

    Kinds whose streams can grow long have snapshots.
    """

    stream: Callable[[str], str]
    apply: Callable[[State | None, Any, int], State]
    """From the state (None before the first event), an event and its revision. Raises DoesNotFollow."""
    owner: Callable[[State], str] = lambda _: ""
    funds: Callable[[State], Funds | None] = lambda _: None
    snapshots: SnapshotCodec[State] | None = None


class Tip(NamedTuple, Generic[State]):
    """The end of a stream, and the aggregate there; None before its first event.

    `revision` is ahead of the resource's where another program has written into the stream: the bank ignores such
    events, but they have revisions.
    """

    resource: Versioned[State] | None
    trail: Trail
    """What the next event must follow."""

    @property
    def revision(self) -> int:
        return self.trail.revision

    def skipping(self, revision: int) -> Tip[State]:
        """After an event with this revision that means nothing to the aggregate."""
        return Tip(self.resource, self.trail._replace(revision=revision))


BEFORE_FIRST: Tip[Any] = Tip(None, START)


def tip_at(kind: Kind[State], resource: Versioned[State] | None, revision: int) -> Tip[State]:
    """The end of a stream where the aggregate is `resource`."""
    if resource is None:
        return Tip(None, Trail(revision))
    return Tip(resource, Trail(revision, True, kind.owner(resource.state), kind.funds(resource.state)))


def fold(kind: Kind[State], tip: Tip[State], event: RecordedEvent) -> Tip[State]:
    """The aggregate after a recorded event: the one place where what is stored becomes state.

    Raises DoesNotFollow.
    """
    trail, happened = follow(tip.trail, event)
    if happened is None:
        return Tip(tip.resource, trail)
    return Tip(advance(kind, tip, happened, event.metadata.record_time), trail)


def advance(kind: Kind[State], tip: Tip[State], event: codec.DomainEvent, time: int) -> Versioned[State]:
    """The aggregate after an event of its own, recorded at `time`. Whether the event follows is checked elsewhere."""
    resource, revision = tip.resource, tip.trail.revision + 1
    state, create_time = (resource.state, resource.create_time) if resource else (None, time)
    return Versioned(kind.apply(state, event, revision), revision, create_time, time)
