"""The bank as a page of Python: what it promises its callers, without speed, disks or anyone else at the same time."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from tests.callers import Refusal
from tests.model.account import (
    ACTIVE,
    BALANCE_MAX,
    CLOSED,
    CREDITS_FROZEN,
    DEBITS_FROZEN,
    FROZEN,
    STATES,
    TIME_ZONES,
    Account,
    Done,
    Movement,
    Person,
    same_account,
)
from tests.model.fields import (
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
    text,
)
from tests.model.moves import Moves, Sent, same_hold, same_transfer


class Replayed(Exception):
    """What was asked for was done before."""

    def __init__(self, done: Done) -> None:
        super().__init__(done)
        self.done = done


class Model(Moves):
    def __init__(self, clock_error: int = 0) -> None:
        self.persons: dict[str, Person] = {}
        self.accounts: dict[str, Account] = {}
        self.transfers: dict[str, Sent] = {}
        self.claims: dict[str, Hashable] = {}
        """Request ids of registrations and openings, which are the whole bank's."""
        self.clock_error = clock_error
        self.now = 0
        """By the bank's clock, in microseconds since 1970 UTC, as near as `clock_error`."""

    def take(self, rpc: str, request: Any, outcome: Any) -> None:
        """Moves to the state of the bank after `outcome`. Raises AssertionError where that is not what it promises."""
        told = _as_told(outcome) if isinstance(outcome, Refusal) else None
        refused, replayed = None, None
        made: Any = None
        self.expire()
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
            if not first.consistency_token or not outcome.consistency_token:
                # Recorded together with others: the first answer's token is that of all.
                first.consistency_token = outcome.consistency_token
            assert outcome == first, f"replayed was {outcome}, first {first}"
            return
        assert not outcome.replayed, "nothing was done before"
        made, part = made if isinstance(made, tuple) else (made, None)
        made.record(outcome.event_id)
        if isinstance(part, Sent):
            part.arrive()
            same_transfer(outcome.transfer, made, part)
            self.transfers[outcome.transfer.transfer_id] = part
        elif part is not None:
            same_hold(outcome.hold, request.account_id, made, part)
        _same(outcome.person if isinstance(made, Person) else outcome.account, made)
        if request.request_id:
            asked = part.asked if isinstance(part, Sent) else request
            made.done[request.request_id.lower()] = Done(_fingerprint(rpc, asked), outcome)

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
        account.has_room(minor)
        account.balance += minor
        account.happens = Movement(minor)
        return account

    def Withdraw(self, request: Any, outcome: Any) -> Any:
        wrong = read_request(request)
        paid = amount(wrong, request)
        account = self._account("Withdraw", request, wrong, "amount")
        minor = account.spend(paid, self.now)
        account.balance -= minor
        account.happens = Movement(-minor)
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
        if account.balance or account.held:
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
        return self._of_account(rpc, self.accounts.get(request.account_id), request)

    def _of_account(self, rpc: str, account: Account | None, request: Any) -> Account:
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
    if rpc == "CreateTransfer":
        parties = request.source_account_id, request.destination_account_id
        return rpc, *parties, request.description.strip(), request.hold_id, amount({}, request)
    texts = (getattr(request, name, "").strip() for name in ("description", "reason", "time_zone", "hold_id"))
    plain = ("ttl", "expire_time", "release_remainder", "revision", "transfer_id", "allow_overdraw")
    ends = [str(getattr(request, name, "")) for name in plain]
    amounts = (
        amount({}, request, name)
        for name in ("amount", "limit", "per_transaction", "per_day")
        if hasattr(request, name)
    )
    return rpc, getattr(request, "account_id", ""), getattr(request, "state", 0), *texts, *ends, *amounts


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
