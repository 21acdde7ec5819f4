"""The bank as a page of Python: what it promises its callers, without speed, disks or anyone else at the same time."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from openbank.accounts.v1 import account_pb2 as account_messages
from tests.callers import Refusal
from tests.model.fields import (
    Amount,
    Refused,
    Violations,
    account_number,
    amount,
    check,
    compared,
    identifier,
    initial_deposit,
    number_as_kept,
    read_request,
    show,
    text,
)

BALANCE_MAX = 2**53 - 1
ACTIVE, FROZEN, CLOSED = "ACTIVE", "FROZEN", "CLOSED"
DEBITS_FROZEN, CREDITS_FROZEN = "DEBITS_FROZEN", "CREDITS_FROZEN"
STATES = {
    name: account_messages.AccountState.Value(f"ACCOUNT_STATE_{name}")
    for name in (
        ACTIVE,
        FROZEN,
        CLOSED,
        DEBITS_FROZEN,
        CREDITS_FROZEN,
    )
}
TIME_ZONES = ("Pacific/Auckland", "America/New_York", "Asia/Kathmandu")


class Replayed(Exception):
    """What was asked for was done before."""

    def __init__(self, done: Done) -> None:
        super().__init__(done)
        self.done = done


class Done(NamedTuple):
    """One request that was done, and what it was answered."""

    fingerprint: Hashable
    answer: Any


@dataclass
class Person:
    first_name: str
    city: str
    revision: int = 0
    done: dict[str, Done] = field(default_factory=dict)
    """By request id."""

    def record(self, _: str) -> None:
        self.revision += 1


class Event(NamedTuple):
    """An event of an account, by its id, and what it left."""

    id: str
    balance: int
    available: int


@dataclass
class Account:
    owner_id: str
    number: str
    currency: str
    balance: int
    revision: int = 0
    done: dict[str, Done] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    state: str = ACTIVE
    freeze_reason: str = ""
    close_time: int | None = None
    overdraft_limit: int = 0
    per_transaction: int | None = None
    per_day: int | None = None
    time_zone: str = ""
    spent: tuple[date, int] = date.min, 0
    """On the last day on which something was spent under a limit per day."""

    @property
    def available(self) -> int:
        return self.balance + self.overdraft_limit

    def unless_closed(self) -> Account:
        if self.state == CLOSED:
            raise Refused("FAILED_PRECONDITION", "ACCOUNT_NOT_ACTIVE")
        return self

    def credit(self, paid: Amount) -> int:
        """What is paid in, in smallest units."""
        if self.state not in (ACTIVE, DEBITS_FROZEN):
            raise Refused("FAILED_PRECONDITION", "ACCOUNT_NOT_ACTIVE")
        return self._own("amount", paid)

    def debit(self, paid: Amount) -> int:
        if self.state not in (ACTIVE, CREDITS_FROZEN):
            raise Refused("FAILED_PRECONDITION", "ACCOUNT_NOT_ACTIVE")
        return self._own("amount", paid)

    def spend(self, paid: Amount, now: int) -> int:
        """A debit that must be there, and that counts towards the limits."""
        minor = self.debit(paid)
        if minor > self.available:
            raise Refused("FAILED_PRECONDITION", "INSUFFICIENT_FUNDS")
        if self.per_transaction is not None and minor > self.per_transaction:
            raise Refused("FAILED_PRECONDITION", "SPENDING_LIMIT_EXCEEDED")
        if self.per_day is not None:
            day, spent = self.spent
            today = max(day, datetime.fromtimestamp(now // 10**6, ZoneInfo(self.time_zone)).date())
            total = minor + (spent if today == day else 0)
            if total > self.per_day:
                raise Refused("FAILED_PRECONDITION", "SPENDING_LIMIT_EXCEEDED")
            self.spent = today, total
        return minor

    def limit(self, path: str, limit: Amount) -> int | None:
        if limit is None:
            return None
        minor = self._own(path, limit)
        if minor > BALANCE_MAX:
            check({path: "AMOUNT_OUT_OF_RANGE"}, (path,))
        return minor

    def _own(self, path: str, paid: Amount) -> int:
        assert paid is not None
        currency, minor = paid
        if currency != self.currency:
            check({f"{path}.currency_code": "CURRENCY_MISMATCH"}, (path,))
        return minor

    def record(self, event_id: str) -> None:
        self.revision += 1
        self.events.append(Event(event_id, self.balance, self.available))


class Model:
    def __init__(self, clock_error: int = 0) -> None:
        self.persons: dict[str, Person] = {}
        self.accounts: dict[str, Account] = {}
        self.claims: dict[str, Hashable] = {}
        """Request ids of registrations and openings, which are the whole bank's."""
        self.clock_error = clock_error
        self.now = 0
        """By the bank's clock, in microseconds since 1970 UTC, as near as `clock_error`."""

    def take(self, rpc: str, request: Any, outcome: Any) -> None:
        """Goes on to where the bank is after `outcome`. Raises AssertionError where that is not what it promises."""
        told = _as_told(outcome) if isinstance(outcome, Refusal) else None
        refused, replayed = None, None
        made: Any = None
        try:
            made = getattr(self, rpc)(request, outcome)
        except Refused as error:
            refused = error.args
        except Replayed as error:
            replayed = error.done
        assert told == refused, f"answered was {told or outcome}, expected {refused or 'an answer'}"
        if refused:
            return
        if replayed:
            first = type(outcome).FromString(replayed.answer.SerializeToString())
            first.replayed = True
            assert outcome == first
            return
        assert not outcome.replayed
        made.record(outcome.event_id)
        _same(outcome.person if isinstance(made, Person) else outcome.account, made)
        if request.request_id:
            made.done[request.request_id.lower()] = Done(_fingerprint(rpc, request), outcome)

    def RegisterPerson(self, request: Any, outcome: Any) -> Any:
        wrong = read_request(request)
        identifier(wrong, "person_id", request.person_id, required=False)
        text(wrong, "first_name", request.first_name, 100)
        text(wrong, "address.city", request.address.city, 100)
        check(wrong, ("request_id", "person_id", "first_name", "address.city"))
        person_id = request.person_id or _made(outcome, "person")
        self._claimed("RegisterPerson", request, self.persons)
        if person_id in self.persons:
            raise Refused("ALREADY_EXISTS", "PERSON_ALREADY_EXISTS")
        self._claim("RegisterPerson", request)
        made = self.persons[person_id] = Person(request.first_name.strip(), request.address.city.strip())
        return made

    def UpdateAddress(self, request: Any, outcome: Any) -> Any:
        wrong = read_request(request)
        identifier(wrong, "person_id", request.person_id)
        text(wrong, "address.city", request.address.city, 100)
        check(wrong, ("request_id", "expected_revision", "person_id", "address.city"))
        person = self.persons.get(request.person_id)
        if person is None:
            raise Refused("NOT_FOUND", "PERSON_NOT_FOUND")
        _replay(person, "UpdateAddress", request)
        _at_revision(person, request)
        person.city = request.address.city.strip()
        return person

    def OpenAccount(self, request: Any, outcome: Any) -> Any:
        wrong = read_request(request)
        identifier(wrong, "account_id", request.account_id, required=False)
        identifier(wrong, "owner_id", request.owner_id)
        account_number(wrong, request.account_number)
        currency, balance = initial_deposit(wrong, request)
        order = ("request_id", "account_id", "owner_id", "account_number", "currency_code", "initial_deposit")
        check(wrong, order)
        account_id = request.account_id or _made(outcome, "account")
        self._claimed("OpenAccount", request, self.accounts)
        if account_id in self.accounts:
            raise Refused("ALREADY_EXISTS", "ACCOUNT_ALREADY_EXISTS")
        if balance > BALANCE_MAX:
            raise Refused("FAILED_PRECONDITION", "BALANCE_LIMIT_EXCEEDED")
        if request.owner_id not in self.persons:
            raise Refused("NOT_FOUND", "OWNER_NOT_FOUND")
        if self.by_number(request.account_number):
            raise Refused("ALREADY_EXISTS", "ACCOUNT_NUMBER_TAKEN")
        self._claim("OpenAccount", request)
        number = number_as_kept(request.account_number)
        made = self.accounts[account_id] = Account(request.owner_id, number, currency, balance)
        return made

    def Deposit(self, request: Any, outcome: Any) -> Any:
        wrong = read_request(request)
        paid = amount(wrong, request)
        account = self._account("Deposit", request, wrong, "amount")
        minor = account.credit(paid)
        if account.balance + minor > BALANCE_MAX:
            raise Refused("FAILED_PRECONDITION", "BALANCE_LIMIT_EXCEEDED")
        account.balance += minor
        return account

    def Withdraw(self, request: Any, outcome: Any) -> Any:
        wrong = read_request(request)
        paid = amount(wrong, request)
        account = self._account("Withdraw", request, wrong, "amount")
        account.balance -= account.spend(paid, self.now)
        return account

    def FreezeAccount(self, request: Any, outcome: Any) -> Any:
        wrong = read_request(request)
        names = {STATES[name]: name for name in (FROZEN, DEBITS_FROZEN, CREDITS_FROZEN)}
        if request.state not in names:
            wrong["state"] = "UNKNOWN_ENUM_VALUE" if request.state else "FIELD_REQUIRED"
        text(wrong, "reason", request.reason, 500)
        account = self._account("FreezeAccount", request, wrong, "state", "reason").unless_closed()
        account.state, account.freeze_reason = names[request.state], request.reason.strip()
        return account

    def UnfreezeAccount(self, request: Any, outcome: Any) -> Any:
        account = self._account("UnfreezeAccount", request, read_request(request)).unless_closed()
        if account.state == ACTIVE:
            raise Refused("FAILED_PRECONDITION", "ACCOUNT_NOT_FROZEN")
        account.state, account.freeze_reason = ACTIVE, ""
        return account

    def CloseAccount(self, request: Any, outcome: Any) -> Any:
        wrong = read_request(request)
        text(wrong, "reason", request.reason, 500, required=False)
        account = self._account("CloseAccount", request, wrong, "reason").unless_closed()
        if account.balance:
            raise Refused("FAILED_PRECONDITION", "ACCOUNT_NOT_EMPTY")
        account.state, account.freeze_reason = CLOSED, ""
        account.close_time = 0 if isinstance(outcome, Refusal) else outcome.account.close_time.ToMicroseconds()
        assert abs(account.close_time - self.now) <= self.clock_error
        return account

    def SetOverdraftLimit(self, request: Any, outcome: Any) -> Any:
        wrong = read_request(request)
        limit = amount(wrong, request, "limit", least=0)
        account = self._account("SetOverdraftLimit", request, wrong, "limit").unless_closed()
        account.overdraft_limit = account.limit("limit", limit) or 0
        return account

    def SetSpendingLimits(self, request: Any, outcome: Any) -> Any:
        wrong = read_request(request)
        names = ("per_transaction", "per_day")
        limits = [amount(wrong, request, name, required=False) for name in names]
        if request.time_zone not in ("", *TIME_ZONES):
            wrong["time_zone"] = "UNKNOWN_TIME_ZONE"
        account = self._account("SetSpendingLimits", request, wrong, *names, "time_zone").unless_closed()
        account.per_transaction, account.per_day = map(account.limit, names, limits)
        account.time_zone = request.time_zone or "UTC"
        return account

    def _account(self, rpc: str, request: Any, wrong: Violations, *fields: str) -> Account:
        """The one that the request names. Raises Replayed, Refused."""
        identifier(wrong, "account_id", request.account_id)
        check(wrong, ("request_id", "expected_revision", "account_id", *fields))
        account = self.accounts.get(request.account_id)
        if account is None:
            raise Refused("NOT_FOUND", "ACCOUNT_NOT_FOUND")
        _replay(account, rpc, request)
        _at_revision(account, request)
        return account

    def by_number(self, number: str) -> str | None:
        """The id of the account that has it."""
        found = (id for id, account in self.accounts.items() if compared(account.number) == compared(number))
        return next(found, None)

    def _claimed(self, rpc: str, request: Any, made: Mapping[str, Person | Account]) -> None:
        """A request whose id is no other request's in the whole bank. Raises Replayed, Refused."""
        request_id = request.request_id.lower()
        if request_id and self.claims.get(request_id, _fingerprint(rpc, request)) != _fingerprint(rpc, request):
            raise Refused(*_REUSED)
        named = made.get(request.person_id if rpc == "RegisterPerson" else request.account_id)
        if named:
            _replay(named, rpc, request)
        # A movement of some account may have the same id: it is that account's own.
        found = (one.done[request_id] for one in made.values() if request_id in one.done)
        for done in found:
            if done.fingerprint == _fingerprint(rpc, request):
                raise Replayed(done)

    def _claim(self, rpc: str, request: Any) -> None:
        if request.request_id:
            self.claims[request.request_id.lower()] = _fingerprint(rpc, request)


def _same(answered: Any, made: Person | Account) -> None:
    """The answer is what the model has made of the request."""
    assert answered.revision == made.revision
    if isinstance(made, Person):
        assert (answered.first_name, answered.address.city) == (made.first_name, made.city)
    else:
        assert (answered.owner_id, answered.account_number) == (made.owner_id, made.number)
        same_account(answered, made)


def same_account(answered: Any, made: Account) -> None:
    """Also what governs it."""

    def money(minor: int) -> Any:
        return show(made.currency, minor)

    assert (answered.balance, answered.available_balance) == (money(made.balance), money(made.available))
    assert (answered.state, answered.freeze_reason) == (STATES[made.state], made.freeze_reason)
    closed_at = answered.close_time.ToMicroseconds() if answered.HasField("close_time") else None
    assert closed_at == made.close_time
    shown = [answered.overdraft_limit, answered.held_balance]
    assert shown == [money(minor) if minor else type(answered.balance)() for minor in (made.overdraft_limit, 0)]
    limits = account_messages.SpendingLimits()
    for name in ("per_transaction", "per_day"):
        if (limit := getattr(made, name)) is not None:
            getattr(limits, name).CopyFrom(money(limit))
            limits.time_zone = made.time_zone
    assert answered.spending_limits == limits


def _as_told(refusal: Refusal) -> tuple[str, str, Violations | None]:
    """As `Refused` has it."""
    return refusal.code.name, refusal.reason, refusal.violations if "BadRequest" in refusal.details else None


_REUSED = ("INVALID_ARGUMENT", "REQUEST_ID_REUSED", {"request_id": "REQUEST_ID_REUSED"})


def _made(outcome: Any, name: str) -> str:
    """The id that the bank has made."""
    return "" if isinstance(outcome, Refusal) else str(getattr(getattr(outcome, name), f"{name}_id"))


def _fingerprint(rpc: str, request: Any) -> Hashable:
    """What makes two requests the same one: the RPC, and what it is to do."""
    if rpc in ("RegisterPerson", "UpdateAddress"):
        first_name = getattr(request, "first_name", "").strip()
        return rpc, request.person_id, first_name, request.address.city.strip()
    if rpc == "OpenAccount":
        parts = request.account_id, request.owner_id, request.account_number.strip()
        return rpc, *parts, *initial_deposit({}, request)
    texts = (getattr(request, name, "").strip() for name in ("description", "reason", "time_zone"))
    amounts = (
        amount({}, request, name)
        for name in ("amount", "limit", "per_transaction", "per_day")
        if hasattr(request, name)
    )
    return rpc, request.account_id, getattr(request, "state", 0), *texts, *amounts


def _replay(made: Person | Account, rpc: str, request: Any) -> None:
    """Raises Replayed for a request that was done, Refused for another one under its id."""
    done = made.done.get(request.request_id.lower())
    if done and done.fingerprint != _fingerprint(rpc, request):
        raise Refused(*_REUSED)
    if done:
        raise Replayed(done)


def _at_revision(made: Person | Account, request: Any) -> None:
    if request.HasField("expected_revision") and request.expected_revision != made.revision:
        raise Refused("ABORTED", "REVISION_MISMATCH")
