"""The fold: computes an aggregate after its next event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from openbank.codec import events as codec
from openbank.domain.account_events import Funds
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import NO_STREAM, SNAPSHOT_EVENTS, RecordedEvent
from openbank.integrity.trail import Trail, follow

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
    revision: int


BEFORE_FIRST: Tip[Any] = Tip(None, NO_STREAM)


def fold(kind: Kind[State], tip: Tip[State], event: RecordedEvent) -> Tip[State]:
    """The aggregate after a recorded event: the one place where what is stored becomes state.

    Raises DoesNotFollow.
    """
    _, happened = follow(trail_at(kind, tip), event)
    if happened is None:
        return Tip(tip.resource, event.revision)
    return advance(kind, tip, happened, event.metadata.record_time)


def advance(kind: Kind[State], tip: Tip[State], event: codec.DomainEvent, time: int) -> Tip[State]:
    """The aggregate after an event of its own, recorded at `time`."""
    resource, revision = tip
    state, create_time = (resource.state, resource.create_time) if resource else (None, time)
    return Tip(Versioned(kind.apply(state, event, revision + 1), revision + 1, create_time, time), revision + 1)


def trail_at(kind: Kind[State], tip: Tip[State]) -> Trail:
    """The trail that the next event must follow."""
    if tip.resource is None:
        return Trail(tip.revision)
    state = tip.resource.state
    return Trail(tip.revision, True, kind.owner(state), kind.funds(state))
