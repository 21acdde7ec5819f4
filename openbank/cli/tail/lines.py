"""Events as lines, for people and for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from google.protobuf.text_format import MessageToString

from openbank.accounts.v1.account_events_pb2 import AccountEvent
from openbank.cli.output.values import TimeFormat, times_in
from openbank.cli.terminal import DIM, RESET, STYLES, shown
from openbank.common.v1.money_pb2 import Money
from openbank.persons.v1.person_events_pb2 import PersonAddressUpdated, PersonEvent, PersonRegistered

Event = AccountEvent | PersonEvent
Lines = Callable[[Sequence[Any]], Iterable[str]]

_NANOS = 1_000_000_000

_GREEN, _RED, _CYAN = STYLES["green"], STYLES["red"], STYLES["cyan"]
_COLOURS = {"account_opened": _CYAN, "person_registered": _CYAN, "money_deposited": _GREEN, "money_withdrawn": _RED}
_COLOURS |= {"hold_captured": _RED, "transfer_sent": _RED, "transfer_received": _GREEN, "transfer_returned": _GREEN}
_COLOURS |= {"deposit_reversed": _RED, "withdrawal_reversed": _GREEN}
_AMOUNTS = {
    "account_opened": ("+", "initial_deposit"),
    "money_deposited": ("+", "amount"),
    "money_withdrawn": ("-", "amount"),
    "hold_captured": ("-", "amount"),
    "transfer_sent": ("-", "amount"),
    "transfer_received": ("+", "amount"),
    "transfer_returned": ("+", "amount"),
    "deposit_reversed": ("-", "amount"),
    "withdrawal_reversed": ("+", "amount"),
}
"""The sign and the field of the amount that a payload moves. Other payloads print their amount, if any, without a
sign."""


def json_lines(events: Sequence[Any]) -> Iterable[str]:
    """One object a line, in protobuf's JSON with the names of the proto files."""
    return (MessageToJson(event, preserving_proto_field_name=True, indent=None) for event in events)


class TextLines:
    """One line per event, with aligned columns: a column only ever becomes wider."""

    def __init__(self, coloured: bool, times: TimeFormat | None = None) -> None:
        """`times` shows times; by default in UTC, to the microsecond."""
        self._coloured = coloured
        self._times = times or times_in("utc", timespec="microseconds")
        self._widths: list[int] = []

    def __call__(self, events: Sequence[Any]) -> Iterable[str]:
        rows = [_account_row(event) if isinstance(event, AccountEvent) else _person_row(event) for event in events]
        rows = [[self._times(event.record_time), *map(shown, row)] for event, row in zip(events, rows, strict=True)]
        # Events that came together are aligned together.
        for row in rows:
            self._widths += [0] * (len(row) - len(self._widths))
            self._widths = [max(pair) for pair in zip(self._widths, map(len, row), strict=True)]
        return (self._line(event, row) for event, row in zip(events, rows, strict=True))

    def _line(self, event: Event, row: Sequence[str]) -> str:
        time, id, revision, type, *rest = row
        widths = self._widths
        cells = [time.ljust(widths[0]), id.ljust(widths[1]), revision.rjust(widths[2]), type.ljust(widths[3])]
        if self._coloured:
            cells[0] = DIM + cells[0] + RESET
            cells[3] = _COLOURS.get(event.WhichOneof("payload") or "", "") + cells[3] + RESET
        align = str.rjust if isinstance(event, AccountEvent) else str.ljust
        cells += [align(cell, width) for cell, width in zip(rest, widths[4:], strict=True)]
        return "  ".join(cells).rstrip()


def _account_row(event: AccountEvent) -> list[str]:
    kind = event.WhichOneof("payload")
    amount, digits = "", 0
    # A type that is newer than this program has no payload here; its balance stands on every event.
    if kind is not None:
        payload: Any = getattr(event, kind)
        fields = payload.DESCRIPTOR.fields_by_name
        sign, field = _AMOUNTS.get(kind, ("", "amount"))
        digits = payload.currency_exponent if "currency_exponent" in fields else 0
        amount = sign + _decimal(getattr(payload, field), digits) if field in fields else ""
    balance = f"{_decimal(event.balance, digits)} {event.balance.currency_code}"
    return [*_envelope(event, event.account_id), amount, balance]


def _person_row(event: PersonEvent) -> list[str]:
    kind = event.WhichOneof("payload")
    about = _ABOUT.get(kind, _fields)(getattr(event, kind)) if kind else ""
    return [*_envelope(event, event.person_id), about]


def _name(registered: PersonRegistered) -> str:
    return f"{registered.first_name} {registered.last_name}"


def _new_address(updated: PersonAddressUpdated) -> str:
    address = updated.new_address
    return f"{address.street}, {address.postal_code} {address.city}, {address.country}"


def _fields(payload: Message) -> str:
    return MessageToString(payload, as_utf8=True, as_one_line=True)


_ABOUT: dict[str, Callable[[Any], str]] = {"person_registered": _name, "person_address_updated": _new_address}
"""Layouts of the payloads of persons. Other payloads print all their fields."""


def _envelope(event: Event, id: str) -> list[str]:
    return [id, str(event.revision), _type(event)]


def _type(event: Event) -> str:
    """MONEY_DEPOSITED; one that is newer than this program has a number only."""
    field = event.DESCRIPTOR.fields_by_name["type"]
    value = field.enum_type.values_by_number.get(event.type)
    prefix = field.enum_type.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return str(value.name.removeprefix(prefix)) if value is not None else f"TYPE_{event.type}"


def _decimal(money: Money, digits: int) -> str:
    """The amount with the decimals of its currency, and never fewer than it has."""
    units, nanos = divmod(abs(money.units * _NANOS + money.nanos), _NANOS)
    decimals = f"{nanos:09}".rstrip("0").ljust(digits, "0")
    sign = "-" if money.units < 0 or money.nanos < 0 else ""
    return f"{sign}{units}.{decimals}" if decimals else f"{sign}{units}"
