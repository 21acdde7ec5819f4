"""Event types of accounts whose message has the same fields as the domain class."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any, NamedTuple

from google.protobuf.message import Message

from openbank.accounts.v1 import account_pb2
from openbank.codec.event_type import EventType
from openbank.codec.values import check_currency, currency_of, money_message, money_of
from openbank.common.v1 import errors_pb2
from openbank.common.v1.money_pb2 import Money as MoneyMessage
from openbank.domain.controls import AccountState, SpendingLimits, Spent
from openbank.domain.money import Currency, Money
from openbank.domain.tags import NO_TAGS, Label, Tags


class Field(NamedTuple):
    """One value of an event, named `attribute`, and its fields in the message."""

    attribute: str
    fill: Callable[[Any, Any, Currency], None]
    """Fills the value into the message. The currency is the account's."""
    read: Callable[[Any, Currency], Any]
    """The value in the message. Raises ValueError."""


def account_event(event: type[Any], message: type[Message], published_as: str | None, *fields: Field) -> EventType:
    """The row of an event that states both balances and the decimals of their currency."""
    every = (*fields, money("balance_after"), money("available_after"))

    def encode(happened: Any) -> Message:
        made = message()
        currency = happened.balance_after.currency
        for field in every:
            field.fill(made, getattr(happened, field.attribute), currency)
        setattr(made, "currency_exponent", currency.exponent)  # noqa: B010
        return made

    def decode(stored: Any, _: str) -> Any:
        currency = currency_of(stored.balance_after.currency_code, stored.currency_exponent)
        return event(**{field.attribute: field.read(stored, currency) for field in every})

    return EventType(event, message, encode, decode, published_as)


def text(name: str) -> Field:
    return _as_it_is(name)


def number(name: str) -> Field:
    return _as_it_is(name)


def flag(name: str) -> Field:
    return _as_it_is(name)


def _as_it_is(name: str) -> Field:
    return Field(
        name, lambda message, value, _: setattr(message, name, value), lambda message, _: getattr(message, name)
    )


def money(name: str, attribute: str = "") -> Field:
    return Field(
        attribute or name,
        lambda message, amount, _: getattr(message, name).CopyFrom(money_message(amount)),
        lambda message, currency: _own(getattr(message, name), currency),
    )


def optional_money(name: str, attribute: str = "") -> Field:
    """None where the message has none."""

    def fill(message: Any, amount: Money | None, _: Currency) -> None:
        if amount is not None:
            getattr(message, name).CopyFrom(money_message(amount))

    def read(message: Any, currency: Currency) -> Money | None:
        return _own(getattr(message, name), currency) if message.HasField(name) else None

    return Field(attribute or name, fill, read)


def foreign_money(name: str) -> Field:
    """An amount that need not be in the account's currency: `amount_exponent` has its decimals."""

    def fill(message: Any, amount: Money, _: Currency) -> None:
        getattr(message, name).CopyFrom(money_message(amount))
        message.amount_exponent = amount.currency.exponent

    return Field(name, fill, lambda message, _: money_of(getattr(message, name), message.amount_exponent))


def time(name: str) -> Field:
    """Microseconds since 1970 UTC."""
    return Field(
        name,
        lambda message, value, _: getattr(message, name).FromMicroseconds(value),
        lambda message, _: getattr(message, name).ToMicroseconds(),
    )


def account_state(name: str) -> Field:
    enum, prefix = account_pb2.AccountState, "ACCOUNT_STATE_"
    return Field(
        name,
        lambda message, state, _: setattr(message, name, enum.Value(prefix + state.value)),
        lambda message, _: AccountState(enum.Name(getattr(message, name)).removeprefix(prefix)),
    )


def error_reason(name: str) -> Field:
    """A published reason, without its prefix."""
    enum, prefix = errors_pb2.ErrorReason, "ERROR_REASON_"
    return Field(
        name,
        lambda message, reason, _: setattr(message, name, enum.Value(prefix + reason)),
        lambda message, _: enum.Name(getattr(message, name)).removeprefix(prefix),
    )


def spent() -> Field:
    """The day's total, in `spending_day` and `spent_after`; None where the message has neither."""

    def fill(message: Any, total: Spent | None, currency: Currency) -> None:
        if total is not None:
            day = message.spending_day
            day.year, day.month, day.day = total.day.year, total.day.month, total.day.day
            message.spent_after.CopyFrom(money_message(Money(currency, total.minor)))

    def read(message: Any, currency: Currency) -> Spent | None:
        if not message.HasField("spent_after"):
            return None
        day = message.spending_day
        return Spent(date(day.year, day.month, day.day), _own(message.spent_after, currency).minor)

    return Field("spent", fill, read)


def tags() -> Field:
    """In `external_reference` and `labels`."""

    def fill(message: Any, tags: Tags, _: Currency) -> None:
        if tags is not NO_TAGS:
            message.external_reference = tags.external_reference
            for key, value in tags.labels:
                message.labels.add(key=key, value=value)

    def read(message: Any, _: Currency) -> Tags:
        if not (message.external_reference or message.labels):
            return NO_TAGS
        return Tags(message.external_reference, tuple(Label(label.key, label.value) for label in message.labels))

    return Field("tags", fill, read)


def spending_limits(name: str) -> Field:
    """None where the message has none."""

    def fill(message: Any, limits: SpendingLimits | None, currency: Currency) -> None:
        if limits is None:
            return
        made = getattr(message, name)
        made.time_zone = limits.time_zone
        for limit, minor in (("per_transaction", limits.per_transaction), ("per_day", limits.per_day)):
            if minor is not None:
                getattr(made, limit).CopyFrom(money_message(Money(currency, minor)))

    def read(message: Any, currency: Currency) -> SpendingLimits | None:
        if not message.HasField(name):
            return None
        stored = getattr(message, name)
        one, day = (
            _own(getattr(stored, limit), currency).minor if stored.HasField(limit) else None
            for limit in ("per_transaction", "per_day")
        )
        return SpendingLimits(one, day, stored.time_zone)

    return Field(name, fill, read)


def _own(message: MoneyMessage, currency: Currency) -> Money:
    check_currency(message, currency.code)
    return money_of(message, currency.exponent)
