"""Events as they are printed."""

from __future__ import annotations

import json

import pytest

from openbank.accounts.v1 import account_events_pb2
from openbank.accounts.v1.account_events_pb2 import AccountEvent, AccountOpened, MoneyDeposited, MoneyWithdrawn
from openbank.cli.tail import lines
from openbank.cli.tail.lines import TextLines, json_lines
from openbank.common.v1.money_pb2 import Money
from openbank.persons.v1 import person_events_pb2
from openbank.persons.v1.person_events_pb2 import PersonAddressUpdated, PersonEvent, PersonRegistered
from openbank.persons.v1.person_pb2 import Address


def usd(units: int, nanos: int = 0) -> Money:
    return Money(currency_code="USD", units=units, nanos=nanos)


OPENED = AccountEvent(
    account_id="johns",
    revision=1,
    type=account_events_pb2.ACCOUNT_EVENT_TYPE_ACCOUNT_OPENED,
    balance=usd(1000),
    account_opened=AccountOpened(initial_deposit=usd(1000), currency_exponent=2),
)
DEPOSITED = AccountEvent(
    account_id="johns",
    revision=2,
    type=account_events_pb2.ACCOUNT_EVENT_TYPE_MONEY_DEPOSITED,
    balance=usd(1000, 500_000_000),
    money_deposited=MoneyDeposited(amount=usd(0, 500_000_000), currency_exponent=2),
)
WITHDRAWN = AccountEvent(
    account_id="marys",
    revision=10,
    type=account_events_pb2.ACCOUNT_EVENT_TYPE_MONEY_WITHDRAWN,
    balance=Money(currency_code="JPY", units=98765),
    money_withdrawn=MoneyWithdrawn(amount=Money(currency_code="JPY", units=5)),
)
for number, event in enumerate((OPENED, DEPOSITED, WITHDRAWN)):
    event.record_time.FromMicroseconds(1_700_000_000_000_000 + number)


def test_lines_printed_together_are_aligned() -> None:
    assert list(TextLines(coloured=False)([OPENED, DEPOSITED, WITHDRAWN])) == [
        "2023-11-14T22:13:20.000000Z  johns   1  ACCOUNT_OPENED   +1000.00  1000.00 USD",
        "2023-11-14T22:13:20.000001Z  johns   2  MONEY_DEPOSITED     +0.50  1000.50 USD",
        "2023-11-14T22:13:20.000002Z  marys  10  MONEY_WITHDRAWN        -5    98765 JPY",
    ]


def test_later_lines_are_aligned_with_earlier_ones() -> None:
    text_lines = TextLines(coloured=False)
    (first,) = text_lines([WITHDRAWN])
    (second,) = text_lines([DEPOSITED])
    assert first.index("MONEY") == second.index("MONEY")
    assert first.endswith("  98765 JPY")
    assert second.endswith("  1000.50 USD")


def test_a_type_that_is_newer_has_its_number_and_its_balance() -> None:
    event = AccountEvent(account_id="a", revision=3, type=77, balance=usd(-1, -250_000_000))  # type: ignore[arg-type]
    (line,) = TextLines(coloured=False)([event])
    assert line.split()[2:] == ["3", "TYPE_77", "-1.25", "USD"]


def test_a_payload_without_a_layout_of_its_own_prints_its_amount_and_balance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_AMOUNTS", {})
    printed = list(TextLines(coloured=False)([OPENED, DEPOSITED]))
    assert printed[0].split()[3:] == ["ACCOUNT_OPENED", "1000.00", "USD"]
    assert printed[1].split()[3:] == ["MONEY_DEPOSITED", "0.50", "1000.50", "USD"]


def test_a_persons_payload_without_a_layout_of_its_own_prints_its_fields(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_ABOUT", {})
    registered = PersonEvent(person_registered=PersonRegistered(first_name="Zoë\033", last_name="Doe"))
    (line,) = TextLines(coloured=False)([registered])
    assert line.endswith('first_name: "Zoë\\033" last_name: "Doe"')


def test_colours_change_nothing_but_the_colour() -> None:
    (plain,), (coloured,) = TextLines(coloured=False)([DEPOSITED]), TextLines(coloured=True)([DEPOSITED])
    assert "\033[32mMONEY_DEPOSITED\033[0m" in coloured
    for code in ("\033[2m", "\033[32m", "\033[0m"):
        coloured = coloured.replace(code, "")
    assert coloured == plain


@pytest.mark.parametrize("name", ["John", "Zoë", "山田"])
def test_a_persons_events_say_who_and_where(name: str) -> None:
    registered = PersonEvent(
        person_id="p",
        revision=1,
        type=person_events_pb2.PERSON_EVENT_TYPE_PERSON_REGISTERED,
        person_registered=PersonRegistered(first_name=name, last_name="Doe"),
    )
    moved = PersonEvent(
        person_id="p",
        revision=2,
        type=person_events_pb2.PERSON_EVENT_TYPE_PERSON_ADDRESS_UPDATED,
        person_address_updated=PersonAddressUpdated(
            new_address=Address(street="1 Main Street", city="Springfield", postal_code="12345", country="US")
        ),
    )
    first, second = TextLines(coloured=False)([registered, moved])
    assert first.endswith(f"  1  PERSON_REGISTERED       {name} Doe")
    assert second.endswith("  2  PERSON_ADDRESS_UPDATED  1 Main Street, 12345 Springfield, US")


def test_a_name_cannot_take_the_terminal_over() -> None:
    person = PersonEvent(person_registered=PersonRegistered(first_name="\033[2J\u202e", last_name="\nDoe"))
    (line,) = TextLines(coloured=False)([person])
    assert line.isprintable()


@pytest.mark.parametrize(
    "name",
    ["\u0645\u06cc\u200c\u062e\u0648", "\u0928\u0947\u092a\u094d\u200d", "\U0001f469\u200d\U0001f467"],
    ids=ascii,
)
def test_joiners_in_a_name_are_printed(name: str) -> None:
    person = PersonEvent(person_registered=PersonRegistered(first_name=name, last_name=f"Doe {name}"))
    (line,) = TextLines(coloured=False)([person])
    assert line.endswith(f"{name} Doe {name}")


TERMINAL = ["\x1b", "\x9b", "\x07", "\r", "\n", "\t", "\x7f", "\x85", "\u2028", "\u2029",
            *map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A)),
            "\u200b", "\u00ad", "\ufeff", "\U000e0041"]  # fmt: skip


@pytest.mark.parametrize("character", TERMINAL, ids=ascii)
def test_control_and_invisible_characters_are_not_printed(character: str) -> None:
    person = PersonEvent(person_registered=PersonRegistered(first_name=f"a{character}\u200cb", last_name="Doe"))
    (line,) = TextLines(coloured=False)([person])
    assert line.endswith("a?\u200cb Doe")


def test_json_has_one_event_a_line_with_the_names_of_the_protos() -> None:
    printed = list(json_lines([OPENED, DEPOSITED]))
    assert not any("\n" in line for line in printed)
    assert [json.loads(line)["account_id"] for line in printed] == ["johns", "johns"]
    assert json.loads(printed[0])["account_opened"]["initial_deposit"] == {"currency_code": "USD", "units": "1000"}
