"""The event types of accounts.

A new one is a row in ROWS: `account_event` with its fields. The oldest types have functions of their own: two are on
the hottest path, and the first event of a stream states less.
"""

from __future__ import annotations

from typing import TypeVar

from openbank.accounts.v1 import account_events_pb2 as messages
from openbank.codec.by_fields import (
    account_event,
    account_state,
    error_reason,
    flag,
    foreign_money,
    money,
    number,
    optional_money,
    spending_limits,
    spent,
    tags,
    text,
    time,
)
from openbank.codec.event_type import EventType
from openbank.codec.values import check_currency, currency_of, money_message, money_of
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
from openbank.domain.money import Money, from_units, to_units
from openbank.domain.tags import NO_TAGS

AVAILABLE = optional_money("available_after", "available")
SPENT = spent()
TAGS = tags()

MovementMessage = TypeVar("MovementMessage", messages.MoneyDeposited, messages.MoneyWithdrawn)


def _opened(event: AccountOpened) -> messages.AccountOpened:
    return messages.AccountOpened(
        owner_id=event.owner_id,
        account_number=event.account_number,
        currency_code=event.initial_deposit.currency.code,
        initial_deposit=money_message(event.initial_deposit),
        balance_after=money_message(event.balance_after),
        currency_exponent=event.initial_deposit.currency.exponent,
    )


def _from_opened(message: messages.AccountOpened, account_id: str) -> AccountOpened:
    deposit = money_of(message.initial_deposit, message.currency_exponent)
    if message.balance_after != message.initial_deposit:
        raise ValueError("another balance than the initial deposit")
    check_currency(message.initial_deposit, message.currency_code)
    return AccountOpened(account_id, message.owner_id, message.account_number, deposit)


def _deposited(event: MoneyDeposited) -> messages.MoneyDeposited:
    return _moved(event, messages.MoneyDeposited())


def _withdrawn(event: MoneyWithdrawn) -> messages.MoneyWithdrawn:
    message = _moved(event, messages.MoneyWithdrawn())
    if event.spent is not None:
        SPENT.fill(message, event.spent, event.amount.currency)
    return message


def _moved(event: MoneyDeposited | MoneyWithdrawn, message: MovementMessage) -> MovementMessage:
    """By assignment: building the nested amounts from keywords takes five times as long, on the hottest path."""
    code = event.amount.currency.code
    amount, balance = message.amount, message.balance_after
    amount.currency_code = balance.currency_code = code
    amount.units, amount.nanos = to_units(event.amount)
    balance.units, balance.nanos = to_units(event.balance_after)
    message.description = event.description
    message.currency_exponent = event.amount.currency.exponent
    if event.available is not None:
        message.available_after.CopyFrom(money_message(event.available))
    if event.tags is not NO_TAGS:
        TAGS.fill(message, event.tags, event.amount.currency)
    return message


def _from_deposited(message: messages.MoneyDeposited, _: str) -> MoneyDeposited:
    moved = _moved_of(message)
    return MoneyDeposited(*moved, TAGS.read(message, moved[0].currency))


def _from_withdrawn(message: messages.MoneyWithdrawn, _: str) -> MoneyWithdrawn:
    moved = _moved_of(message)
    currency = moved[0].currency
    return MoneyWithdrawn(*moved, SPENT.read(message, currency), TAGS.read(message, currency))


def _moved_of(message: messages.MoneyDeposited | messages.MoneyWithdrawn) -> tuple[Money, str, Money, Money | None]:
    """Amount, description, balance and what may be spent."""
    amount, balance = message.amount, message.balance_after
    currency = currency_of(amount.currency_code, message.currency_exponent)
    check_currency(balance, currency.code)
    return (
        from_units(currency, amount.units, amount.nanos),
        message.description,
        from_units(currency, balance.units, balance.nanos),
        AVAILABLE.read(message, currency) if message.HasField("available_after") else None,
    )


ROWS = (
    EventType(
        AccountOpened,
        messages.AccountOpened,
        _opened,
        _from_opened,
        published_as="account.opened.v1",
    ),
    EventType(
        MoneyDeposited,
        messages.MoneyDeposited,
        _deposited,
        _from_deposited,
        published_as="money.deposited.v1",
    ),
    EventType(
        MoneyWithdrawn,
        messages.MoneyWithdrawn,
        _withdrawn,
        _from_withdrawn,
        published_as="money.withdrawn.v1",
    ),
    account_event(
        AccountFrozen, messages.AccountFrozen, "account.frozen.v1", account_state("state_after"), text("reason")
    ),
    account_event(AccountUnfrozen, messages.AccountUnfrozen, "account.unfrozen.v1"),
    account_event(AccountClosed, messages.AccountClosed, "account.closed.v1", text("reason"), time("close_time")),
    account_event(OverdraftLimitSet, messages.OverdraftLimitSet, None, money("limit"), money("old_limit")),
    account_event(SpendingLimitsSet, messages.SpendingLimitsSet, None, spending_limits("limits")),
    account_event(
        HoldPlaced,
        messages.HoldPlaced,
        "hold.placed.v1",
        text("hold_id"),
        money("amount"),
        time("expire_time"),
        text("description"),
        SPENT,
        TAGS,
    ),
    account_event(
        HoldCaptured,
        messages.HoldCaptured,
        "hold.captured.v1",
        text("hold_id"),
        money("amount"),
        money("released_amount", "released"),
        money("hold_remaining_after", "remaining_after"),
        text("description"),
        TAGS,
    ),
    account_event(
        HoldReleased,
        messages.HoldReleased,
        "hold.released.v1",
        text("hold_id"),
        money("amount"),
        text("description"),
    ),
    account_event(HoldExpired, messages.HoldExpired, "hold.expired.v1", text("hold_id"), money("amount")),
    account_event(
        TransferSent,
        messages.TransferSent,
        "transfer.sent.v1",
        text("transfer_id"),
        text("destination_account_id"),
        money("amount"),
        text("description"),
        text("hold_id"),
        optional_money("hold_remaining_after"),
        SPENT,
        TAGS,
        text("reverses_transfer_id"),
        number("reversed_revision"),
        flag("allow_overdraw"),
    ),
    account_event(
        TransferReceived,
        messages.TransferReceived,
        "transfer.received.v1",
        text("transfer_id"),
        text("source_account_id"),
        money("amount"),
        text("description"),
    ),
    account_event(
        TransferRefused,
        messages.TransferRefused,
        None,
        text("transfer_id"),
        text("source_account_id"),
        foreign_money("amount"),
        error_reason("reason"),
    ),
    account_event(
        TransferReturned,
        messages.TransferReturned,
        "transfer.returned.v1",
        text("transfer_id"),
        text("destination_account_id"),
        money("amount"),
        error_reason("reason"),
    ),
    account_event(
        DepositReversed,
        messages.DepositReversed,
        "deposit.reversed.v1",
        number("reversed_revision"),
        text("reversed_event_id"),
        money("amount"),
        text("description"),
        flag("allow_overdraw"),
    ),
    account_event(
        WithdrawalReversed,
        messages.WithdrawalReversed,
        "withdrawal.reversed.v1",
        number("reversed_revision"),
        text("reversed_event_id"),
        money("amount"),
        text("description"),
    ),
)
