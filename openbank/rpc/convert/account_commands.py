"""Requests to commands on accounts."""

from __future__ import annotations

from importlib.resources import files
from typing import Literal, TypeVar

from openbank.accounts.v1.accounts_service_pb2 import (
    CloseAccountRequest,
    DepositRequest,
    FreezeAccountRequest,
    OpenAccountRequest,
    ReverseMovementRequest,
    SetOverdraftLimitRequest,
    SetSpendingLimitsRequest,
    UnfreezeAccountRequest,
    WithdrawRequest,
)
from openbank.domain import fields as limits
from openbank.domain.amounts import currency_mismatch, negative, not_positive
from openbank.domain.controls import FREEZES, AccountState
from openbank.domain.fields import Fields
from openbank.domain.limits import SetOverdraftLimit, SetSpendingLimits
from openbank.domain.money import Currency, Money
from openbank.domain.movements import Deposit, OpenAccount, Withdraw
from openbank.domain.request import Request
from openbank.domain.reversals import ReverseMovement
from openbank.domain.states import CloseAccount, FreezeAccount, UnfreezeAccount
from openbank.rpc.call import Call
from openbank.rpc.convert.accounts import STATES
from openbank.rpc.convert.amounts import (
    has_decimals_of_table,
    in_equal_decimals,
    read_amount,
    refuse_sign,
    settle_amount,
    settle_amounts,
)
from openbank.rpc.convert.tags import read_tags
from openbank.rpc.convert.values import CURRENCIES, read_currency, read_money, read_request, read_request_at_revision

DEFAULT_CURRENCY = "USD"

TIME_ZONES = frozenset((files("tzdata") / "zones").read_text().split())
"""Exact names of the IANA database. A system's own directory may have others, such as `localtime`, which differ from
instance to instance, and listing it takes milliseconds."""

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
    if deposit.minor < 0 and has_decimals_of_table(deposit):
        refuse_sign(fields, negative("initial_deposit", deposit), deposit)
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
        read_amount(fields, message),
        fields.text("description", message.description, limits.DESCRIPTION_LENGTH_MAX, lines=True),
        read_tags(fields, message),
    )
    if fields.violations:
        request = settle_amount(fields, request, command.amount)
    return command, request


def read_reverse_movement(message: ReverseMovementRequest, call: Call) -> tuple[ReverseMovement, Request]:
    fields = Fields()
    request = read_request_at_revision(fields, message, call)
    account_id = fields.identifier("account_id", message.account_id)
    if not message.revision:
        fields.unreadable("revision", "FIELD_REQUIRED", "is required: the revision of the movement's event")
    description = fields.text("description", message.description, limits.DESCRIPTION_LENGTH_MAX, lines=True)
    command = ReverseMovement(account_id, message.revision, description, message.allow_overdraw)
    return command, fields.settle(request)


def read_freeze_account(message: FreezeAccountRequest, call: Call) -> tuple[FreezeAccount, Request]:
    fields = Fields()
    request = read_request_at_revision(fields, message, call)
    command = FreezeAccount(
        fields.identifier("account_id", message.account_id),
        _read_freeze(fields, message.state),
        fields.text("reason", message.reason, limits.DESCRIPTION_LENGTH_MAX, required=True, lines=True),
    )
    return command, fields.settle(request)


def _read_freeze(fields: Fields, number: int) -> AccountState:
    for state in FREEZES:
        if number == STATES[state]:
            return state
    if number:
        fields.unreadable("state", "UNKNOWN_ENUM_VALUE", "must be FROZEN, DEBITS_FROZEN or CREDITS_FROZEN")
    else:
        fields.unreadable("state", "FIELD_REQUIRED", "is required: FROZEN, DEBITS_FROZEN or CREDITS_FROZEN")
    return AccountState.FROZEN


def read_unfreeze_account(message: UnfreezeAccountRequest, call: Call) -> tuple[UnfreezeAccount, Request]:
    fields = Fields()
    request = read_request_at_revision(fields, message, call)
    return UnfreezeAccount(fields.identifier("account_id", message.account_id)), fields.settle(request)


def read_close_account(message: CloseAccountRequest, call: Call) -> tuple[CloseAccount, Request]:
    fields = Fields()
    request = read_request_at_revision(fields, message, call)
    command = CloseAccount(
        fields.identifier("account_id", message.account_id),
        fields.text("reason", message.reason, limits.DESCRIPTION_LENGTH_MAX, lines=True),
    )
    return command, fields.settle(request)


def read_set_overdraft_limit(message: SetOverdraftLimitRequest, call: Call) -> tuple[SetOverdraftLimit, Request]:
    fields = Fields()
    request = read_request_at_revision(fields, message, call)
    account_id = fields.identifier("account_id", message.account_id)
    if not message.HasField("limit"):
        fields.unreadable("limit", "FIELD_REQUIRED", "is required")
        return SetOverdraftLimit(account_id, Money(Currency("", 0), 0)), fields.settle(request)
    limit = read_money(fields, "limit", message.limit)
    if limit.minor < 0 and has_decimals_of_table(limit):
        refuse_sign(fields, negative("limit", limit), limit)
    if fields.violations:
        request = settle_amount(fields, request, limit, "limit")
    return SetOverdraftLimit(account_id, limit), request


def read_set_spending_limits(message: SetSpendingLimitsRequest, call: Call) -> tuple[SetSpendingLimits, Request]:
    fields = Fields()
    request = read_request_at_revision(fields, message, call)
    account_id = fields.identifier("account_id", message.account_id)
    read = {
        "per_transaction": _read_limit(fields, message, "per_transaction"),
        "per_day": _read_limit(fields, message, "per_day"),
    }
    amounts = in_equal_decimals({name: limit for name, limit in read.items() if limit is not None})
    zone = _read_time_zone(fields, message.time_zone)
    if fields.violations:
        request = settle_amounts(fields, request, amounts)
    return SetSpendingLimits(account_id, amounts.get("per_transaction"), amounts.get("per_day"), zone), request


def _read_limit(
    fields: Fields, message: SetSpendingLimitsRequest, name: Literal["per_transaction", "per_day"]
) -> Money | None:
    if not message.HasField(name):
        return None
    limit = read_money(fields, name, getattr(message, name))
    if limit.minor <= 0 and has_decimals_of_table(limit):
        refuse_sign(fields, not_positive(name, limit), limit)
    return limit


def _read_time_zone(fields: Fields, name: str) -> str:
    if name and name not in TIME_ZONES:
        fields.refuse("time_zone", "UNKNOWN_TIME_ZONE", "must be a name of the IANA database, such as Europe/Zurich")
    return name
