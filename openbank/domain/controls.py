"""What governs an account beside its balance: state, overdraft, spending limits, holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from types import MappingProxyType


class AccountState(Enum):
    """Which way money moves. A state that this version does not know is one in which nothing moves."""

    ACTIVE = "ACTIVE"
    DEBITS_FROZEN = "DEBITS_FROZEN"
    CREDITS_FROZEN = "CREDITS_FROZEN"
    FROZEN = "FROZEN"
    CLOSED = "CLOSED"

    @property
    def takes_credits(self) -> bool:
        return self in (AccountState.ACTIVE, AccountState.DEBITS_FROZEN)

    @property
    def takes_debits(self) -> bool:
        return self in (AccountState.ACTIVE, AccountState.CREDITS_FROZEN)


FREEZES = (AccountState.FROZEN, AccountState.DEBITS_FROZEN, AccountState.CREDITS_FROZEN)


@dataclass(frozen=True, slots=True)
class Hold:
    """An open hold: `remaining` minor units of the account's currency, until `expire_time`, in microseconds since 1970
    UTC."""

    remaining: int
    expire_time: int
    placed: int
    """The account's revision at which it was placed: that event has what no rule needs."""


@dataclass(frozen=True, slots=True)
class SpendingLimits:
    """The most that may be spent, in minor units of the account's currency; None for no limit.

    A day begins at midnight in `time_zone`, a name of the IANA database.
    """

    per_transaction: int | None
    per_day: int | None
    time_zone: str


NO_LIMITS = SpendingLimits(None, None, "")
"""For readers that need a value for an account without limits."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What was spent on a day, in minor units of the account's currency."""

    day: date
    minor: int


@dataclass(frozen=True, slots=True)
class Reversals:
    """The last reversals of the account. Memory of all of them would grow without end.

    A movement at the revision `before` or later was reversed only if it is in `known`: its reversal came after it.
    """

    known: Mapping[int, int]
    """The revision of each reversed movement, and that of its reversal. Oldest reversal first."""
    before: int = 0
    """The revision up to which there may be reversals that are not in `known`; 0 if there is none."""

    def with_one(self, revision: int, reversed_by: int) -> Reversals:
        known, before = {**self.known, revision: reversed_by}, self.before
        if len(known) > REVERSALS_KEPT:
            before = max(before, known.pop(next(iter(known))))
        return Reversals(MappingProxyType(known), before)


REVERSALS_KEPT = 100
"""Reversals that an account remembers: the fold and the snapshot of it stay bounded."""
NO_REVERSALS = Reversals(MappingProxyType({}))


class OpenHolds(Mapping[str, Hold]):
    """The open holds of an account, by id. Immutable.

    Every command asks whether one is due, so it knows the first to be.
    """

    __slots__ = ("_holds", "first_expiry")

    def __init__(self, holds: Mapping[str, Hold]) -> None:
        self._holds = dict(holds)
        self.first_expiry = min((hold.expire_time for hold in self._holds.values()), default=None)
        """In microseconds since 1970 UTC; None without a hold."""

    def with_one(self, hold_id: str, hold: Hold) -> OpenHolds:
        """With this hold as it is now; without it once nothing remains. A batch does it hundreds of times."""
        holds, first = self._holds.copy(), self.first_expiry
        before = holds.pop(hold_id, None)
        if hold.remaining:
            holds[hold_id] = hold
        if before is not None and before.expire_time == first:
            return OpenHolds(holds)
        if hold.remaining and (first is None or hold.expire_time < first):
            first = hold.expire_time
        made = OpenHolds.__new__(OpenHolds)
        made._holds, made.first_expiry = holds, first
        return made

    def __getitem__(self, hold_id: str) -> Hold:
        return self._holds[hold_id]

    def __iter__(self) -> Iterator[str]:
        return iter(self._holds)

    def __len__(self) -> int:
        return len(self._holds)

    def __repr__(self) -> str:
        return repr(self._holds)


NO_HOLDS = OpenHolds({})


@dataclass(frozen=True, slots=True)
class Controls:
    """One immutable value, which a plain movement passes on untouched."""

    state: AccountState = AccountState.ACTIVE
    freeze_reason: str = ""
    """The reason of the last freeze; empty while the account is not frozen."""
    close_time: int | None = None
    """When the account was closed, in microseconds since 1970 UTC."""
    overdraft_limit: int = 0
    """How far the balance may go below zero, in minor units."""
    spending: SpendingLimits | None = None
    spent: Spent | None = None
    """On the last day on which something was spent under a limit per day."""
    holds: OpenHolds = field(default_factory=lambda: NO_HOLDS, hash=False)
    held: int = 0
    """What they hold together, in minor units."""
    holds_placed: int = 0
    """How many holds there have ever been."""
    last_hold: int = 0
    """The revision at which the hold was placed that the last event of any hold was about; 0 without one."""
    reversals: Reversals = field(default=NO_REVERSALS, hash=False)


PLAIN = Controls()
"""The controls of a new account."""
