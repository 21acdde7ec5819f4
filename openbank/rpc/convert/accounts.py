"""Accounts and their events."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TypeVar

from google.protobuf.message import DecodeError

from openbank.accounts.v1 import account_pb2
from openbank.accounts.v1.account_events_pb2 import AccountEvent, AccountEventType
from openbank.accounts.v1.accounts_service_pb2 import (
    DepositRequest,
    GetAccountResponse,
    OpenAccountRequest,
    WithdrawRequest,
)
from openbank.domain import fields as limits
from openbank.domain.account import (
    Account,
    AccountState,
    Deposit,
    OpenAccount,
    Withdraw,
    currency_mismatch,
    finer_than,
    negative,
    not_positive,
)
from openbank.domain.errors import Violation
from openbank.domain.fields import Fields
from openbank.domain.money import Currency, Money
from openbank.domain.request import Request
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import RecordedEvent
from openbank.rpc.call import Call
from openbank.rpc.convert.events import Events
from openbank.rpc.convert.values import (
    CURRENCIES,
    fill_money,
    fill_time,
    read_currency,
    read_money,
    read_request,
    read_request_at_revision,
)
from openbank.storage.v1.account_payload_pb2 import AccountPayload

EVENTS = Events(AccountEvent, AccountEventType)
ENCODED_MAX = 20_000
"""Accounts kept encoded, of some 200 bytes each; when there are as many, it begins anew."""
DEFAULT_CURRENCY = "USD"

_STATES = {
    AccountState.ACTIVE: account_pb2.ACCOUNT_STATE_ACTIVE,
    AccountState.FROZEN: account_pb2.ACCOUNT_STATE_FROZEN,
    AccountState.CLOSED: account_pb2.ACCOUNT_STATE_CLOSED,
}

_BY_TABLE = frozenset({"UNKNOWN_CURRENCY", "AMOUNT_TOO_PRECISE"})

Movement = TypeVar("Movement", Deposit, Withdraw)


def read_open_account(message: OpenAccountRequest, call: Call) -> tuple[OpenAccount, Request]:
    fields = Fields()
    request = read_request(fields, message, call)
    command = OpenAccount(
        fields.identifier("account_id", message.account_id, required=False),
        fields.identifier("owner_id", message.owner_id),
        fields.account_number("account_number", message.account_number),
        _read_initial_deposit(fields, message),
    )
    return command, fields.settle(request)


def _read_initial_deposit(fields: Fields, message: OpenAccountRequest) -> Money:
    """The account's currency is currency_code, else the initial deposit's, else USD; unset, the deposit is zero."""
    sent = message.initial_deposit
    if not (sent.currency_code or sent.units or sent.nanos):
        return Money(read_currency(fields, "currency_code", message.currency_code or DEFAULT_CURRENCY), 0)
    chosen = read_currency(fields, "currency_code", message.currency_code) if message.currency_code else None
    deposit = read_money(fields, "initial_deposit", sent)
    if deposit.minor < 0 and _has_decimals_of_table(deposit):
        _refuse_sign(fields, negative("initial_deposit", deposit), deposit)
    if chosen and chosen.code != deposit.currency.code:
        # The command has one currency, so it can't say all that was sent.
        fields.readable = False
        if chosen.code in CURRENCIES and deposit.currency.code in CURRENCIES:
            fields.violations.append(currency_mismatch("initial_deposit.currency_code", chosen, deposit.currency))
    return deposit


def read_deposit(message: DepositRequest, call: Call) -> tuple[Deposit, Request]:
    return _read_movement(Deposit, message, call)


def read_withdraw(message: WithdrawRequest, call: Call) -> tuple[Withdraw, Request]:
    return _read_movement(Withdraw, message, call)


def _read_movement(
    movement: type[Movement], message: DepositRequest | WithdrawRequest, call: Call
) -> tuple[Movement, Request]:
    fields = Fields()
    request = read_request_at_revision(fields, message, call)
    command = movement(
        fields.identifier("account_id", message.account_id),
        _read_amount(fields, message),
        fields.text("description", message.description, limits.DESCRIPTION_LENGTH_MAX, lines=True),
    )
    if fields.violations:
        request = _settle_movement(fields, request, command.amount)
    return command, request


def _settle_movement(fields: Fields, request: Request, amount: Money) -> Request:
    """As `Fields.settle`; and what the currency table alone has against an amount is nothing to an account that is in
    this currency: its own decimals count.
    """
    by_rule = [violation for violation in fields.violations if violation.reason not in _BY_TABLE]
    if not fields.readable or (by_rule and not request.id):
        fields.check()

    def violations(account: Account | None) -> Sequence[Violation]:
        if account is None or account.currency.code != amount.currency.code:
            return fields.violations
        return [*finer_than(account.currency, amount), *by_rule]

    return request._replace(violations=violations)


def _read_amount(fields: Fields, message: DepositRequest | WithdrawRequest) -> Money:
    if not message.HasField("amount"):
        fields.unreadable("amount", "FIELD_REQUIRED", "is required")
        return Money(Currency("", 0), 1)
    amount = read_money(fields, "amount", message.amount)
    if amount.minor <= 0 and _has_decimals_of_table(amount):
        _refuse_sign(fields, not_positive("amount", amount), amount)
    return amount


def _has_decimals_of_table(amount: Money) -> bool:
    """One that is too precise is refused for that alone."""
    return amount.currency == CURRENCIES.get(amount.currency.code, amount.currency)


def _refuse_sign(fields: Fields, violation: Violation, amount: Money) -> None:
    """Without its figures where the amount names no currency to show them in."""
    if amount.currency.code not in CURRENCIES:
        fields.refuse(violation.field, violation.reason, "is too little in any currency")
    else:
        fields.violations.append(violation)


def fill_account(message: account_pb2.Account, account: Versioned[Account]) -> None:
    state = account.state
    message.account_id = state.account_id
    message.owner_id = state.owner_id
    message.account_number = state.account_number
    fill_money(message.balance, state.balance)
    if state.available == state.balance:
        message.available_balance.MergeFrom(message.balance)
    else:
        fill_money(message.available_balance, state.available)
    message.state = _STATES[state.state]
    fill_time(message.create_time, account.create_time)
    fill_time(message.update_time, account.update_time)
    message.revision = account.revision


class EncodedAccounts:
    """Accounts as they stand in a response that has nothing else: as the field 1, be it one account or many.

    An account at a revision is what it is for ever, so it is encoded once. Encoded messages that follow one another are
    one message, so that a response is its accounts' bytes and those of the rest.
    """

    def __init__(self) -> None:
        self._encoded: dict[tuple[str, int], bytes] = {}

    def encode(self, account: Versioned[Account]) -> bytes:
        key = (account.state.account_id, account.revision)
        encoded = self._encoded.get(key)
        if encoded is None:
            response = GetAccountResponse()
            fill_account(response.account, account)
            if len(self._encoded) >= ENCODED_MAX:
                self._encoded.clear()
            encoded = self._encoded[key] = response.SerializeToString()
        return encoded


def fill_account_event(message: AccountEvent, event: RecordedEvent) -> None:
    message.account_id = EVENTS.fill(message, event)
    message.owner_id = event.metadata.owner_id
    payload = message.WhichOneof("payload")
    if payload:
        message.balance.CopyFrom(getattr(message, payload).balance_after)
    else:
        # A newer version has added the type. What all payloads have in common can be read all the same.
        with suppress(DecodeError):
            message.balance.CopyFrom(AccountPayload.FromString(event.data).balance_after)
