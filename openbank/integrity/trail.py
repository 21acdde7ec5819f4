"""An event is believed only if it follows from the one before it in its stream.

This rule is in one place. It is applied to an event before it is appended, and by every reader of events (the fold of a
command, the projector, feeds, sinks, `verify`) before it believes one. Other programs can write to EventStoreDB's
streams, and operators can truncate them. A reader that believes exactly what an event of its own process was decided on
does not apply it a second time.
"""

from __future__ import annotations

from typing import NamedTuple

from openbank.codec.events import (
    DomainEvent,
    MadeHere,
    UndecodableEvent,
    UnknownEventType,
    decode,
    encode,
    is_ours,
)
from openbank.domain import account_checks, person
from openbank.domain.account_events import AccountClosed, AccountEvent, AccountOpened, Funds, TransferRefused
from openbank.domain.errors import DoesNotFollow
from openbank.domain.internal import AccountNumberReserved, RequestClaimed
from openbank.domain.money import MAX_MINOR
from openbank.domain.person import PersonEvent
from openbank.eventstore.errors import NewerVersionNeeded
from openbank.eventstore.port import NO_STREAM, RECORD_TIME_MAX, Metadata, RecordedEvent
from openbank.eventstore.streams import ACCOUNT, NUMBER, PERSON, REQUEST, number_streams, split

UNKNOWN_TYPE = "its type is unknown to this version"
"""The reason to set aside an event of a newer version that the followers of the log have already passed."""


class Trail(NamedTuple):
    """The end of a stream, which its next event must follow.

    `revision` counts every event there, `begun` whether one of the bank's is among them. `owner_id` and `funds` are
    the account's, in an account's stream, and `closed` whether it is known to be closed.
    """

    revision: int = NO_STREAM
    begun: bool = False
    owner_id: str = ""
    funds: Funds | None = None
    closed: bool = False


START = Trail()
"""The end of a stream that has no event."""


class Followed(MadeHere):
    """A payload of an event that this process checked before it appended it to `stream`.

    After the trail `before`, the event leads to the trail `after`. A follower that has come to exactly `before` would
    only repeat the check.
    """

    stream: str
    before: Trail
    after: Trail


def followed(trail: Trail, stream: str, event: DomainEvent, metadata: Metadata) -> tuple[str, Followed]:
    """The stored type and the payload of an event to append. Raises DoesNotFollow for one that nobody would believe."""
    after = step(trail, stream, event, metadata)
    name, data = encode(event)
    payload = Followed(data)
    payload.event, payload.stream, payload.before, payload.after = event, stream, trail, after
    return name, payload


def follow(trail: Trail, event: RecordedEvent) -> tuple[Trail, DomainEvent | None]:
    """The trail after `event`, and what happened: None for an event of another program, which has a revision and no
    meaning. Raises DoesNotFollow; NewerVersionNeeded for an unknown type of the bank's.
    """
    if event.revision != trail.revision + 1:
        raise DoesNotFollow(f"revision {event.revision} comes where {trail.revision + 1} was expected")
    if not is_ours(event.type):
        return trail._replace(revision=event.revision), None
    happened = _decode(event, split(event.stream)[1])
    return step(trail, event.stream, happened, event.metadata), happened


def step(trail: Trail, stream: str, happened: DomainEvent, metadata: Metadata) -> Trail:
    """The trail after an event of the bank's, the next one in `stream`. Raises DoesNotFollow."""
    if not 0 < metadata.record_time <= RECORD_TIME_MAX:
        raise DoesNotFollow("it has no record time, or one that the bank cannot have written")
    if not metadata.has_place:
        raise DoesNotFollow("it is no part of any command's events")
    category, _ = split(stream)
    if category == ACCOUNT and isinstance(happened, AccountEvent):
        return _step_of_account(trail, happened, metadata)
    if category == PERSON and isinstance(happened, PersonEvent):
        person.check_follows(trail.begun, happened)
    elif category == REQUEST and isinstance(happened, RequestClaimed):
        _check_claim(happened)
    elif category == NUMBER and isinstance(happened, AccountNumberReserved):
        _check_reservation(stream, happened)
    else:
        raise DoesNotFollow(f"its type does not belong in the stream of {_KINDS.get(category, 'anything')}")
    return Trail(trail.revision + 1, True)


def trail_after(event: RecordedEvent) -> Trail | None:
    """The trail after `event`, which is believed: an event states everything that the next one must follow.

    None for an event of another program, which states nothing. Raises NewerVersionNeeded.
    """
    if not is_ours(event.type):
        return None
    happened = _decode(event, split(event.stream)[1])
    if isinstance(happened, AccountEvent):
        closed = isinstance(happened, AccountClosed)
        funds = Funds(happened.balance_after, happened.available_after)
        return Trail(event.revision, True, event.metadata.owner_id, funds, closed)
    return Trail(event.revision, True)


def leads_to(event: RecordedEvent, trail: Trail) -> bool:
    """Whether the trail after `event`, which is believed, is this one. Raises DoesNotFollow, NewerVersionNeeded.

    Only the closing itself says that an account is closed, and a snapshot's trail does not, so that is not compared.
    """
    after = trail_after(event)
    return after is not None and after._replace(closed=trail.closed) == trail


def _step_of_account(trail: Trail, happened: AccountEvent, metadata: Metadata) -> Trail:
    funds = account_checks.check_follows(trail.funds, happened)
    if trail.closed and not isinstance(happened, TransferRefused):
        raise DoesNotFollow("the account is closed")
    owner_id = happened.owner_id if isinstance(happened, AccountOpened) else trail.owner_id
    if metadata.owner_id != owner_id:
        raise DoesNotFollow("it is stored under another owner than the account's")
    closed = trail.closed or isinstance(happened, AccountClosed)
    return Trail(trail.revision + 1, True, owner_id, funds, closed)


def _check_claim(claimed: RequestClaimed) -> None:
    if not (claimed.rpc and claimed.aggregate_id):
        raise DoesNotFollow("it claims a request for nothing")


def _check_reservation(stream: str, reserved: AccountNumberReserved) -> None:
    """Any call that finds a reservation opens its account, so the reservation must be one that a caller could
    request."""
    opening = reserved.command
    if stream not in number_streams(opening.account_number):
        raise DoesNotFollow("it reserves another number than its stream's")
    if not (opening.account_id and opening.owner_id and opening.initial_deposit.currency.code):
        raise DoesNotFollow("it reserves a number without an account, an owner or a currency")
    if not 0 <= opening.initial_deposit.minor <= MAX_MINOR:
        raise DoesNotFollow("its initial deposit is one that no account can have")


def _decode(event: RecordedEvent, id: str) -> DomainEvent:
    """`id` is the one in the stream's name."""
    try:
        return decode(event.type, event.data, id)
    except UnknownEventType:
        raise NewerVersionNeeded(event.stream, event.revision, event.type) from None
    except (UndecodableEvent, ValueError):
        # Without the error's own text, which may hold personal data.
        raise DoesNotFollow("its payload is not one of its type") from None


_KINDS = {ACCOUNT: "an account", PERSON: "a person", REQUEST: "a request", NUMBER: "a number"}
