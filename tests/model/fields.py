"""What a field of a request may hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from openbank.common.v1.money_pb2 import Money

EXPONENTS = {"USD": 2, "JPY": 0, "KWD": 3}
LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
HEXADECIMAL = frozenset("0123456789abcdefABCDEF")

Violations = dict[str, str]
"""Reasons by field."""
Amount = tuple[str, int] | None


class Refused(Exception):
    def __init__(self, code: str, reason: str, violations: Violations | None = None) -> None:
        super().__init__(code, reason, violations)


def check(wrong: Violations, order: Iterable[str]) -> None:
    """All at once; the first, in the order of the fields, is the reason of the whole."""
    for name in order:
        for path, reason in wrong.items():
            if path.startswith(name):
                raise Refused("INVALID_ARGUMENT", reason, wrong)


def read_request(request: Any) -> Violations:
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


def identifier(wrong: Violations, path: str, value: str, *, required: bool = True) -> None:
    if not value and required:
        wrong[path] = "FIELD_REQUIRED"
    elif len(value) > 64 or not set(value) <= LETTERS:
        wrong[path] = "INVALID_ID"


def text(wrong: Violations, path: str, value: str, length_max: int, *, required: bool = True) -> None:
    text = value.strip()
    if not text:
        if required:
            wrong[path] = "FIELD_REQUIRED"
    elif len(text) > length_max:
        wrong[path] = "FIELD_TOO_LONG"
    elif any(ord(character) < 32 or 127 <= ord(character) < 160 for character in text):
        wrong[path] = "INVALID_TEXT"
    elif set(text) <= {"\u200b", "\u2800", "\u0301"}:
        wrong[path] = "FIELD_REQUIRED" if required else "INVALID_TEXT"


def account_number(wrong: Violations, value: str, path: str = "account_number") -> None:
    number = number_as_kept(value)
    if not number:
        wrong[path] = "FIELD_REQUIRED"
    elif len(compared(number)) > 34 or len(number) > 136:
        wrong[path] = "FIELD_TOO_LONG"
    elif not (set(number) <= LETTERS - {"_"} | {" "} and number.strip("- ")):
        wrong[path] = "INVALID_ACCOUNT_NUMBER"


def number_as_kept(value: str) -> str:
    return value.strip().replace("\t", " ").replace("\u00a0", " ").replace("\u2011", "-")


def compared(number: str) -> str:
    return number_as_kept(number).replace(" ", "").replace("-", "").upper()


def initial_deposit(wrong: Violations, request: Any) -> tuple[str, int]:
    chosen = request.currency_code
    if chosen and chosen not in EXPONENTS:
        wrong["currency_code"] = "UNKNOWN_CURRENCY"
    sent = request.initial_deposit
    if sent == Money():
        return chosen or "USD", 0
    currency, minor = read_money(wrong, "initial_deposit", sent)
    if "initial_deposit.nanos" not in wrong and minor < 0:
        wrong["initial_deposit"] = "AMOUNT_NEGATIVE"
    if chosen in EXPONENTS and currency in EXPONENTS and chosen != currency:
        wrong["initial_deposit.currency_code"] = "CURRENCY_MISMATCH"
    return currency, minor


def read_money(wrong: Violations, path: str, sent: Money) -> tuple[str, int]:
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


def amount(wrong: Violations, request: Any, path: str = "amount", *, required: bool = True, least: int = 1) -> Amount:
    """At `path` of a request: its currency and smallest units; None where it is left out."""
    if not request.HasField(path):
        if required:
            wrong[path] = "FIELD_REQUIRED"
        return None
    currency, minor = read_money(wrong, path, getattr(request, path))
    if f"{path}.nanos" not in wrong and minor < least:
        wrong[path] = "AMOUNT_NOT_POSITIVE" if least else "AMOUNT_NEGATIVE"
    return currency, minor


def show(currency: str, minor: int) -> Money:
    scale = 10 ** EXPONENTS[currency]
    units, rest = divmod(abs(minor), scale)
    sign = -1 if minor < 0 else 1
    return Money(currency_code=currency, units=sign * units, nanos=sign * rest * (10**9 // scale))
