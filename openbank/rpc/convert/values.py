"""Amounts, dates, times and ids."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, TypeVar

import iso4217
from google.protobuf.timestamp_pb2 import Timestamp

from openbank.aggregates.waiting import Written
from openbank.common.v1.date_pb2 import Date
from openbank.common.v1.money_pb2 import Money as MoneyMessage
from openbank.domain import money
from openbank.domain.amounts import too_precise
from openbank.domain.fields import Fields
from openbank.domain.money import Currency, Money
from openbank.domain.request import Request
from openbank.eventstore.port import LogPosition, show_uuid
from openbank.eventstore.token import InvalidToken, Tokens
from openbank.queries.paging import Listing, PageRequest, read_page_request
from openbank.rpc.call import Call

CURRENCIES = {c.code: Currency(c.code, c.exponent) for c in iso4217.Currency if c.exponent is not None}
"""ISO 4217's, by code, but for those that have no minor unit: metals, test codes, "no currency"."""

AGGREGATE_LENGTH_MAX = 200

Value = TypeVar("Value")

_NO_REQUEST_IDS = (bytes(16), b"\xff" * 16)
"""The nil and the max UUID: an uninitialised field, which would make one request of many."""
_UUID = re.compile(r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}")


def read_request(fields: Fields, message: Any, call: Call) -> Request:
    """What every mutation has beside its command."""
    request_id = _read_request_id(fields, message.request_id)
    return Request(
        request_id, call.correlation_id, validate_only=message.validate_only, owner=call.owner, actor=call.actor
    )


def read_request_at_revision(fields: Fields, message: Any, call: Call) -> Request:
    """The same of a mutation that may name the revision it is meant for."""
    request_id = _read_request_id(fields, message.request_id)
    revision = read_expected_revision(fields, message)
    return Request(
        request_id,
        call.correlation_id,
        revision,
        validate_only=message.validate_only,
        owner=call.owner,
        actor=call.actor,
    )


def read_expected_revision(fields: Fields, message: Any) -> int | None:
    """None for a request that accepts any revision."""
    if not message.HasField("expected_revision"):
        return None
    expected_revision: int = message.expected_revision
    if expected_revision < 1:
        fields.unreadable("expected_revision", "INVALID_EXPECTED_REVISION", "must be 1 or more: revisions start at 1")
    return expected_revision


def _read_request_id(fields: Fields, request_id: str) -> bytes:
    """Its 16 bytes; none without a request id."""
    if not request_id:
        return b""
    if not _UUID.fullmatch(request_id):
        fields.unreadable("request_id", "INVALID_REQUEST_ID", "must be a UUID: 8-4-4-4-12 hexadecimal digits")
        return b""
    id = bytes.fromhex(request_id.replace("-", ""))
    if id in _NO_REQUEST_IDS:
        # Also where an older version took it: whether this is a repetition or another request, nobody can tell.
        fields.unreadable("request_id", "INVALID_REQUEST_ID", "must not be the nil or the max UUID: make a new one")
        return b""
    return id


def read_aggregate(fields: Fields, message: Any) -> str:
    """The name of an aggregate's stream, "account-1234", as operators type it."""
    return fields.text("aggregate", message.aggregate, AGGREGATE_LENGTH_MAX, required=True)


def read_page(fields: Fields, message: Any, listing: Listing) -> PageRequest:
    """Which page of a list the request asks for."""
    return read_page_request(fields, listing, message.page_size, message.page_token)


async def read_position(fields: Fields, path: str, token: str, tokens: Tokens, call: Call) -> LogPosition | None:
    """The position in the log that a token means; None without one.

    A call that is restricted to its caller's own needs a sealed token: one that it made up would ask whether somebody
    else's account has an event.
    """
    try:
        return await tokens.decode(token, sealed_only=call.owner is not None) if token else None
    except InvalidToken as error:
        fields.refuse(path, error.reason, str(error))
        return None


def read_currency(fields: Fields, path: str, code: str) -> Currency:
    """With the decimals of the table; for a currency that is not in it, with as many as hold any amount."""
    currency = CURRENCIES.get(code)
    if currency is None:
        fields.refuse(path, "UNKNOWN_CURRENCY", "must be the code of an ISO 4217 currency, such as USD")
        return Currency(code, money.MAX_EXPONENT)
    return currency


def read_money(fields: Fields, path: str, message: MoneyMessage) -> Money:
    """An amount, which always names its currency. Exact, also where the table's currency has fewer decimals."""
    code = message.currency_code
    if not code:
        fields.unreadable(f"{path}.currency_code", "FIELD_REQUIRED", "is required: an amount names its currency")
        currency = Currency("", money.MAX_EXPONENT)
    else:
        currency = read_currency(fields, f"{path}.currency_code", code)
    try:
        return money.from_units(currency, message.units, message.nanos)
    except money.NanosOutOfRange:
        fields.unreadable(f"{path}.nanos", "AMOUNT_OUT_OF_RANGE", "must be within -999999999 and 999999999")
    except money.SignsDiffer:
        fields.unreadable(f"{path}.nanos", "AMOUNT_SIGNS_DIFFER", "must have the sign of units")
    except money.TooPrecise:
        amount = money.from_units(Currency(code, money.MAX_EXPONENT), message.units, message.nanos)
        fields.violations.append(too_precise(f"{path}.nanos", amount, currency))
        return amount
    return Money(currency, 1)


def fill_money(message: MoneyMessage, amount: Money) -> None:
    message.currency_code = amount.currency.code
    message.units, message.nanos = money.to_units(amount)


def read_date(fields: Fields, path: str, message: Date) -> date | None:
    try:
        return date(message.year, message.month, message.day)
    except ValueError:
        fields.unreadable(path, "INVALID_DATE", "must be a day of the calendar: year 1 to 9999, month and day")
        return None


def fill_date(message: Date, day: date) -> None:
    message.year, message.month, message.day = day.year, day.month, day.day


def read_time(fields: Fields, path: str, message: Timestamp) -> int:
    """In microseconds; a time between two of them is the later, as no event is recorded between them."""
    if not (_TIME_SECONDS_MIN <= message.seconds <= _TIME_SECONDS_MAX and 0 <= message.nanos < money.NANOS):
        fields.refuse(path, "INVALID_TIME", "must be within the years 1 and 9999, with nanos from 0 to 999999999")
    return message.seconds * 1_000_000 + -(-message.nanos // 1000)


_TIME_SECONDS_MIN = -62_135_596_800
_TIME_SECONDS_MAX = 253_402_300_799


def read_enums(
    fields: Fields, path: str, numbers: Sequence[int], known: Mapping[int, Value], what: str
) -> Sequence[Value]:
    """What the numbers of a filter mean; those that this server does not know are refused as an unknown `what`."""
    for index, number in enumerate(numbers):
        if number not in known:
            fields.refuse(f"{path}[{index}]", "UNKNOWN_ENUM_VALUE", f"unknown {what} {number}")
    return [known[number] for number in numbers if number in known]


def fill_time(message: Timestamp, microseconds: int) -> None:
    message.seconds, rest = divmod(microseconds, 1_000_000)
    message.nanos = rest * 1000


def fill_written(response: Any, written: Written[Any], token: str) -> None:
    """What the response of every mutation has beside the resource. `token` is that of its position."""
    response.consistency_token = token
    response.replayed = written.replayed
    response.event_id = show_uuid(written.event_id)
    if written.event_id:
        fill_time(response.record_time, written.record_time)
