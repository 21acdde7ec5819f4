"""Tokens that are not sealed, which anybody can make: good for who may read everything, and for nobody else."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import grpc.aio
import pytest

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.config import Settings
from openbank.eventstore.port import LogPosition
from openbank.eventstore.seal import NO_SEAL
from openbank.queries.paging import Listing, page_token
from openbank.views.port import LogId
from tests.access.callers import Asked, Keys, ask, write_access
from tests.callers import john_doe, opening, usd
from tests.tokens import open_token

SERVICE = "openbank.accounts.v1.AccountsService"
ANOTHER_STORE = "cd" * 16


class House(NamedTuple):
    channel: grpc.aio.Channel
    keys: Keys
    bank_id: str
    store_id: str
    own: str
    """The customer's account."""
    other: str
    """Somebody else's, with two events."""
    customer: str
    """The customer's person id."""

    async def ask(self, method: str, request: Any, who: str) -> Asked:
        return await ask(self.channel, method, request, self.keys[who].key)


@pytest.fixture
async def house(settings: Settings, tmp_path: Path) -> AsyncIterator[House]:
    keys, file = Keys(), tmp_path / "access.toml"
    person_id = "customer-1"
    customer = keys.entry("customer", "customer", more=f'owner = "{person_id}"')
    write_access(file, keys.entry("teller", "teller"), customer)
    async with serving(replace(settings, access=file)) as server, grpc.aio.insecure_channel(server.address) as channel:
        teller = keys["teller"].key
        for id in (person_id, "somebody-else"):
            await ask(channel, "openbank.persons.v1.PersonsService/RegisterPerson", john_doe(person_id=id), teller)
            for number in range(2):
                account = opening(id, account_id=f"of-{id}-{number}")
                assert (await ask(channel, f"{SERVICE}/OpenAccount", account, teller)).reason == "OK"
        deposit = accounts.DepositRequest(account_id="of-somebody-else-0", amount=usd("1"))
        await ask(channel, f"{SERVICE}/Deposit", deposit, teller)
        with closing(sqlite3.connect(settings.data / "events.db")) as log:
            meta = dict(log.execute("SELECT name, value FROM meta"))
        ids = meta["bank_id"], meta["store_id"]
        yield House(channel, keys, *ids, f"of-{person_id}-0", "of-somebody-else-0", person_id)


async def test_a_token_does_not_reveal_whether_another_account_has_an_event(house: House) -> None:
    """A token of another store is looked up by stream and revision: its answer would say whether there is one."""

    async def answers(who: str, place: LogPosition) -> Any:
        token = open_token(house.bank_id, ANOTHER_STORE, place)
        request = accounts.GetAccountRequest(account_id=house.own, consistency_token=token)
        asked = await house.ask(f"{SERVICE}/GetAccount", request, who)
        return asked.refused.violations if asked.refused else "OK"

    there = LogPosition(1, f"account-{house.other}", 2)
    not_there = there._replace(revision=3)
    refused = {"consistency_token": "INVALID_TOKEN"}
    assert [await answers("customer", place) for place in (there, not_there)] == [refused] * 2
    assert await answers("teller", there) == "OK"
    assert await answers("teller", not_there) == {"consistency_token": "TOKEN_OF_ANOTHER_STORE"}


async def test_a_customer_cannot_resume_a_watch_by_an_open_token(house: House) -> None:
    token = open_token(house.bank_id, house.store_id, LogPosition(1, f"account-{house.own}", 1))
    request = accounts.WatchAccountEventsRequest(
        resume_token=token, owner_ids=[house.customer], stop_when_caught_up=True
    )
    asked = await house.ask(f"{SERVICE}/WatchAccountEvents", request, "customer")
    assert asked.refused
    assert asked.refused.violations == {"resume_token": "INVALID_TOKEN"}


async def test_a_customer_cannot_turn_a_page_by_an_open_token(house: House) -> None:
    listing = Listing("accounts", house.customer, LogId(house.bank_id, house.store_id), NO_SEAL)
    request = accounts.ListAccountsByOwnerRequest(
        owner_id=house.customer, page_size=1, page_token=page_token(listing, (1, 1))
    )
    asked = {who: await house.ask(f"{SERVICE}/ListAccountsByOwner", request, who) for who in ("customer", "teller")}
    assert asked["customer"].refused
    assert asked["customer"].refused.violations == {"page_token": "INVALID_PAGE_TOKEN"}
    assert asked["teller"].reason == "OK"


async def test_the_tokens_that_the_bank_gives_lead_on(house: House) -> None:
    request = accounts.ListAccountsByOwnerRequest(owner_id=house.customer, page_size=1)
    seen = []
    for _ in range(2):
        asked = await house.ask(f"{SERVICE}/ListAccountsByOwner", request, "customer")
        [page] = asked.responses
        seen += [account.account_id for account in page.accounts]  # type: ignore[attr-defined]
        request.page_token = page.next_page_token  # type: ignore[attr-defined]
        request.consistency_token = page.consistency_token  # type: ignore[attr-defined]
    assert seen == [f"of-{house.customer}-{number}" for number in range(2)]
