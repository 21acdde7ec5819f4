"""Texts of every kind that Unicode has come back as they were given, from every place they can be read; or are refused
by name."""

from __future__ import annotations

import unicodedata
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.persons.v1.person_pb2 import Address
from tests.callers import Caller, john_doe, refused, usd

LENGTH = 98
"""Characters of one class in a text, with one before and one after, so that no white space is at an end."""


def _texts() -> dict[str, str]:
    """Some characters from all over each general category that a text can have."""
    found: dict[str, list[str]] = {}
    for number in range(0x110000):
        found.setdefault(unicodedata.category(chr(number)), []).append(chr(number))
    return {name: "<" + "".join(all[:: -(-len(all) // LENGTH)]) + ">" for name, all in found.items() if name != "Cs"}


CONTROL = [chr(number) for number in (*range(32), *range(127, 160))]
TEXTS = _texts() | {
    "decomposed": "e\u0301 and \u00e9",
    "right to left": "\u202e\u05d0\u05d1 abc \u202c\u2066x\u2069",
    "noncharacters": "\ufdd0\ufffe\uffff\U0001fffe\U0010ffff",
    "joined": "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "byte order mark": "\ufeffa",
    "mathematics": "\U0001d518\U0001d52b",
}
del TEXTS["Cc"]


async def test_a_description_keeps_its_lines_and_nothing_else_has_any(bank: Caller) -> None:
    text = 'MIETE 11/2026\r\nIBAN\tDE89 3704\n\n"Danke"\u2028\\n'
    account_id = (await bank.open(initial_deposit=usd("5"))).account.account_id
    await bank.deposit(account_id, "1", description=f"\n{text}\t")
    withdrawal = accounts.WithdrawRequest(account_id=account_id, amount=usd("1"), description=text)
    token = (await bank.accounts.Withdraw(withdrawal)).consistency_token
    listing = accounts.ListAccountEventsRequest(account_id=account_id, consistency_token=token)
    withdrawn, deposited, _ = (await bank.accounts.ListAccountEvents(listing)).events
    assert withdrawn.money_withdrawn.description == text
    assert deposited.money_deposited.description == text
    for line_break in ("\n", "\r\n", "\t"):
        told = await refused(bank.register(first_name=f"a{line_break}b", address=Address(street=f"a{line_break}b")))
        assert told.violations["first_name"] == told.violations["address.street"] == "INVALID_TEXT"
    for control in ("\r", "\x0b", "\x0c", "\x1b", "\x85"):
        told = await refused(bank.deposit(account_id, "1", description=f"a{control}b"))
        assert told.violations == {"description": "INVALID_TEXT"}


async def _events(bank: Caller) -> list[Any]:
    watch = bank.persons.WatchPersonEvents(
        persons.WatchPersonEventsRequest(beginning=Empty(), stop_when_caught_up=True)
    )
    return [event async for response in watch for event in response.events]


async def test_a_text_of_any_class_is_read_as_it_was_given(bank: Caller) -> None:
    registered: dict[str, Any] = {}
    for name, text in TEXTS.items():
        address = Address(street=text, city=text, postal_code=text[:20].strip(), country=text)
        fields = {"first_name": text, "last_name": text, "nationality": text, "email": text}
        answer = await bank.persons.RegisterPerson(john_doe(address=address, **fields))
        assert all(getattr(answer.person, field) == text for field in fields), name
        assert answer.person.address == address
        registered[answer.person.person_id] = answer.person

    token = answer.consistency_token
    listed = await bank.persons.ListPersons(persons.ListPersonsRequest(page_size=1000, consistency_token=token))
    assert {one.person_id: one for one in listed.persons} == registered
    for event in await _events(bank):
        person, stated = registered[event.person_id], event.person_registered
        assert (stated.first_name, stated.email, stated.address) == (person.first_name, person.email, person.address)


async def test_a_description_of_any_class_is_read_as_it_was_given(bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    for text in TEXTS.values():
        paid = await bank.deposit(account_id, "1", description=text)
    request = accounts.ListAccountEventsRequest(
        account_id=account_id, page_size=1000, consistency_token=paid.consistency_token
    )
    listed = (await bank.accounts.ListAccountEvents(request)).events
    fed = await bank.account_events()
    for events in (listed[-2::-1], fed[1:]):
        assert [event.money_deposited.description for event in events] == list(TEXTS.values())


@pytest.mark.parametrize("field", ["first_name", "last_name", "nationality", "email", "street", "city", "country"])
async def test_a_control_character_is_refused_by_name(bank: Caller, field: str) -> None:
    for control in CONTROL:
        text = f"a{control}b"
        request = john_doe()
        of_address = field in Address.DESCRIPTOR.fields_by_name
        setattr(request.address if of_address else request, field, text)
        told = await refused(bank.persons.RegisterPerson(request))
        assert told.violations == {f"address.{field}" if of_address else field: "INVALID_TEXT"}


async def test_a_control_character_in_a_description_is_refused_by_name(bank: Caller) -> None:
    for control in set(CONTROL) - {"\n", "\t"}:
        request = accounts.DepositRequest(account_id="a", amount=usd("1"), description=f"a{control}b")
        assert (await refused(bank.accounts.Deposit(request))).violations == {"description": "INVALID_TEXT"}
