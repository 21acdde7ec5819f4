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
from openbank.integrity.trail import followed, step

BATCH_BYTES_MAX = APPEND_BYTES_MAX // 2
"""An append takes no more commands once it has this many bytes."""
METADATA_BYTES = 2_000
"""Bytes counted for each event beside its payload: the most that its metadata takes in JSON."""

State = TypeVar("State")
Decide = Callable[[State | None], Sequence[codec.DomainEvent]]
"""Decides a command on an aggregate's state (None before its first event). Returns events; raises Refused."""


class Steps(Generic[State]):
    """Takes what became of a command, event by event."""

    def __init__(self) -> None:
        self.resources: list[Versioned[State] | None] = []
        """The resource after each event."""
        self.recorded: Sequence[NewEvent] = ()
        """The events, once they are appended."""


class Command(NamedTuple, Generic[State]):
    """Dry runs of one `rehearsal`, any object, are decided each on what the one before it would leave. After a command
    that is recorded, they begin again, on what that leaves."""

    decide: Decide[State]
    request: Request
    rehearsal: object = None
    steps: Steps[State] | None = None


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
    rehearsals: dict[object, _Rehearsal[State]] = {}
    size = 0
    for command in commands:
        # Dry runs of one batch are not cut apart. Other commands have None here, which is never a key.
        if size > BATCH_BYTES_MAX and command.rehearsal not in rehearsals:
            break
        request = command.request
        earlier = (known.get(request.key) or made.get(request.key)) if request.id and (known or made) else None
        try:
            if command.rehearsal is None:
                one, after = _decide(subject, tip, command, earlier, times)
            else:
                rehearsal = rehearsals.get(command.rehearsal)
                # On another tip, a command was recorded since: its result counts.
                if rehearsal is None or rehearsal.began is not tip:
                    rehearsal = rehearsals[command.rehearsal] = _Rehearsal(tip)
                one, after = rehearsal.decide(subject, command, earlier, times), tip
        except Exception as error:
            decided.append(Decided(error))
            continue
        if isinstance(one.outcome, Rehearsed):
            size += len(one.outcome.events) * METADATA_BYTES
        elif one.events:
            bytes_ = METADATA_BYTES * len(one.events) + sum([len(event.data) for event in one.events])
            if size and size + bytes_ > APPEND_BYTES_MAX:
                # It is counted too high, so alone it may fit. If it does not, the store says so.
                break
            size += bytes_
            tip = after
            # After a lone command, nobody asks.
            if request.id and len(commands) > 1:
                made[request.key] = Known(request.hash, tip.revision)
        decided.append(one)
    return decided, tip


def _decide(
    subject: Subject[State], tip: Tip[State], command: Command[State], earlier: Known | None, times: RecordTimes
) -> tuple[Decided[State], Tip[State]]:
    """The order of the checks is the contract's: owner, replay, fields, another request's id, expected_revision, and
    what the command itself demands, existence first: a missing aggregate has no revision to compare.

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
    resources = command.steps.resources if command.steps else None
    if resources:
        # Those of an earlier try.
        resources.clear()
    if request.validate_only:
        return _rehearse(subject, tip, events, times, resources)
    made: list[NewEvent] = []
    for part, event in enumerate(events):
        time = times.after(tip.resource.update_time if tip.resource else 0)
        tip, new = _made(subject, tip, event, request, time, part, len(events))
        made.append(new)
        if resources is not None:
            resources.append(tip.resource)
    return Decided(tip.resource, made), tip


class _Rehearsal(Generic[State]):
    """Dry runs that come one after another, and what they would leave."""

    def __init__(self, tip: Tip[State]) -> None:
        self.began = tip
        self._seen = _revision(tip)
        self._tip = tip
        self._events: tuple[codec.DomainEvent, ...] = ()
        self._made: dict[RequestKey, tuple[bytes, Decided[State]]] = {}

    def decide(
        self, subject: Subject[State], command: Command[State], earlier: Known | None, times: RecordTimes
    ) -> Decided[State]:
        """As `_decide`. The outcome has the events of all of them."""
        request = command.request
        if request.id and (made := self._made.get(request.key)):
            hash, again = made
            if not request.repeats(hash):
                raise RequestIdReused
            return again
        one, tip = _decide(subject, self._tip, command, earlier, times)
        if not isinstance(one.outcome, Rehearsed):
            return one
        self._tip, self._events = tip, (*self._events, *one.outcome.events)
        made_now = Decided(Rehearsed(one.outcome.resource, self._events, self._seen))
        self._made[request.key] = request.hash, made_now
        return made_now


def _revision(tip: Tip[Any]) -> int:
    return tip.resource.revision if tip.resource else NO_STREAM


def _rehearse(
    subject: Subject[State],
    tip: Tip[State],
    events: Sequence[codec.DomainEvent],
    times: RecordTimes,
    resources: list[Versioned[State] | None] | None,
) -> tuple[Decided[State], Tip[State]]:
    """What the events of a dry run would leave. Each is checked as if it were the only one of its command: a dry run
    may end more holds than one append may have events."""
    seen = _revision(tip)
    for event in events:
        time = times.after(tip.resource.update_time if tip.resource else 0)
        resource = advance(subject.kind, tip, event, time)
        as_only_event = Metadata(time, owner_id=subject.kind.owner(resource.state))
        tip = Tip(resource, step(tip.trail, subject.stream, event, as_only_event))
        if resources is not None:
            resources.append(resource)
    return Decided(Rehearsed(tip.resource, events, seen)), tip


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


def _made(
    subject: Subject[State],
    tip: Tip[State],
    event: codec.DomainEvent,
    request: Request,
    time: int,
    part: int,
    parts: int,
) -> tuple[Tip[State], NewEvent]:
    """The aggregate after an event, and the event to append. It is checked as all who read it will check it."""
    resource = advance(subject.kind, tip, event, time)
    owner = subject.kind.owner(resource.state)
    metadata = Metadata(
        time, request.id, request.hash, request.correlation_id, request.causation_id, owner, part, parts, request.actor
    )
    type_name, data = followed(tip.trail, subject.stream, event, metadata)
    return Tip(resource, data.after), NewEvent(event_id(subject.stream, request, part, time), type_name, data, metadata)


def events_of(decided: Sequence[Decided[Any]]) -> list[NewEvent]:
    return [event for one in decided for event in one.events]
