"""Events name who caused them, for those who may see that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import grpc.aio
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.config import Settings
from openbank.holds.v1 import holds_service_pb2 as holds
from openbank.integration.v1 import integration_events_service_pb2 as integration
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.transfers.v1 import transfers_service_pb2 as transfers
from openbank.upkeep.verify import verify
from tests.access.callers import METHODS, Keys, ask, short, write_access
from tests.callers import Caller, john_doe, opening, usd

FORGED = {"actor": "key:root", "x-actor": "key:root"}


class Bank(NamedTuple):
    channel: grpc.aio.Channel
    keys: Keys
    settings: Settings
    seen: dict[str, str]
    """The last consistency token."""

    async def ask(self, caller: str, method: str, request: Any) -> Any:
        full = next(name for name in METHODS if short(name) == method)
        asked = await ask(self.channel, full, request, self.keys[caller].key, **FORGED)
        assert asked.reason == "OK", (method, asked.refused)
        self.seen["token"] = getattr(asked.responses[-1], "consistency_token", "") or self.seen.get("token", "")
        return asked.responses if len(asked.responses) > 1 else asked.responses[0]

    async def events(self, caller: str, account_id: str) -> Sequence[tuple[str, str]]:
        """Types and actors of an account's events, in order."""
        request = accounts.ListAccountEventsRequest(account_id=account_id, consistency_token=self.seen["token"])
        listed = await self.ask(caller, "ListAccountEvents", request)
        return [(event.WhichOneof("payload"), event.actor) for event in reversed(listed.events)]

    async def watched(self, caller: str, method: str, request: Any) -> Sequence[Any]:
        responses = await self.ask(caller, method, request)
        each = responses if isinstance(responses, tuple) else (responses,)
        return [event for response in each for event in response.events]


@pytest.fixture
async def bank(settings: Settings, tmp_path: Path) -> AsyncIterator[Bank]:
    keys = Keys()
    access = write_access(
        tmp_path / "access.toml",
        *(keys.entry(role, role) for role in ("teller", "auditor")),
        keys.entry("john", "customer", more='owner = "john"'),
    )
    guarded = replace(settings, access=access)
    async with serving(guarded) as server, grpc.aio.insecure_channel(server.address) as channel:
        bank = Bank(channel, keys, guarded, {})
        for person, account in (("john", "a"), ("mary", "b")):
            await bank.ask("teller", "RegisterPerson", john_doe(person_id=person))
            await bank.ask("teller", "OpenAccount", opening(person, account_id=account))
        await bank.ask("teller", "Deposit", accounts.DepositRequest(account_id="a", amount=usd("100")))
        yield bank


WATCH = accounts.WatchAccountEventsRequest(beginning=Empty(), stop_when_caught_up=True)


async def test_each_event_names_its_caller_and_a_transfer_the_one_who_made_it(bank: Bank) -> None:
    send = transfers.CreateTransferRequest(source_account_id="a", destination_account_id="b", amount=usd("5"))
    await bank.ask("john", "CreateTransfer", send)
    await bank.ask("john", "Withdraw", accounts.WithdrawRequest(account_id="a", amount=usd("1")))
    expected = [
        ("account_opened", "key:teller"),
        ("money_deposited", "key:teller"),
        ("transfer_sent", "key:john"),
        ("money_withdrawn", "key:john"),
    ]
    assert await bank.events("auditor", "a") == expected
    assert await bank.events("teller", "a") == expected
    assert (await bank.events("auditor", "b"))[1:] == [("transfer_received", "key:john")]
    people = persons.WatchPersonEventsRequest(beginning=Empty(), stop_when_caught_up=True)
    watched = await bank.watched("auditor", "WatchPersonEvents", people)
    assert [event.actor for event in watched] == ["key:teller", "key:teller"]


async def test_a_customer_is_not_shown_who_acts_for_the_bank(bank: Bank) -> None:
    assert [actor for _, actor in await bank.events("john", "a")] == ["", ""]
    for_auditor = [event.actor for event in await bank.watched("auditor", "WatchAccountEvents", WATCH)]
    for_customer = [event.actor for event in await bank.watched("john", "WatchAccountEvents", WATCH)]
    again = [event.actor for event in await bank.watched("auditor", "WatchAccountEvents", WATCH)]
    assert for_auditor == again == ["key:teller"] * 3
    assert for_customer == [""] * 2


async def test_other_systems_are_not_sent_who_caused_an_event(bank: Bank) -> None:
    request = integration.WatchCloudEventsRequest(beginning=Empty(), stop_when_caught_up=True)
    events = await bank.watched("auditor", "WatchCloudEvents", request)
    assert events
    assert not any(b"key:" in event.SerializeToString() for event in events)


async def test_events_of_the_bank_itself_name_the_part_that_made_them(bank: Bank) -> None:
    soon = Timestamp()
    soon.GetCurrentTime()
    soon.seconds += 2
    await bank.ask("john", "PlaceHold", holds.PlaceHoldRequest(account_id="a", amount=usd("1"), expire_time=soon))
    async with asyncio.timeout(15):
        while (await bank.events("auditor", "a"))[-1] != ("hold_expired", "system:holds"):  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def test_a_bank_without_the_file_reads_what_one_with_it_wrote(settings: Settings, tmp_path: Path) -> None:
    keys = Keys()
    access = write_access(tmp_path / "access.toml", keys.entry("teller", "teller"))
    async with (
        serving(replace(settings, access=access)) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        bank = Bank(channel, keys, settings, {})
        await bank.ask("teller", "RegisterPerson", john_doe(person_id="john"))
        await bank.ask("teller", "OpenAccount", opening("john", account_id="a"))
    async with serving(settings) as server, Caller(server.address) as caller:
        await caller.deposit("a", "1")
        assert [event.actor for event in await caller.account_events()] == ["key:teller", ""]
    report = await verify(settings)
    assert report.faults == []
