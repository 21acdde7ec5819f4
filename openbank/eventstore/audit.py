"""Whether a log can be that of a bank: each event on its own, and what they say of one another.

Nothing is folded as commands fold it. Amounts are added up here, which the bank itself never does after an event.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from openbank.domain.account import AccountOpened, MoneyDeposited, MoneyWithdrawn
from openbank.domain.fields import account_number_key, account_number_with_hyphens
from openbank.domain.money import Currency, Money
from openbank.domain.person import PersonRegistered
from openbank.eventstore.codec import DomainEvent, UndecodableEvent, UnknownEventType, decode, is_ours
from openbank.eventstore.port import RecordedEvent
from openbank.eventstore.streams import ACCOUNT, NUMBER, PERSON, person_stream, split


@dataclass(slots=True)
class _Account:
    owner_id: str
    balance: Money


class Audit:
    """Takes a log's events in order. `fault` is told of each thing that cannot be, without personal data."""

    def __init__(self, fault: Callable[[str], None]) -> None:
        self.position = 0
        """Of the last event."""
        self.events = 0
        self.paid_in: Counter[Currency] = Counter()
        """In minor units, by currency."""
        self.paid_out: Counter[Currency] = Counter()
        self._fault = fault
        self._revisions: dict[str, int] = {}
        self._accounts: dict[str, _Account] = {}
        self._numbers: dict[str, tuple[str, str]] = {}
        """By key: the account, and its number as it is written."""
        self._append: tuple[str, int] = ("", 0)
        """The stream of an append that is not complete, and how many of its events are to come."""

    @property
    def persons(self) -> int:
        return sum(split(stream)[0] == PERSON for stream in self._revisions)

    @property
    def accounts(self) -> int:
        return len(self._accounts)

    @property
    def on_accounts(self) -> Counter[Currency]:
        """In minor units, by currency."""
        balances: Counter[Currency] = Counter()
        for account in self._accounts.values():
            balances[account.balance.currency] += account.balance.minor
        return balances

    def take(self, event: RecordedEvent) -> None:
        self.events += 1
        self._check_place(event)
        self._check_part(event)
        if is_ours(event.type):
            self._check_content(event)

    def end(self) -> None:
        """The log has no more."""
        if self._append[1]:
            self._fault(f"the log ends within an append to {self._append[0]}")
        for currency, minor in self.on_accounts.items():
            moved = self.paid_in[currency] - self.paid_out[currency]
            if minor != moved:
                held, should = Money(currency, minor), Money(currency, moved)
                self._fault(f"accounts hold {held}, and {should} was paid in and not paid out")

    def _check_place(self, event: RecordedEvent) -> None:
        if event.position != self.position + 1:
            self._fault(f"position {event.position} follows {self.position}")
        self.position = event.position
        last = self._revisions.get(event.stream, 0)
        if event.revision != last + 1:
            self._fault(f"{_named(event)} follows revision {last}")
        self._revisions[event.stream] = event.revision

    def _check_part(self, event: RecordedEvent) -> None:
        part, parts = event.metadata.part, event.metadata.parts
        stream, left = self._append
        if left and (stream != event.stream or part != parts - left):
            self._fault(f"{_named(event)} stands within an append to {stream}")
        elif not left and part:
            self._fault(f"{_named(event)} is part {part + 1} of an append that has no beginning")
        self._append = event.stream, parts - part - 1

    def _check_content(self, event: RecordedEvent) -> None:
        category, identifier = split(event.stream)
        try:
            happened = decode(event.type, event.data, identifier)
        except (UnknownEventType, UndecodableEvent, ValueError) as error:
            self._fault(f"{_named(event)} can't be decoded: {type(error).__name__}")
            return
        if category == ACCOUNT:
            self._check_account(event, identifier, happened)
        elif category == PERSON and isinstance(happened, PersonRegistered) is not (event.revision == 1):
            self._fault(f"{_named(event)} is {event.type}")

    def _check_account(self, event: RecordedEvent, account_id: str, happened: DomainEvent) -> None:
        account = self._accounts.get(account_id)
        if isinstance(happened, AccountOpened):
            if account is not None:
                self._fault(f"{_named(event)} opens an account that is open")
            self._open(event, account_id, happened)
        elif account is None:
            self._fault(f"{_named(event)} comes before its account was opened")
        elif isinstance(happened, MoneyDeposited | MoneyWithdrawn):
            self._move(event, account, happened)

    def _open(self, event: RecordedEvent, account_id: str, opened: AccountOpened) -> None:
        if person_stream(opened.owner_id) not in self._revisions:
            self._fault(f"{_named(event)} is owned by nobody who is registered")
        number = opened.account_number
        other, written = self._numbers.setdefault(account_number_key(number), (account_id, number))
        if other != account_id and not self._differ_by_hyphens(number, written):
            self._fault(f"{_named(event)} has the number of account {other}")
        self.paid_in[opened.initial_deposit.currency] += opened.initial_deposit.minor
        self._accounts[account_id] = _Account(opened.owner_id, opened.initial_deposit)
        self._check_envelope(event, opened.owner_id)

    def _differ_by_hyphens(self, *numbers: str) -> bool:
        """Whether earlier versions, which reserved numbers with their hyphens, may have given both of these."""
        keys = {account_number_with_hyphens(number) for number in numbers}
        return len(keys) > 1 and any("-" in key and f"{NUMBER}-{key}" in self._revisions for key in keys)

    def _move(self, event: RecordedEvent, account: _Account, moved: MoneyDeposited | MoneyWithdrawn) -> None:
        currency, amount = moved.amount
        is_deposit = isinstance(moved, MoneyDeposited)
        (self.paid_in if is_deposit else self.paid_out)[currency] += amount
        after = account.balance.minor + (amount if is_deposit else -amount)
        if moved.balance_after != Money(account.balance.currency, after) or currency != account.balance.currency:
            self._fault(
                f"{_named(event)} states {moved.balance_after}, and is {Money(account.balance.currency, after)}"
            )
        if amount <= 0 or after < 0:
            self._fault(f"{_named(event)} moves {moved.amount} to {Money(currency, after)}")
        account.balance = moved.balance_after
        self._check_envelope(event, account.owner_id)

    def _check_envelope(self, event: RecordedEvent, owner_id: str) -> None:
        if event.metadata.owner_id != owner_id:
            self._fault(f"{_named(event)} is stored under another owner than the account's")


def _named(event: RecordedEvent) -> str:
    return f"revision {event.revision} of {event.stream}, at position {event.position},"
