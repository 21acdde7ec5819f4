"""What events change in the views, as values: an adapter writes these, and needs to know no event.

A change states the result and the revision that it belongs to, so applying it twice is the same as applying it once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar, assert_never

from openbank.domain.account import Account
from openbank.domain.controls import AccountState, SpendingLimits
from openbank.domain.hold_record import HoldChange, HoldRecord
from openbank.domain.money import Money
from openbank.domain.person import Address, Person
from openbank.domain.tags import NO_TAGS, Tags
from openbank.domain.transfers import TransferState
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import LogPosition, RecordedEvent


class PersonInserted(NamedTuple):
    """A person, listed at `position`, the log position of the first event. Has no effect if the person is there."""

    position: int
    person: Versioned[Person]


class PersonUpdated(NamedTuple):
    """All that an event sets on a person; None leaves a value as it is.

    Has no effect on a person that is at `revision` or later.
    """

    person_id: str
    revision: int
    update_time: int
    address: Address | None = None


class AccountInserted(NamedTuple):
    """An account, listed at `position`, the log position of its opening. Has no effect if the account is there."""

    position: int
    account: Versioned[Account]


class AccountUpdated(NamedTuple):
    """All that an event sets on an account; None leaves a value as it is.

    Has no effect on an account that is at `revision` or later.
    """

    account_id: str
    revision: int
    update_time: int
    balance: Money | None = None
    available: Money | None = None
    """What may be spent."""
    state: AccountState | None = None
    freeze_reason: str | None = None
    """Empty for an account that is not frozen."""
    close_time: int | None = None
    """In microseconds since 1970 UTC."""
    overdraft_limit: Money | None = None
    spending: SpendingLimits | None = None
    """NO_LIMITS where there is no limit any more."""

    @property
    def sets_funds_only(self) -> bool:
        """Whether it sets both balances and nothing else, as most do."""
        return self.balance is not None and self.available is not None and self[5:] == _NOTHING_ELSE


_NOTHING_ELSE = (None,) * len(AccountUpdated._fields[5:])


class HoldInserted(NamedTuple):
    """A hold, listed at `position`, the log position of the event that placed it. Its revision is the account's, as
    for all of its changes. Has no effect if the hold is there."""

    position: int
    hold: Versioned[HoldRecord]


class HoldUpdated(NamedTuple):
    """All that an event of a hold leaves of it. Has no effect on a hold that is at `revision` or later."""

    change: HoldChange
    revision: int
    update_time: int


class AccountEventRecorded(NamedTuple):
    """An event of an account, for its lists of events and movements. Has no effect if the event is there."""

    account_id: str
    event: RecordedEvent
    moved: int = 0
    """By how much it changes the posted balance, in minor units; 0 for an event that is no movement."""
    tags: Tags = NO_TAGS
    """What else finds it in the list of movements."""


class MinuteReached(NamedTuple):
    """Up to `place` every event was recorded before this minute (counted from 1970), and the next one was not.

    Has no effect if the minute is there. Clocks may run backwards: a minute is reached by the first event that was
    recorded in it or later.
    """

    minute: int
    place: LogPosition


class TransferFacts(NamedTuple):
    """What is known of a transfer once it was sent. `position` is the log position of that event."""

    position: int
    revision: int
    source_account_id: str
    destination_account_id: str
    amount: Money
    description: str
    hold_id: str
    tags: Tags
    reverses: str
    """The id of the transfer that this one takes back; empty for any other."""
    time: int
    """In microseconds since 1970 UTC."""


class MovementReversed(NamedTuple):
    """An account's movement was reversed by its event at the revision `reversed_by`. Has no effect if that is there."""

    position: int
    account_id: str
    revision: int
    reversed_by: int


class TransferUpdated(NamedTuple):
    """What one event of a transfer states. Its events are in two streams, so they may come in any order: the transfer
    is in the greatest state that an event stated, and each of the other values is stated by one event only.
    """

    transfer_id: str
    state: TransferState | None
    """None if another event states it, as for a transfer that is reversed."""
    update_time: int
    """The time of the event; the transfer has that of the latest."""
    sent: TransferFacts | None = None
    received_revision: int = 0
    """The revision of the destination, received or refused; 0 if another event states it."""
    refusal: str = ""
    reversed_by: str = ""
    """The id of the transfer that takes this one back."""

    def merged(self, other: TransferUpdated) -> TransferUpdated:
        """What two events of one transfer state together."""
        return TransferUpdated(
            self.transfer_id,
            max(self.state, other.state, key=lambda state: state or 0),
            max(self.update_time, other.update_time),
            self.sent or other.sent,
            max(self.received_revision, other.received_revision),
            max(self.refusal, other.refusal),
            max(self.reversed_by, other.reversed_by),
        )


Change = (
    PersonInserted
    | PersonUpdated
    | AccountInserted
    | AccountUpdated
    | HoldInserted
    | HoldUpdated
    | AccountEventRecorded
    | TransferUpdated
    | MovementReversed
    | MinuteReached
)

_Update = TypeVar("_Update", PersonUpdated, AccountUpdated)
_REVISION = attrgetter("revision")


class Grouped:
    """The changes of a batch by kind, for adapters that write one kind at a time.

    Updates are in rounds, to be written one after the other. A round has one update a person or account. Of a hold
    there is its last update alone: each says all there is.
    """

    __slots__ = (
        "account_updates",
        "accounts",
        "events",
        "hold_updates",
        "holds",
        "minutes",
        "person_updates",
        "persons",
        "reversals",
        "transfers",
    )

    def __init__(self, changes: Iterable[Change]) -> None:
        self.persons: list[PersonInserted] = []
        self.accounts: list[AccountInserted] = []
        self.events: list[AccountEventRecorded] = []
        transfers: dict[str, TransferUpdated] = {}
        self.holds: list[HoldInserted] = []
        self.minutes: list[MinuteReached] = []
        self.reversals: list[MovementReversed] = []
        person_updates: list[PersonUpdated] = []
        account_updates: list[AccountUpdated] = []
        hold_updates: dict[str, HoldUpdated] = {}
        for change in changes:
            match change:
                case AccountUpdated():
                    account_updates.append(change)
                case AccountEventRecorded():
                    self.events.append(change)
                case AccountInserted():
                    self.accounts.append(change)
                case PersonInserted():
                    self.persons.append(change)
                case PersonUpdated():
                    person_updates.append(change)
                case TransferUpdated():
                    earlier = transfers.get(change.transfer_id)
                    transfers[change.transfer_id] = earlier.merged(change) if earlier else change
                case HoldInserted():
                    self.holds.append(change)
                case HoldUpdated():
                    known = hold_updates.get(change.change.hold_id)
                    if known is None or known.revision < change.revision:
                        hold_updates[change.change.hold_id] = change
                case MovementReversed():
                    self.reversals.append(change)
                case MinuteReached():
                    self.minutes.append(change)
                case _:
                    assert_never(change)
        self.transfers = list(transfers.values())
        self.person_updates = _rounds(person_updates)
        self.account_updates = _rounds(account_updates)
        self.hold_updates = list(hold_updates.values())


def _rounds(updates: Sequence[_Update]) -> Sequence[Sequence[_Update]]:
    """Merges the updates of consecutive revisions, the values of later ones first.

    Others stay apart: the log may have an update between them that sets the same values and is not made again.
    """
    if len(updates) <= 1:
        return [updates] if updates else ()
    runs: dict[str, list[_Update]] = {}
    for update in sorted(updates, key=_REVISION):
        run = runs.setdefault(update[0], [])
        if not run or update.revision > run[-1].revision + 1:
            run.append(update)
        elif update.revision > run[-1].revision:
            run[-1] = _over(run[-1], update)
    longest = max(map(len, runs.values()))
    return [[run[number] for run in runs.values() if len(run) > number] for number in range(longest)]


def _sets_funds_only(update: PersonUpdated | AccountUpdated) -> bool:
    return isinstance(update, AccountUpdated) and update.sets_funds_only


def _over(earlier: _Update, later: _Update) -> _Update:
    if _sets_funds_only(earlier) and _sets_funds_only(later):
        # As nearly always: of many movements of an account the last one says all.
        return later
    values: Iterator[Any] = (old if new is None else new for old, new in zip(earlier, later, strict=True))
    return type(later)(*values)
