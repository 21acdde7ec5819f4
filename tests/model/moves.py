"""What the model makes of holds, and of money that moves from one account to another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from openbank.common.v1.errors_pb2 import ErrorReason
from openbank.holds.v1 import hold_pb2
from openbank.transfers.v1 import transfer_pb2
from tests.callers import Refusal
from tests.model.account import Account, Hold, Movement
from tests.model.fields import Refused, Violations, account_number, amount, check, identifier, read_request, show, text

SECOND = 10**6
TTL_DEFAULT = 7 * 86_400 * SECOND
TTL_RANGE = (SECOND, 366 * 86_400 * SECOND)


class Moves:
    """The part of `Model` that knows them."""

    accounts: dict[str, Account]
    transfers: dict[str, Sent]
    """By id."""
    now: int
    clock_error: int

    def _account(self, rpc: str, request: Any, wrong: Violations, *fields: str) -> Account:
        raise NotImplementedError

    def _of_account(self, rpc: str, account: Account | None, request: Any) -> Account:
        raise NotImplementedError

    def by_number(self, number: str) -> str | None:
        raise NotImplementedError

    def expire(self) -> None:
        """What the bank records sooner or later, whether anybody writes or not."""
        for account in self.accounts.values():
            due = [hold for hold in account.holds.values() if hold.state == "OPEN" and hold.expire_time <= self.now]
            for hold in sorted(due, key=lambda hold: (hold.expire_time, hold.id)):
                hold.state, hold.remaining = "EXPIRED", 0
                account.record("")

    def PlaceHold(self, request: Any, outcome: Any) -> Any:
        wrong = read_request(request)
        held = amount(wrong, request)
        text(wrong, "description", request.description, 500, required=False)
        ends = self.now + TTL_DEFAULT
        if request.HasField("ttl"):
            ends = self.now + _micros(request.ttl)
        elif request.HasField("expire_time"):
            ends = _micros(request.expire_time)
        if not TTL_RANGE[0] <= ends - self.now <= TTL_RANGE[1]:
            wrong["ttl" if request.HasField("ttl") else "expire_time"] = "INVALID_EXPIRATION"
        account = self._account("PlaceHold", request, wrong, "amount", "description", "ttl", "expire_time")
        minor = account.spend(held, self.now)
        hold = Hold(_made(outcome), minor, minor, ends, request.description.strip())
        if not isinstance(outcome, Refusal):
            answered = _micros(outcome.hold.expire_time)
            assert abs(answered - ends) <= self.clock_error
            hold.expire_time = answered
        account.holds[hold.id] = hold
        return account, hold

    def CaptureHold(self, request: Any, outcome: Any) -> Any:
        wrong = read_request(request)
        identifier(wrong, "hold_id", request.hold_id)
        paid = amount(wrong, request, required=False)
        text(wrong, "description", request.description, 500, required=False)
        account = self._account("CaptureHold", request, wrong, "hold_id", "amount", "description")
        account.may_debit()
        hold, minor = account.taken(request.hold_id, paid)
        hold.captured += minor
        hold.remaining -= minor
        account.balance -= minor
        account.happens = Movement(-minor)
        if request.release_remainder:
            hold.remaining = 0
        if not hold.remaining:
            hold.state = "CAPTURED"
        return account, hold

    def ReleaseHold(self, request: Any, outcome: Any) -> Any:
        wrong = read_request(request)
        identifier(wrong, "hold_id", request.hold_id)
        text(wrong, "description", request.description, 500, required=False)
        account = self._account("ReleaseHold", request, wrong, "hold_id", "description")
        hold = account.open_hold(request.hold_id)
        hold.state, hold.remaining = "RELEASED", 0
        return account, hold

    def CreateTransfer(self, request: Any, outcome: Any) -> Any:
        wrong, source_id = read_request(request), request.source_account_id
        identifier(wrong, "source_account_id", source_id)
        field = self._read_destination(wrong, request)
        paid = amount(wrong, request)
        text(wrong, "description", request.description, 500, required=False)
        identifier(wrong, "hold_id", request.hold_id, required=False)
        known = ("request_id", "expected_revision", "source_account_id", "destination", "amount", "description")
        destination_id = self._destination_id(request)
        try:
            check(wrong, (*known, "hold_id"))
        except Refused:
            # To look the number up takes a request that can be a replay: not all that are wrong can.
            if isinstance(outcome, Refusal) and field in outcome.violations and destination_id == source_id:
                wrong.setdefault(field, "SAME_ACCOUNT")
            raise
        if destination_id == source_id:
            check({field: "SAME_ACCOUNT"}, (field,))
        bound = type(request)()
        bound.CopyFrom(request)
        # A number stands for the account that has it, so that a replay means the same account.
        bound.destination_account_id = destination_id
        source = self._of_account("CreateTransfer", self.accounts.get(source_id), bound)
        # The source's refusals come first, and one of the destination's leaves the source as it is.
        trial = replace(source, holds={id: replace(hold) for id, hold in source.holds.items()})
        self._sent(trial, request, paid)
        destination = self.accounts.get(destination_id)
        if destination is None:
            raise Refused("NOT_FOUND", "ACCOUNT_NOT_FOUND")
        if destination.currency != source.currency:
            check({"amount.currency_code": "CURRENCY_MISMATCH"}, ("amount",))
        minor = destination.credit(paid)
        destination.has_room(minor)
        source.balance -= self._sent(source, request, paid)
        source.happens = Movement()
        return source, Sent(destination, minor, bound, bound)

    def ReverseMovement(self, request: Any, outcome: Any) -> Any:
        wrong = read_request(request)
        if not request.revision:
            wrong["revision"] = "FIELD_REQUIRED"
        text(wrong, "description", request.description, 500, required=False)
        account = self._account("ReverseMovement", request, wrong, "revision", "description")
        movement = account.movements.get(request.revision)
        if movement is None:
            raise Refused("NOT_FOUND", "MOVEMENT_NOT_FOUND")
        if not movement.minor:
            raise Refused("FAILED_PRECONDITION", "NOT_REVERSIBLE")
        may_move = account.may_debit if movement.minor > 0 else account.may_credit
        may_move()
        if movement.reversed:
            raise Refused("FAILED_PRECONDITION", "ALREADY_REVERSED")
        if movement.minor > 0:
            account.give_back(movement.minor, overdraw=request.allow_overdraw)
        else:
            account.has_room(-movement.minor)
            account.balance -= movement.minor
        movement.reversed, account.happens = True, Movement()
        return account

    def ReverseTransfer(self, request: Any, outcome: Any) -> Any:
        wrong = read_request(request)
        identifier(wrong, "transfer_id", request.transfer_id)
        text(wrong, "description", request.description, 500, required=False)
        check(wrong, ("request_id", "expected_revision", "transfer_id", "description"))
        sent = self.transfers.get(request.transfer_id)
        if sent is None:
            raise Refused("NOT_FOUND", "TRANSFER_NOT_FOUND")
        payee_id, payer_id = sent.request.destination_account_id, sent.request.source_account_id
        payee = self._of_account("ReverseTransfer", self.accounts[payee_id], request)
        payer = self.accounts[payer_id]
        if sent.reverses:
            raise Refused("FAILED_PRECONDITION", "NOT_REVERSIBLE")
        payee.may_debit()
        if sent.reversed:
            raise Refused("FAILED_PRECONDITION", "ALREADY_REVERSED")
        trial = replace(payee)
        trial.give_back(sent.minor, overdraw=request.allow_overdraw)
        payer.may_credit()
        payer.has_room(sent.minor)
        payee.balance = trial.balance
        payee.happens, sent.reversed = Movement(), True
        ends = type(sent.request)(
            source_account_id=payee_id, destination_account_id=payer_id, description=request.description
        )
        return payee, Sent(payer, sent.minor, ends, request, request.transfer_id)

    def _read_destination(self, wrong: Violations, request: Any) -> str:
        """The name of the field that names it."""
        if request.WhichOneof("destination") == "destination_account_number":
            account_number(wrong, request.destination_account_number, "destination_account_number")
            return "destination_account_number"
        identifier(wrong, "destination_account_id", request.destination_account_id)
        if request.destination_account_id == request.source_account_id and request.source_account_id:
            wrong.setdefault("destination_account_id", "SAME_ACCOUNT")
        return "destination_account_id"

    def _destination_id(self, request: Any) -> str:
        if number := request.destination_account_number:
            return self.by_number(number) or ""
        return str(request.destination_account_id)

    def _sent(self, source: Account, request: Any, paid: Any) -> int:
        if not request.hold_id:
            return source.spend(paid, self.now)
        source.may_debit()
        hold, minor = source.taken(request.hold_id, paid)
        hold.captured += minor
        hold.remaining -= minor
        if not hold.remaining:
            hold.state = "CAPTURED"
        return minor


class Sent:
    """A transfer that was sent. It arrives right after."""

    def __init__(self, destination: Account, minor: int, request: Any, asked: Any, reverses: str = "") -> None:
        """`request` names the destination by its id. `asked` is what the caller asked for."""
        self.destination, self.minor, self.request, self.asked = destination, minor, request, asked
        self.reverses = reverses
        """The id of the transfer that this one takes back."""
        self.reversed = False

    def arrive(self) -> None:
        self.destination.balance += self.minor
        self.destination.happens = Movement()
        self.destination.record("")


def same_hold(answered: Any, account_id: str, account: Account, hold: Hold) -> None:
    amounts = (answered.amount, answered.captured_amount, answered.remaining_amount)
    assert amounts == tuple(show(account.currency, minor) for minor in (hold.amount, hold.captured, hold.remaining))
    assert answered.state == hold_pb2.HoldState.Value(f"HOLD_STATE_{hold.state}")
    assert (answered.hold_id, answered.account_id, answered.description) == (hold.id, account_id, hold.description)
    assert _micros(answered.expire_time) == hold.expire_time


def same_transfer(answered: Any, source: Account, sent: Sent) -> None:
    request = sent.request
    assert answered.state == transfer_pb2.TRANSFER_STATE_COMPLETED
    assert answered.refusal_reason == ErrorReason.ERROR_REASON_UNSPECIFIED
    accounts = answered.source_account_id, answered.destination_account_id
    assert accounts == (request.source_account_id, request.destination_account_id)
    assert answered.amount == show(source.currency, sent.minor)
    assert (answered.description, answered.hold_id) == (request.description.strip(), request.hold_id)
    assert (answered.reverses_transfer_id, answered.reversed_by_transfer_id) == (sent.reverses, "")
    assert (answered.sent_revision, answered.received_revision) == (source.revision, sent.destination.revision)


def _made(outcome: Any) -> str:
    return "" if isinstance(outcome, Refusal) else str(outcome.hold.hold_id)


def _micros(time: Timestamp | Duration) -> int:
    """Between two of them it is the later."""
    return time.seconds * SECOND - -time.nanos // 1000
