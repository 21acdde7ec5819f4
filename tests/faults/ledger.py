"""A bank's log, folded by the checks and not by the bank."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from openbank.codec import events as codec
from openbank.domain.account_events import (
    AccountClosed,
    AccountFrozen,
    AccountOpened,
    AccountUnfrozen,
    DepositReversed,
    HoldCaptured,
    HoldExpired,
    HoldPlaced,
    HoldReleased,
    MoneyDeposited,
    MoneyWithdrawn,
    OverdraftLimitSet,
    SpendingLimitsSet,
    TransferReceived,
    TransferRefused,
    TransferReturned,
    TransferSent,
    WithdrawalReversed,
)
from openbank.eventstore.port import RecordedEvent
from openbank.eventstore.streams import ACCOUNT, PERSON, split
from tests.faults.told import Broken


@dataclass
class Transfer:
    source: str
    destination: str
    amount: int
    state: str = "IN_TRANSIT"
    reversed: bool = False


@dataclass
class Folded:
    """One aggregate, as the log has it."""

    events: list[RecordedEvent] = field(default_factory=list)
    opened: AccountOpened | None = None
    balance: int = 0
    overdraft: int = 0
    state: str = "ACTIVE"
    holds: dict[str, int] = field(default_factory=dict)
    """What remains in each, open or not."""
    expire_times: dict[str, int] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    """How each ended that is not open."""
    movements: dict[int, int] = field(default_factory=dict)
    """What moved at a revision and was not reversed; below zero for what was paid out."""

    def move(self, minor: int) -> None:
        """By the last event."""
        self.pay(minor)
        self.movements[len(self.events)] = minor

    def reverse(self, revision: int, minor: int) -> None:
        if self.movements.pop(revision, None) != -minor:
            raise Broken(f"revision {revision} is reversed by {minor}")
        self.pay(minor)

    @property
    def available(self) -> int:
        return self.balance + self.overdraft - sum(self.holds.values())

    def pay(self, minor: int) -> None:
        if self.state not in (("ACTIVE", "DEBITS_FROZEN") if minor > 0 else ("ACTIVE", "CREDITS_FROZEN")):
            raise Broken(f"{minor} moves on an account that is {self.state}")
        self.balance += minor

    def take(self, hold_id: str, minor: int, left: int, end: str) -> None:
        """Out of a hold, which has ended when nothing is left."""
        if hold_id in self.ended or self.holds.get(hold_id, 0) < minor + left:
            raise Broken(f"{minor} is taken out of the hold {hold_id}: {self.holds} {self.ended}")
        self.holds[hold_id] = left
        if not left:
            self.ended[hold_id] = end


class Ledger:
    """Raises Broken for a log that cannot be."""

    def __init__(self, log: Sequence[RecordedEvent], forged: Collection[bytes] = ()) -> None:
        """`forged` are the ids of events that do not belong to the bank."""
        ours = [event for event in log if event.id not in forged]
        self.events = [event for event in ours if split(event.stream)[0] in (ACCOUNT, PERSON)]
        self.accounts: dict[str, Folded] = defaultdict(Folded)
        self.persons: dict[str, Folded] = defaultdict(Folded)
        self.transfers: dict[str, Transfer] = {}
        self.asked_for: list[RecordedEvent] = []
        """Events that a request was for: not those that follow from others, such as the end of a hold in time."""
        self.kinds: Counter[str] = Counter()
        self.moved = 0
        """All that came into the bank, less all that left it."""
        ids = set()
        for event in self.events:
            try:
                self._take(event)
            except Broken as broken:
                raise Broken(f"{event.stream} at revision {event.revision}: {broken}") from None
            ids.add(event.id)
        if len(ids) != len(self.events):
            raise Broken("an event is in the log twice")
        if self.moved != sum(account.balance for account in self.accounts.values()) + self.in_transit:
            raise Broken("money was made or lost")

    @property
    def in_transit(self) -> int:
        return sum(one.amount for one in self.transfers.values() if one.state in ("IN_TRANSIT", "RETURNING"))

    def ends_soon(self, until: int, but_for: set[str]) -> bool:
        """Whether a hold is open that ends before a time, in microseconds since 1970 UTC, on any other account."""
        return any(
            folded.holds[hold_id] and expire_time < until
            for account_id, folded in self.accounts.items()
            for hold_id, expire_time in folded.expire_times.items()
            if account_id not in but_for
        )

    def in_transit_but_for(self, accounts: set[str]) -> bool:
        """Whether any money is, other than that from or to one of `accounts`."""
        return any(
            one.state in ("IN_TRANSIT", "RETURNING") and accounts.isdisjoint((one.source, one.destination))
            for one in self.transfers.values()
        )

    def of(self, category: str) -> Sequence[RecordedEvent]:
        return [event for event in self.events if split(event.stream)[0] == category]

    def _take(self, event: RecordedEvent) -> None:
        category, identifier = split(event.stream)
        folded = (self.accounts if category == ACCOUNT else self.persons)[identifier]
        folded.events.append(event)
        if event.revision != len(folded.events):
            raise Broken(f"it is event {len(folded.events)}")
        happened = codec.decode(event.type, event.data, identifier)
        if not isinstance(happened, HoldExpired | TransferReceived | TransferRefused | TransferReturned):
            self.asked_for.append(event)
        if category == PERSON:
            return
        self.kinds[type(happened).__name__] += 1
        self._fold(identifier, folded, happened)
        stated: Any = happened
        if (folded.balance, folded.available) != (stated.balance_after.minor, stated.available_after.minor):
            raise Broken(f"it states {stated}, not {folded.balance} and {folded.available}")
        if stated.spends and folded.available < 0:
            raise Broken(f"it spends more than there was: {stated}")

    def _fold(self, account_id: str, folded: Folded, happened: object) -> None:
        if folded.state == "CLOSED" and not isinstance(happened, TransferRefused):
            raise Broken("the account is closed")
        match happened:
            case AccountOpened():
                folded.opened = happened
                folded.balance = happened.initial_deposit.minor
                self.moved += folded.balance
            case MoneyDeposited():
                folded.move(happened.amount.minor)
                self.moved += happened.amount.minor
            case MoneyWithdrawn():
                folded.move(-happened.amount.minor)
                self.moved -= happened.amount.minor
            case DepositReversed():
                folded.reverse(happened.reversed_revision, -happened.amount.minor)
                self.moved -= happened.amount.minor
            case WithdrawalReversed():
                folded.reverse(happened.reversed_revision, happened.amount.minor)
                self.moved += happened.amount.minor
            case AccountFrozen():
                folded.state = happened.state_after.value
            case AccountUnfrozen():
                folded.state = "ACTIVE"
            case AccountClosed():
                if folded.balance or any(folded.holds.values()) or self._sent_by(account_id):
                    raise Broken("it is not empty")
                folded.state = "CLOSED"
            case OverdraftLimitSet():
                folded.overdraft = happened.limit.minor
            case SpendingLimitsSet():
                pass
            case HoldPlaced():
                folded.holds[happened.hold_id] = happened.amount.minor
                folded.expire_times[happened.hold_id] = happened.expire_time
            case HoldCaptured():
                folded.take(happened.hold_id, happened.amount.minor, happened.remaining_after.minor, "CAPTURED")
                folded.move(-happened.amount.minor)
                self.moved -= happened.amount.minor
            case HoldReleased():
                folded.take(happened.hold_id, happened.amount.minor, 0, "RELEASED")
            case HoldExpired():
                folded.take(happened.hold_id, happened.amount.minor, 0, "EXPIRED")
            case TransferSent():
                if happened.hold_remaining_after is not None:
                    left = happened.hold_remaining_after.minor
                    folded.take(happened.hold_id, happened.amount.minor, left, "CAPTURED")
                folded.pay(-happened.amount.minor)
                self._send(account_id, happened)
            case TransferReceived():
                self._settle(account_id, happened, "IN_TRANSIT", "COMPLETED")
                folded.pay(happened.amount.minor)
            case TransferRefused():
                self._settle(account_id, happened, "IN_TRANSIT", "RETURNING")
            case TransferReturned():
                self._settle(account_id, happened, "RETURNING", "RETURNED")
                folded.balance += happened.amount.minor
            case _:
                raise Broken(f"it is {happened}")

    def _sent_by(self, account_id: str) -> bool:
        """Whether some of its money is in transit."""
        return any(
            one.source == account_id and one.state in ("IN_TRANSIT", "RETURNING") for one in self.transfers.values()
        )

    def _send(self, account_id: str, sent: TransferSent) -> None:
        if sent.transfer_id in self.transfers:
            raise Broken(f"the transfer {sent.transfer_id} is sent twice")
        self.transfers[sent.transfer_id] = Transfer(account_id, sent.destination_account_id, sent.amount.minor)
        if sent.reverses_transfer_id:
            first = self.transfers[sent.reverses_transfer_id]
            back = (first.destination, first.source, first.amount, first.state, first.reversed)
            if back != (account_id, sent.destination_account_id, sent.amount.minor, "COMPLETED", False):
                raise Broken(f"{sent} takes {first} back")
            first.reversed = True

    def _settle(
        self, account_id: str, event: TransferReceived | TransferRefused | TransferReturned, before: str, after: str
    ) -> None:
        transfer = self.transfers.get(event.transfer_id)
        if transfer is None or (transfer.state, transfer.amount) != (before, event.amount.minor):
            raise Broken(f"{event} follows {transfer}")
        if account_id != (transfer.source if after == "RETURNED" else transfer.destination):
            raise Broken(f"{event} is on an account that is not its own: {transfer}")
        transfer.state = after
