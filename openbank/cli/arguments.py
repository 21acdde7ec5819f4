"""The types of arguments that are amounts, times and dates. Each raises ArgumentTypeError, which is a usage error."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from openbank.cli.parsers import text as sendable

NANOS_DIGITS = 9
"""The decimals that the contract can carry. Whether a currency has so many, the bank decides."""
_UNITS_MAX = (1 << 63) - 1
_AMOUNT = re.compile(r"([0-9]+)(?:\.([0-9]+))?")
_CURRENCY = re.compile(r"[A-Z]{3}")
_DURATION = re.compile(r"([0-9]{1,9})([smhd])")
_SECONDS_PER = {"s": 1, "m": 60, "h": 3600, "d": 86400}
SECONDS_MAX = 86400.0


class Amount(NamedTuple):
    """An exact amount, in units and billionths of a unit, as in the contract."""

    units: int
    nanos: int


def amount(text: str) -> Amount:
    """The type of an amount: digits, and decimals after a point."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError("must be an amount such as 25 or 25.00: digits, and decimals after a point")
    whole, decimals = match[1].lstrip("0") or "0", (match[2] or "").rstrip("0")
    # The length is compared first: Python refuses to read numbers of many thousand digits.
    if len(whole) > len(str(_UNITS_MAX)) or int(whole) > _UNITS_MAX:
        raise argparse.ArgumentTypeError("is more than any account can hold")
    if len(decimals) > NANOS_DIGITS:
        raise argparse.ArgumentTypeError(f"has more than {NANOS_DIGITS} decimals")
    return Amount(int(whole), int(decimals.ljust(NANOS_DIGITS, "0")))


def currency(text: str) -> str:
    """The type of a currency. Whether there is such a currency, the bank decides."""
    if not _CURRENCY.fullmatch(text):
        raise argparse.ArgumentTypeError("must be a currency of ISO 4217: three capital letters, such as EUR")
    return text


def label(text: str) -> tuple[str, str]:
    """The type of a label, a key and its value. What these may be, the bank decides."""
    key, equals, value = sendable(text).partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError("must be KEY=VALUE")
    return key, value


def revisions(text: str) -> tuple[int, int]:
    """The type of a range of revisions, both of which belong to it."""
    match = re.fullmatch(r"([0-9]{1,18})-([0-9]{1,18})", text)
    if match is None:
        raise argparse.ArgumentTypeError("must be FIRST-LAST, such as 1-100")
    return int(match[1]), int(match[2])


def day(text: str) -> date:
    """The type of a date. Whether the date can be right, the bank decides."""
    try:
        if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError("must be a date such as 1990-12-31")


def time(text: str) -> datetime:
    """The type of a point in time. One without an offset is in UTC."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError("must be a time such as 2026-11-23T15:25Z") from None


def duration(text: str) -> timedelta:
    """The type of a length of time."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError("must be a length of time such as 90s, 15m, 12h or 7d")
    return timedelta(seconds=int(match[1]) * _SECONDS_PER[match[2]])


def seconds(text: str) -> float:
    """The type of a time limit."""
    try:
        value = float(text) if text.isascii() else 0.0
    except ValueError:
        value = 0.0
    if not 0 < value <= SECONDS_MAX:
        raise argparse.ArgumentTypeError(f"must be a number of seconds, more than 0 and at most {SECONDS_MAX:.0f}")
    return value


def count(text: str) -> int:
    """The type of a number of things, at least one."""
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) > 0):
        raise argparse.ArgumentTypeError("must be a whole number, 1 or more")
    return int(text)
