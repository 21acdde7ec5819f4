"""The bank as a page of Python: what it promises its callers, without speed, disks or anyone else at the same time."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from openbank.common.v1.money_pb2 import Money
from tests.callers import Refusal

EXPONENTS = {"USD": 2, "JPY": 0, "KWD": 3}
BALANCE_MAX = 2**53 - 1
LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
HEXADECIMAL = frozenset("0123456789abcdefABCDEF")

Violations = dict[str, str]
"""Reasons by field."""


class Refused(Exception):
    def __init__(self, code: str, reason: str, violations: Violations | None = None) -> None:
        super().__init__(code, reason, violations)


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


@dataclass
class Account:
    owner_id: str
    number: str
    currency: str
    balance: int
    revision: int = 0
    done: dict[str, Done] = field(default_factory=dict)
    events: list[tuple[str, int]] = field(default_factory=list)
    """Their ids and the balances after them."""


class Model:
    def __init__(self) -> None:
        self.persons: dict[str, Person] = {}
        self.accounts: dict[str, Account] = {}
        self.claims: dict[str, Hashable] = {}
        """Request ids of registrations and openings, which are the whole bank's."""

    def take(self, rpc: str, request: Any, outcome: Any) -> None:
        """Goes on to where the bank is after `outcome`. Raises AssertionError where that is not what it promises."""
        told = _as_told(outcome) if isinstance(outcome, Refusal) else None
        refused, replayed = None, False
        made: Any = None
        try:
            replayed, made = getattr(self, rpc)(request, outcome)
        except Refused as error:
            refused = error.args
        assert told == refused, f"answered was {told or outcome}, expected {refused or 'an answer'}"
        if refused:
            return
        if replayed:
            first = type(outcome).FromString(made.answer.SerializeToString())
            first.replayed = True
            assert outcome == first
            return
        assert not outcome.replayed
        made.revision += 1
        _same(outcome.person if isinstance(made, Person) else outcome.account, made)
        if request.request_id:
            made.done[request.request_id.lower()] = Done(_fingerprint(rpc, request), outcome)
        if isinstance(made, Account):
            made.events.append((outcome.event_id, made.balance))

    def RegisterPerson(self, request: Any, outcome: Any) -> tuple[bool, Any]:
        wrong = _request(request)
        _identifier(wrong, "person_id", request.person_id, required=False)
        _text(wrong, "first_name", request.first_name, 100)
        _text(wrong, "address.city", request.address.city, 100)
        _check(wrong, ("request_id", "person_id", "first_name", "address.city"))
        person_id = request.person_id or _made(outcome, "person")
        if replay := self._claimed("RegisterPerson", request, self.persons):
            return True, replay
        if person_id in self.persons:
            raise Refused("ALREADY_EXISTS", "PERSON_ALREADY_EXISTS")
        self._claim("RegisterPerson", request)
        made = self.persons[person_id] = Person(request.first_name.strip(), request.address.city.strip())
        return False, made

    def UpdateAddress(self, request: Any, outcome: Any) -> tuple[bool, Any]:
        wrong = _request(request)
        _identifier(wrong, "person_id", request.person_id)
        _text(wrong, "address.city", request.address.city, 100)
        _check(wrong, ("request_id", "expected_revision", "person_id", "address.city"))
        person = self.persons.get(request.person_id)
        if person and (replay := _replay(person, "UpdateAddress", request)):
            return True, replay
        if person is None:
            raise Refused("NOT_FOUND", "PERSON_NOT_FOUND")
        _at_revision(person, request)
        person.city = request.address.city.strip()
        return False, person

    def OpenAccount(self, request: Any, outcome: Any) -> tuple[bool, Any]:
        wrong = _request(request)
        _identifier(wrong, "account_id", request.account_id, required=False)
        _identifier(wrong, "owner_id", request.owner_id)
        _number(wrong, request.account_number)
        currency, balance = _initial_deposit(wrong, request)
        order = ("request_id", "account_id", "owner_id", "account_number", "currency_code", "initial_deposit")
        _check(wrong, order)
        account_id = request.account_id or _made(outcome, "account")
        if replay := self._claimed("OpenAccount", request, self.accounts):
            return True, replay
        if account_id in self.accounts:
            raise Refused("ALREADY_EXISTS", "ACCOUNT_ALREADY_EXISTS")
        if balance > BALANCE_MAX:
            raise Refused("FAILED_PRECONDITION", "BALANCE_LIMIT_EXCEEDED")
        if request.owner_id not in self.persons:
            raise Refused("NOT_FOUND", "OWNER_NOT_FOUND")
        if self.by_number(request.account_number):
            raise Refused("ALREADY_EXISTS", "ACCOUNT_NUMBER_TAKEN")
        self._claim("OpenAccount", request)
        number = _number_as_kept(request.account_number)
        made = self.accounts[account_id] = Account(request.owner_id, number, currency, balance)
        return False, made

    def Deposit(self, request: Any, outcome: Any) -> tuple[bool, Any]:
        return self._move("Deposit", request, 1)

    def Withdraw(self, request: Any, outcome: Any) -> tuple[bool, Any]:
        return self._move("Withdraw", request, -1)

    def _move(self, rpc: str, request: Any, sign: int) -> tuple[bool, Any]:
        wrong = _request(request)
        _identifier(wrong, "account_id", request.account_id)
        currency, minor = _money(wrong, "amount", request.amount) if request.HasField("amount") else ("", 0)
        if not request.HasField("amount"):
            wrong["amount"] = "FIELD_REQUIRED"
        elif "amount.nanos" not in wrong and minor <= 0:
            wrong["amount"] = "AMOUNT_NOT_POSITIVE"
        _check(wrong, ("request_id", "expected_revision", "account_id", "amount"))
        account = self.accounts.get(request.account_id)
        if account and (replay := _replay(account, rpc, request)):
            return True, replay
        if account is None:
            raise Refused("NOT_FOUND", "ACCOUNT_NOT_FOUND")
        _at_revision(account, request)
        if currency != account.currency:
            _check({"amount.currency_code": "CURRENCY_MISMATCH"}, ("amount",))
        if sign < 0 and minor > account.balance:
            raise Refused("FAILED_PRECONDITION", "INSUFFICIENT_FUNDS")
        if account.balance + sign * minor > BALANCE_MAX:
            raise Refused("FAILED_PRECONDITION", "BALANCE_LIMIT_EXCEEDED")
        account.balance += sign * minor
        return False, account

    def by_number(self, number: str) -> str | None:
        """The id of the account that has it."""
        found = (id for id, account in self.accounts.items() if _compared(account.number) == _compared(number))
        return next(found, None)

    def _claimed(self, rpc: str, request: Any, made: Mapping[str, Person | Account]) -> Done | None:
        """The same request, where it was done; its id is no other request's in the whole bank."""
        request_id = request.request_id.lower()
        if request_id and self.claims.get(request_id, _fingerprint(rpc, request)) != _fingerprint(rpc, request):
            raise Refused(*_REUSED)
        named = made.get(request.person_id if rpc == "RegisterPerson" else request.account_id)
        if named and (replay := _replay(named, rpc, request)):
            return replay
        # A movement of some account may have the same id: it is that account's own.
        found = (one.done[request_id] for one in made.values() if request_id in one.done)
        return next((done for done in found if done.fingerprint == _fingerprint(rpc, request)), None)

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
        assert answered.balance == answered.available_balance == show(made.currency, made.balance)


def _as_told(refusal: Refusal) -> tuple[str, str, Violations | None]:
    """As `Refused` has it."""
    return refusal.code.name, refusal.reason, refusal.violations if "BadRequest" in refusal.details else None


_REUSED = ("INVALID_ARGUMENT", "REQUEST_ID_REUSED", {"request_id": "REQUEST_ID_REUSED"})


def show(currency: str, minor: int) -> Money:
    scale = 10 ** EXPONENTS[currency]
    return Money(currency_code=currency, units=minor // scale, nanos=minor % scale * (10**9 // scale))


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
        return rpc, *parts, *_initial_deposit({}, request)
    return rpc, request.account_id, request.description.strip(), *_money({}, "amount", request.amount)


def _replay(made: Person | Account, rpc: str, request: Any) -> Done | None:
    done = made.done.get(request.request_id.lower())
    if done and done.fingerprint != _fingerprint(rpc, request):
        raise Refused(*_REUSED)
    return done


def _at_revision(made: Person | Account, request: Any) -> None:
    if request.HasField("expected_revision") and request.expected_revision != made.revision:
        raise Refused("ABORTED", "REVISION_MISMATCH")


def _check(wrong: Violations, order: Iterable[str]) -> None:
    """All at once; the first, in the order of the fields, is the reason of the whole."""
    for name in order:
        for path, reason in wrong.items():
            if path.startswith(name):
                raise Refused("INVALID_ARGUMENT", reason, wrong)


def _request(request: Any) -> Violations:
    wrong = {}
    sizes = [len(part) for part in request.request_id.split("-")]
    digits = set(request.request_id) - {"-"}
    if request.request_id and (
        digits in ({"0"}, {"f"}, {"F"}, {"f", "F"})
        or sizes != [8, 4, 4, 4, 12]
        or not set(request.request_id) <= HEXADECIMAL | {"-"}
    ):
        wrong["request_id"] = "INVALID_REQUEST_ID"
    if getattr(request, "expected_revision", 1) < 1 and request.HasField("expected_revision"):
        wrong["expected_revision"] = "INVALID_EXPECTED_REVISION"
    return wrong


def _identifier(wrong: Violations, path: str, value: str, *, required: bool = True) -> None:
    if not value and required:
        wrong[path] = "FIELD_REQUIRED"
    elif len(value) > 64 or not set(value) <= LETTERS:
        wrong[path] = "INVALID_ID"


def _text(wrong: Violations, path: str, value: str, length_max: int) -> None:
    text = value.strip()
    if not text:
        wrong[path] = "FIELD_REQUIRED"
    elif len(text) > length_max:
        wrong[path] = "FIELD_TOO_LONG"
    elif any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text):
        wrong[path] = "INVALID_TEXT"
    elif set(text) <= {"\u200b", "\u2800", "\u0301"}:
        wrong[path] = "FIELD_REQUIRED"


def _number(wrong: Violations, value: str) -> None:
    number = _number_as_kept(value)
    if not number:
        wrong["account_number"] = "FIELD_REQUIRED"
    elif len(_compared(number)) > 34 or len(number) > 136:
        wrong["account_number"] = "FIELD_TOO_LONG"
    elif not (set(number) <= LETTERS - {"_"} | {" "} and number.strip("- ")):
        wrong["account_number"] = "INVALID_ACCOUNT_NUMBER"


def _number_as_kept(value: str) -> str:
    return value.strip().replace("\t", " ").replace("\u00a0", " ").replace("\u2011", "-")


def _compared(number: str) -> str:
    return _number_as_kept(number).replace(" ", "").replace("-", "").upper()


def _initial_deposit(wrong: Violations, request: Any) -> tuple[str, int]:
    chosen = request.currency_code
    if chosen and chosen not in EXPONENTS:
        wrong["currency_code"] = "UNKNOWN_CURRENCY"
    sent = request.initial_deposit
    if sent == Money():
        return chosen or "USD", 0
    currency, minor = _money(wrong, "initial_deposit", sent)
    if "initial_deposit.nanos" not in wrong and minor < 0:
        wrong["initial_deposit"] = "AMOUNT_NEGATIVE"
    if chosen in EXPONENTS and currency in EXPONENTS and chosen != currency:
        wrong["initial_deposit.currency_code"] = "CURRENCY_MISMATCH"
    return currency, minor


def _money(wrong: Violations, path: str, sent: Money) -> tuple[str, int]:
    """In smallest units; of a currency that is not known, in billionths."""
    if sent.currency_code not in EXPONENTS:
        wrong[f"{path}.currency_code"] = "UNKNOWN_CURRENCY" if sent.currency_code else "FIELD_REQUIRED"
    billionths = sent.units * 10**9 + sent.nanos
    minor, rest = divmod(billionths, 10 ** (9 - EXPONENTS.get(sent.currency_code, 9)))
    if abs(sent.nanos) > 999_999_999:
        wrong[f"{path}.nanos"] = "AMOUNT_OUT_OF_RANGE"
    elif sent.units * sent.nanos < 0:
        wrong[f"{path}.nanos"] = "AMOUNT_SIGNS_DIFFER"
    elif rest:
        wrong[f"{path}.nanos"] = "AMOUNT_TOO_PRECISE"
    return sent.currency_code, minor
