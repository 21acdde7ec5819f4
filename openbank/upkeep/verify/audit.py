"""Checks that a log can be that of a bank: each event against those before it, and across streams.

Balances are added up here, which the bank itself never does after an event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from openbank.codec.events import decode, is_ours
from openbank.domain import account
from openbank.domain.account import Account
from openbank.domain.account_events import (
    AccountEvent,
    AccountOpened,
    TransferReceived,
    TransferRefused,
    TransferReturned,
    TransferSent,
)
from openbank.domain.errors import DoesNotFollow
from openbank.domain.fields import account_number_key, account_number_with_hyphens
from openbank.domain.money import Currency, Money
from openbank.eventstore.errors import NewerVersionNeeded
from openbank.eventstore.port import RecordedEvent
from openbank.eventstore.quarantine_record import SetAside
from openbank.eventstore.streams import NUMBER, PERSON, person_stream, split
from openbank.integrity.checking import Checked
from openbank.integrity.trail import START, UNKNOWN_TYPE, Trail, follow
from openbank.upkeep.verify.reversals import ReversalAudit

TransferEvent = TransferSent | TransferReceived | TransferRefused | TransferReturned


class _InTransit(NamedTuple):
    source_account_id: str
    sent: TransferSent
    refused: bool = False

    def fits(self, account_id: str, settled: TransferReceived | TransferRefused | TransferReturned) -> bool:
        """Whether `settled`, an event of this account, can be what becomes of the transfer."""
        if settled.amount != self.sent.amount:
            return False
        if isinstance(settled, TransferReturned):
            return self.refused and account_id == self.source_account_id
        return not self.refused and account_id == self.sent.destination_account_id


class Audit:
    """Takes a log's events in order.

    `fault` is called with each fault, without personal data. After an event that does not follow, the rest of its
    stream is not believed either, and is ignored. Events in `skipped`, by stream and revision, are those that an
    operator has declared not to be the bank's.
    """

    def __init__(
        self,
        fault: Callable[[str], None],
        skipped: Mapping[str, frozenset[int]] = MappingProxyType({}),
        *,
        gapless: bool = True,
    ) -> None:
        """`gapless` says that each event's position is the one before it and 1, as in the embedded store."""
        self.position = 0
        """The position of the last event."""
        self.events = 0
        self.skipped = 0
        self.foreign: Counter[str] = Counter()
        """How many events of other programs are in each stream that has some."""
        self.paid_in: Counter[Currency] = Counter()
        """In minor units, by currency."""
        self.paid_out: Counter[Currency] = Counter()
        self.reversals = ReversalAudit()
        self._in_transit: dict[str, _InTransit] = {}
        """Transfers, by id, that have left one account and are neither in another nor back."""
        self._fault = fault
        self._skipped = skipped
        self._gapless = gapless
        self._trails: dict[str, Trail] = {}
        self._folded: dict[str, Account | None] = {}
        """By stream; None after an event that does not fit the account."""
        self._aside: dict[str, SetAside] = {}
        """Streams with an event that does not follow."""
        self._numbers: dict[str, tuple[str, str]] = {}
        """By key: the account, and its number as it is written."""
        self._append: tuple[str, int] = ("", 0)
        """The stream of an append that is not complete, and how many of its events are to come."""

    def revision_of(self, stream: str) -> int:
        """The revision of the stream's last event that is believed or another program's; 0 without one."""
        return self._trails.get(stream, START).revision

    @property
    def persons(self) -> int:
        return sum(split(stream)[0] == PERSON for stream in self._trails)

    @property
    def accounts(self) -> int:
        return sum(trail.funds is not None for trail in self._trails.values())

    @property
    def on_accounts(self) -> Counter[Currency]:
        """In minor units, by currency."""
        balances: Counter[Currency] = Counter()
        for trail in self._trails.values():
            if trail.funds is not None:
                balances[trail.funds.balance.currency] += trail.funds.balance.minor
        return balances

    @property
    def in_transit(self) -> Counter[Currency]:
        """In minor units, by currency: what has left one account and is neither in another nor back."""
        amounts: Counter[Currency] = Counter()
        for one in self._in_transit.values():
            amounts[one.sent.amount.currency] += one.sent.amount.minor
        return amounts

    def take(self, event: RecordedEvent) -> Checked:
        self.events += 1
        if self._gapless and event.position != self.position + 1:
            self._fault(f"position {event.position} follows {self.position}")
        self.position = event.position
        if not is_ours(event.type):
            self.foreign[event.stream] += 1
        self._check_part(event)
        return self._check(event)

    def look_up(self, event: RecordedEvent) -> Checked:
        """The same for an event that was taken before."""
        aside = self._aside.get(event.stream)
        if aside and event.revision >= aside.revision:
            return Checked(event, aside=aside)
        if event.revision in self._skipped.get(event.stream, ()):
            return Checked(event, skipped=True)
        _, identifier = split(event.stream)
        return Checked(event, decode(event.type, event.data, identifier) if is_ours(event.type) else None)

    def end(self) -> None:
        """Call at the end of the log."""
        if self._append[1]:
            self._fault(f"the log ends within an append to {self._append[0]}")
        on_accounts, in_transit = self.on_accounts, self.in_transit
        for currency, minor in on_accounts.items():
            there = minor + in_transit[currency]
            moved = self.paid_in[currency] - self.paid_out[currency]
            if there != moved:
                held, should = Money(currency, there), Money(currency, moved)
                self._fault(f"accounts hold {held}, and {should} was paid in and not paid out")

    def _check_part(self, event: RecordedEvent) -> None:
        part, parts = event.metadata.part, event.metadata.parts
        stream, left = self._append
        if left and (stream != event.stream or part != parts - left):
            self._fault(f"{_named(event)} stands within an append to {stream}")
        elif not left and part:
            self._fault(f"{_named(event)} is part {part + 1} of an append that has no beginning")
        self._append = event.stream, parts - part - 1

    def _check(self, event: RecordedEvent) -> Checked:
        if event.stream in self._aside:
            return Checked(event, aside=self._aside[event.stream])
        trail = self._trails.get(event.stream, START)
        if event.revision in self._skipped.get(event.stream, ()):
            self.skipped += 1
            self._trails[event.stream] = trail._replace(revision=event.revision)
            return Checked(event, skipped=True)
        try:
            trail, happened = follow(trail, event)
        except DoesNotFollow as error:
            return self._set_aside(event, str(error))
        except NewerVersionNeeded:
            return self._set_aside(event, UNKNOWN_TYPE)
        self._trails[event.stream] = trail
        if isinstance(happened, AccountOpened):
            self._check_opening(event, happened)
        if isinstance(happened, AccountEvent):
            self._fold(event, happened)
            if fault := self.reversals.take(event, happened):
                self._fault(f"{_named(event)} {fault}")
            if isinstance(happened, TransferEvent):
                self._check_transfer(event, happened)
            else:
                self._count(happened)
        return Checked(event, happened)

    def _fold(self, event: RecordedEvent, happened: AccountEvent) -> None:
        """Finds what the events alone do not show: whether a hold was open, or the account's state allowed this."""
        before = self._folded.get(event.stream)
        if before is None and event.stream in self._folded:
            return
        try:
            self._folded[event.stream] = account.apply(before, happened, event.revision)
        except DoesNotFollow as error:
            self._folded[event.stream] = None
            self._fault(f"{_named(event)} does not fit the account before it: {error}")

    def _set_aside(self, event: RecordedEvent, reason: str) -> Checked:
        self._fault(f"{_named(event)} does not follow from what comes before it: {reason}")
        aside = self._aside[event.stream] = SetAside(event.revision, event.position, reason, 0)
        return Checked(event, aside=aside)

    def _count(self, happened: AccountEvent) -> None:
        currency, moved = happened.balance_after.currency, happened.moved
        if moved < 0:
            self.paid_out[currency] -= moved
        else:
            self.paid_in[currency] += moved

    def _check_transfer(self, event: RecordedEvent, happened: TransferEvent) -> None:
        """What was sent arrives once, or is refused by its destination and then comes back once."""
        account_id = split(event.stream)[1]
        if isinstance(happened, TransferSent):
            if happened.transfer_id in self._in_transit:
                self._fault(f"{_named(event)} sends a transfer that is on its way")
            self._in_transit[happened.transfer_id] = _InTransit(account_id, happened)
            return
        found = self._in_transit.get(happened.transfer_id)
        if found is None or not found.fits(account_id, happened):
            self._fault(f"{_named(event)} settles a transfer that is not on its way, or another amount")
        elif isinstance(happened, TransferRefused):
            self._in_transit[happened.transfer_id] = found._replace(refused=True)
        else:
            del self._in_transit[happened.transfer_id]

    def _check_opening(self, event: RecordedEvent, opened: AccountOpened) -> None:
        if person_stream(opened.owner_id) not in self._trails:
            self._fault(f"{_named(event)} is owned by nobody who is registered")
        account_id, number = split(event.stream)[1], opened.account_number
        other, written = self._numbers.setdefault(account_number_key(number), (account_id, number))
        if other != account_id and not self._differ_by_hyphens(number, written):
            self._fault(f"{_named(event)} has the number of account {other}")

    def _differ_by_hyphens(self, *numbers: str) -> bool:
        """Whether earlier versions, which reserved numbers with their hyphens, may have given both of these."""
        keys = {account_number_with_hyphens(number) for number in numbers}
        return len(keys) > 1 and any("-" in key and f"{NUMBER}-{key}" in self._trails for key in keys)


def _named(event: RecordedEvent) -> str:
    return f"revision {event.revision} of {event.stream}, at position {event.position},"
