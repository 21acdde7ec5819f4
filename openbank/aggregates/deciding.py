"""Decides: from an aggregate and its waiting commands to events and outcomes. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from openbank.aggregates.folding import Kind, Tip, advance
from openbank.aggregates.ids import event_id
from openbank.aggregates.record_times import RecordTimes
from openbank.codec import events as codec
from openbank.domain.errors import RequestIdReused, RevisionMismatch
from openbank.domain.request import Request, RequestKey
from openbank.domain.versioned import Versioned
from openbank.eventstore import streams
from openbank.eventstore.port import APPEND_BYTES_MAX, NO_STREAM, Metadata, NewEvent

BATCH_BYTES_MAX = APPEND_BYTES_MAX // 2
"""A batch ends once it has this many bytes. The events of one command fit into the other half."""
METADATA_BYTES = 1_000
"""Bytes counted for each event beside its payload: the most that its metadata takes in JSON."""

State = TypeVar("State")
Decide = Callable[[State | None], Sequence[codec.DomainEvent]]
"""Decides a command on an aggregate's state (None before its first event). Returns events; raises Refused."""


class Command(NamedTuple, Generic[State]):
    decide: Decide[State]
    request: Request


class Known(NamedTuple):
    """A request whose events are in the stream: its fingerprint, and the revision of its last event."""

    hash: bytes
    revision: int


class Replay(NamedTuple):
    """The outcome of a command whose events are in the stream already, the last of them at `revision`."""

    revision: int


class Rehearsed(NamedTuple, Generic[State]):
    """The outcome of a dry run: the resource after the events that the command would have, and these.

    `seen` is the revision of the resource that it was decided on; NO_STREAM where there was none.
    """

    resource: Versioned[State] | None
    events: Sequence[codec.DomainEvent]
    seen: int


class Decided(NamedTuple, Generic[State]):
    """The result of one command: its events and the resource after them. Without events: the resource as it is, a
    Replay, what was rehearsed, or the exception that the command ends with."""

    outcome: Versioned[State] | Replay | Rehearsed[State] | Exception | None
    events: Sequence[NewEvent] = ()


class Subject(NamedTuple, Generic[State]):
    """The aggregate that commands are about."""

    kind: Kind[State]
    id: str
    stream: str


def decide(
    subject: Subject[State],
    tip: Tip[State],
    commands: Sequence[Command[State]],
    known: Mapping[RequestKey, Known],
    times: RecordTimes,
) -> tuple[Sequence[Decided[State]], Tip[State]]:
    """Decides as many of `commands` as one append can hold, each on the state that the one before leaves.

    `known` has those of their requests that are in the stream. Returns what became of each, and the tip after all
    of their events.
    """
    decided: list[Decided[State]] = []
    made: dict[RequestKey, Known] = {}
    size = 0
    for command in commands:
        request = command.request
        key = request.key
        earlier = (known.get(key) or made.get(key)) if request.id else None
        try:
            one, tip = _decide(subject, tip, command, earlier, times)
        except Exception as error:
            one = Decided(error)
        decided.append(one)
        if one.events and request.id:
            made[key] = Known(request.hash, tip.revision)
        for event in one.events:
            size += len(event.data) + METADATA_BYTES
        if isinstance(one.outcome, Rehearsed):
            size += len(one.outcome.events) * METADATA_BYTES
        if size > BATCH_BYTES_MAX:
            break
    return decided, tip


def _decide(
    subject: Subject[State], tip: Tip[State], command: Command[State], earlier: Known | None, times: RecordTimes
) -> tuple[Decided[State], Tip[State]]:
    """The order of the checks is the contract's: fields, replay, existence, expected_revision, state, rules.

    A replay's fields are not checked: they were valid when it was acknowledged.
    """
    request, now = command.request, tip.resource
    if request.owner is not None and now and not belongs_to(subject, now.state, request.owner):
        return Decided(refusal_as_if_missing(command)), tip
    if earlier and request.repeats(earlier.hash):
        return Decided(Replay(earlier.revision)), tip
    if request.violations:
        request.check(now.state if now else None)
    if earlier:
        raise RequestIdReused
    if request.expected_revision is not None and now and now.revision != request.expected_revision:
        category, _ = streams.split(subject.stream)
        raise RevisionMismatch(category, subject.id, request.expected_revision, now.revision)
    events = command.decide(now.state if now else None)
    if request.validate_only:
        return _rehearse(subject, tip, events, times), tip
    made: list[NewEvent] = []
    for part, event in enumerate(events):
        time = times.after(tip.resource.update_time if tip.resource else 0)
        tip = advance(subject.kind, tip, event, time)
        made.append(_new_event(subject, event, tip.resource, request, time, part, len(events)))
    return Decided(tip.resource, made), tip


def _rehearse(
    subject: Subject[State], tip: Tip[State], events: Sequence[codec.DomainEvent], times: RecordTimes
) -> Decided[State]:
    seen = tip.resource.revision if tip.resource else NO_STREAM
    for event in events:
        time = times.after(tip.resource.update_time if tip.resource else 0)
        tip = advance(subject.kind, tip, event, time)
    return Decided(Rehearsed(tip.resource, events, seen))


def belongs_to(subject: Subject[State], state: State, person_id: str) -> bool:
    """Whether the aggregate is this person's. A person is its own."""
    return (subject.kind.owner(state) or subject.id) == person_id


def refusal_as_if_missing(command: Command[Any]) -> Exception:
    """What a command is refused with on an aggregate that does not exist."""
    try:
        command.request.check(None)
        command.decide(None)
    except Exception as error:
        return error
    # What may begin an aggregate is not restricted to an owner: nobody owns it yet.
    return ValueError("a command that is restricted to an owner needs no aggregate")


def _new_event(
    subject: Subject[State],
    event: codec.DomainEvent,
    after: Versioned[State] | None,
    request: Request,
    time: int,
    part: int,
    parts: int,
) -> NewEvent:
    owner = subject.kind.owner(after.state) if after else ""
    type_name, data = codec.encode(event)
    metadata = Metadata(
        time, request.id, request.hash, request.correlation_id, request.causation_id, owner, part, parts
    )
    return NewEvent(event_id(subject.stream, request, part, time), type_name, data, metadata)


def events_of(decided: Sequence[Decided[Any]]) -> list[NewEvent]:
    return [event for one in decided for event in one.events]
