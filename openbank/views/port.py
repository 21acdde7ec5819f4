"""The views as the bank sees them: the guarantees of every adapter.

One conformance suite, `tests/views/conformance.py`, checks each adapter against them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from openbank.domain.account import Account
from openbank.domain.controls import AccountState
from openbank.domain.hold_record import HoldRecord, HoldState
from openbank.domain.money import Money
from openbank.domain.person import Person
from openbank.domain.statement import StatementEntry
from openbank.domain.tags import Label
from openbank.domain.transfers import Transfer, TransferState
from openbank.domain.versioned import Versioned
from openbank.eventstore.errors import NewerVersionNeeded
from openbank.eventstore.port import BEGINNING, LogPosition, RecordedEvent
from openbank.eventstore.streams import account_stream
from openbank.views.changes import Change

State = TypeVar("State")

MINUTE_MICROSECONDS = 60_000_000
NO_MINUTE = -1
"""Before the first minute there can be."""


class LogId(NamedTuple):
    """Which log: of which bank, in which store. Positions mean something only within one."""

    bank_id: str
    store_id: str


class Listed(NamedTuple, Generic[State]):
    """A resource in a list that is ordered by creation: `position` is that of its first event in the log."""

    position: int
    resource: Versioned[State]


class ListedTransfer(NamedTuple):
    """A transfer in a list that is ordered by sending: `position` is that of its first event in the log."""

    position: int
    transfer: Transfer


class Standing(NamedTuple):
    """An account after one of its events, and what its movements up to there add up to."""

    position: int
    revision: int
    time: int
    """The latest record time of its events up to this one, in microseconds since 1970 UTC."""
    balance: Money
    available: Money
    """What could be spent."""
    entries: int
    """How many movements there were."""
    credits: int
    """All that was paid in, in minor units of the balance's currency."""

    @property
    def debits(self) -> int:
        """All that was paid out, likewise."""
        return self.credits - self.balance.minor


class Movement(NamedTuple):
    """An event that moved an account's posted balance."""

    account_id: str
    position: int
    revision: int
    event_id: bytes
    type: str
    """The stored type of the event."""
    time: int
    """The latest record time of the account's events up to this one, in microseconds since 1970 UTC."""
    balance_after: Money
    entry: StatementEntry


class MovementFilter(NamedTuple):
    """Which movements a list has. An empty value is not compared. There is an account or a reference."""

    account_id: str = ""
    external_reference: str = ""
    label: Label | None = None


class DueHold(NamedTuple):
    """An open hold by when it ends: in the order of time, and then of the log."""

    expire_time: int
    position: int
    account_id: str


BEFORE_DUE = DueHold(-1, -1, "")
"""Before the first hold that there can be."""


def account_state(name: str, account_id: str, revision: int) -> AccountState:
    """A state by its stored name. Raises NewerVersionNeeded: instances of several versions may share views."""
    try:
        return AccountState(name)
    except ValueError:
        raise NewerVersionNeeded(account_stream(account_id), revision, f"the state {name}") from None


class ViewsUnavailable(Exception):
    """The views cannot be reached, or not be written. What was to be written may have been: project it again."""


class ViewsReplaced(ViewsUnavailable):
    """Other views have taken the place of those that the changes were for. They may be elsewhere in the log."""


class ViewsOfAnEarlierFormat(ViewsUnavailable):
    """An earlier version wrote them. This one rebuilds them when it starts."""


class ViewsFull(ViewsUnavailable):
    """There is no room for more."""


class ViewsLacking(ViewsUnavailable):
    """The views are of an earlier format, which did not have what was asked for. A rebuild adds it."""


class ViewsDamaged(ViewsUnavailable):
    """The stored data is not what was written. Trying again does not help; rebuilding the views does."""


def transfer_state(number: int, source_account_id: str, sent_revision: int) -> TransferState:
    """A state by its stored number. Raises NewerVersionNeeded."""
    try:
        return TransferState(number)
    except ValueError:
        stream = account_stream(source_account_id)
        raise NewerVersionNeeded(stream, sent_revision, f"a transfer in the state {number}") from None


class Filled(Protocol):
    """What a projector fills with what the log says: the views, or those that are to take their place."""

    @property
    def place(self) -> LogPosition:
        """How far the log is projected, as far as this process knows; kept with the data through a restart."""
        ...

    @property
    def generation(self) -> int:
        """Changes when others have taken the place of what was filled, or it has begun again."""
        ...

    async def project(self, changes: Sequence[Change], through: LogPosition, after: LogPosition = BEGINNING) -> None:
        """Makes the changes of the events after `after` up to `through`, in the order of the log.

        What is not at `after` yet, or not any more, stays where it is: raises ViewsUnavailable.
        """
        ...

    async def last_minute(self) -> int:
        """The last minute of which there is a MinuteReached; NO_MINUTE before the first."""
        ...


class Views(Filled, Protocol):
    """Persons, accounts and accounts' events as of a position of one log.

    Complete: the checkpoint moves with the data, or after it. Whatever happens between, views at a position hold all
    that the log up to there says; what they hold of later events is harmless, as these are projected again.
    Repeatable: changes that were made before, made again in any order, change nothing: what is inserted is there once,
    what is set is guarded by its revision, the checkpoint never moves back.
    Forward: a read sees at least `position` as it was when the read began. It may see more.
    Every method may raise ViewsUnavailable.
    """

    shared: bool
    """Whether other banks' instances can reach them: then views of another bank are refused, and not rebuilt."""

    @property
    def available(self) -> bool:
        """Whether they could be reached when they were last asked, for health."""
        ...

    @property
    def complete(self) -> bool:
        """Whether they have all that this version projects. Views of an earlier format may lack movements, which then
        are refused (ViewsLacking) until a rebuild has added them."""
        ...

    @property
    def log(self) -> LogId | None:
        """The log that these views belong to; None before the first `clear`."""
        ...

    async def wait_for(self, position: int) -> None:
        """Waits until `self.position` has reached `position`, without a time limit, whichever instance projects."""
        ...

    async def clear(self, log: LogId) -> None:
        """Forgets everything and starts over, at the beginning of `log`."""
        ...

    async def person(self, person_id: str) -> Versioned[Person] | None: ...

    async def persons(self, after: int, limit: int) -> Sequence[Listed[Person]]:
        """The first `limit` of the persons registered after the position `after`, in the order of the log."""
        ...

    async def account(self, account_id: str) -> Versioned[Account] | None: ...

    async def accounts_by_number(self, key: str) -> Sequence[Versioned[Account]]:
        """`key` is what numbers are compared by: `domain.fields.account_number_key`. In the order of opening.

        More than one only where earlier versions, which counted hyphens, opened them.
        """
        ...

    async def accounts_by_owner(self, owner_id: str, after: int, limit: int) -> Sequence[Listed[Account]]:
        """The first `limit` of an owner's accounts opened after the position `after`, in the order of the log."""
        ...

    async def hold(self, hold_id: str) -> Versioned[HoldRecord] | None: ...

    async def holds(
        self, account_id: str, states: Collection[HoldState], before: int, limit: int
    ) -> Sequence[Listed[HoldRecord]]:
        """The last `limit` holds of an account in these states that were placed before the position `before`, newest
        first."""
        ...

    async def due_holds(self, time: int, after: DueHold, limit: int) -> Sequence[DueHold]:
        """The first `limit` open holds that end at `time` (microseconds) or earlier, after `after` in their order."""
        ...

    async def account_events(self, account_id: str, before: int, limit: int) -> Sequence[RecordedEvent]:
        """The last `limit` events of an account before the revision `before`, newest first, as they were recorded."""
        ...

    async def standing(self, account_id: str, revision: int) -> Standing | None:
        """An account after its last event up to `revision`; None before its first."""
        ...

    async def standing_at(self, account_id: str, time: int, revision: int) -> Standing | None:
        """An account after the last of its events up to `revision` that has this `time` (microseconds) or an earlier
        one; None before its first."""
        ...

    async def entries(self, account_id: str, after: int, through: int, limit: int) -> Sequence[Movement]:
        """The first `limit` movements of an account after the position `after`, up to `through`, oldest first."""
        ...

    async def movements(self, filter: MovementFilter, before: int, limit: int) -> Sequence[Movement]:
        """The last `limit` movements that pass the filter and are before the position `before`, newest first. An index
        finds them."""
        ...

    async def transfer(self, transfer_id: str) -> Transfer | None: ...

    async def transfers(
        self, account_id: str, states: Sequence[TransferState], before: int, limit: int
    ) -> Sequence[ListedTransfer]:
        """The last `limit` transfers that were sent before the position `before`, newest first: those from or to an
        account, or of all accounts where the id is empty, that are in one of these states."""
        ...

    async def unsettled_transfers(self, after: int, limit: int) -> Sequence[ListedTransfer]:
        """The first `limit` transfers, in transit or returning, that were sent after the position `after`, oldest
        first. An index finds them."""
        ...

    async def unsettled_from(self, account_id: str) -> int:
        """How many transfers that this account has sent are in transit or returning."""
        ...

    async def reversal(self, account_id: str, revision: int) -> int:
        """The revision of the event that reversed an account's movement; 0 without one. Raises ViewsLacking."""
        ...

    async def place_before(self, time: int) -> LogPosition:
        """A place up to which every event was recorded before `time` (microseconds): the start of its minute in the
        log, as far as the log is projected."""
        ...

    async def close(self) -> None: ...
