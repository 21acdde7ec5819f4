"""A bank that an earlier version wrote, which counted hyphens in account numbers: `12345678`, `1234-5678` and
`12-345-678` are three accounts of it. One opening has been cut short, and one reservation is void."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from grpc import StatusCode

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.commands import old_numbers
from openbank.eventstore.eventstoredb import EventStoreDBEventStore
from openbank.eventstore.port import Metadata, NewEvent
from openbank.eventstore.sqlite import SqliteEventStore
from tests.back_ends import BackEnd
from tests.callers import Caller, opening, refused, request_id, usd
from tests.servers import run_openbank

OLD = Path(__file__).with_name("old_numbers.jsonl")
OPENED = {"12345678": "plain", "1234-5678": "hyphen", "12-345-678": "third", "de89-3704 0044": "iban", "9999": "other"}


def old_bank() -> tuple[str, Sequence[tuple[str, int, NewEvent]]]:
    head, *lines = map(json.loads, OLD.read_text().splitlines())
    return head["bank_id"], [(line["stream"], line["revision"] - 1, _event(line)) for line in lines]


def _event(line: dict[str, Any]) -> NewEvent:
    request_id, request_hash = bytes.fromhex(line["request_id"]), bytes.fromhex(line["request_hash"])
    metadata = Metadata(line["record_time"], request_id, request_hash, line["correlation_id"], "", line["owner_id"])
    return NewEvent(bytes.fromhex(line["id"]), line["type"], bytes.fromhex(line["data"]), metadata)


@pytest.fixture
async def data(back_end: BackEnd, tmp_path: Path) -> Path:
    """The directory, or the server, has the old bank's log, as `openbank copy` would have brought it."""
    directory = tmp_path / "data"
    directory.mkdir(mode=0o700)
    bank_id, events = old_bank()
    store: SqliteEventStore | EventStoreDBEventStore
    if back_end.event_store == "embedded":
        store = SqliteEventStore(directory, bank_id=bank_id, copying=True)
    else:
        store = await EventStoreDBEventStore.open(back_end.event_store, bank_id=bank_id, copying=True)
    for stream, revision, event in events:
        await store.append(stream, revision, [event])
    await store.copied()
    await store.close()
    return directory


@pytest.fixture
async def bank(back_end: BackEnd, data: Path) -> AsyncIterator[Caller]:
    async with serving(back_end.settings(data)) as server, Caller(server.address) as caller:
        yield caller


async def find(bank: Caller, number: str) -> str:
    answer = await bank.accounts.GetAccountByNumber(accounts.GetAccountByNumberRequest(account_number=number))
    return str(answer.account.account_id)


async def test_each_account_is_found_by_its_own_number(bank: Caller) -> None:
    for number, account_id in OPENED.items():
        assert await find(bank, number) == account_id
        assert await find(bank, f" {number.upper()} ") == account_id
    assert await find(bank, "12 34-56 78") == "hyphen"
    # In other words than any of them, it is the one that was first.
    assert await find(bank, "1-2345678") == "plain"
    assert await find(bank, "DE89 3704 0044") == "iban"


@pytest.mark.parametrize(
    "number",
    ["12345678", "1234 5678", "1234-5678", "12-345-678", "1-2345678", "DE8937040044", "de89-3704-0044", "9-999"],
)
async def test_none_of_their_numbers_is_given_again(bank: Caller, number: str) -> None:
    for changes in ({}, {"request_id": request_id()}):
        told = await refused(bank.accounts.OpenAccount(opening("john", account_number=number, **changes)))
        assert (told.code, told.reason) == (StatusCode.ALREADY_EXISTS, "ACCOUNT_NUMBER_TAKEN")


async def test_their_openings_are_replayed(bank: Caller) -> None:
    for name, number in ((1, "12345678"), (2, "1234-5678"), (3, "de89-3704 0044")):
        request = opening("john", account_id=OPENED[number], account_number=number, initial_deposit=usd("10"))
        request.request_id = str(UUID(int=0xA0 + name))
        answer = await bank.accounts.OpenAccount(request)
        assert answer.replayed
        assert answer.account.account_number == number
    request = accounts.DepositRequest(
        request_id=str(UUID(int=0xA6)), account_id="hyphen", amount=usd("0.05"), description="x"
    )
    assert (await bank.accounts.Deposit(request)).replayed


async def test_an_opening_that_was_cut_short_is_finished_once(bank: Caller) -> None:
    told = await refused(bank.accounts.OpenAccount(opening("john", account_number="7-777")))
    assert told.reason == "ACCOUNT_NUMBER_TAKEN"
    request = opening("john", account_number="77-77", initial_deposit=usd("10"), request_id=str(UUID(int=0xA4)))
    first = await bank.accounts.OpenAccount(request)
    assert first.replayed
    assert await find(bank, "7777") == first.account.account_id


async def test_a_number_whose_reservation_is_void_is_free(bank: Caller) -> None:
    opened = await bank.accounts.OpenAccount(opening("john", account_number="8888"))
    told = await refused(bank.accounts.OpenAccount(opening("john", account_number="88-88")))
    assert told.reason == "ACCOUNT_NUMBER_TAKEN"
    number = accounts.GetAccountByNumberRequest(account_number="88-88", consistency_token=opened.consistency_token)
    assert (await bank.accounts.GetAccountByNumber(number)).account == opened.account


async def test_the_index_is_made_once(back_end: BackEnd, data: Path) -> None:
    heads = []
    for _ in range(3):
        async with serving(back_end.settings(data)) as server, Caller(server.address) as bank:
            numbers = accounts.GetAccountByNumberRequest(account_number="7777")
            heads.append((await bank.accounts.GetAccountByNumber(numbers)).consistency_token)
            assert await find(bank, "1234-5678") == "hyphen"
    assert heads[0] == heads[1] == heads[2]


@pytest.mark.parametrize("chosen", ["embedded"], indirect=True)
async def test_the_start_that_makes_it_says_so_and_how_far_it_has_come(
    data: Path, back_end: BackEnd, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(old_numbers, "PROGRESS_SECONDS", 0.0)
    monkeypatch.setattr(old_numbers, "TOGETHER", 1)
    with caplog.at_level(logging.INFO, old_numbers.__name__):
        for _ in range(2):
            async with serving(back_end.settings(data)):
                await asyncio.sleep(0)
    told = [record.message for record in caplog.records if record.name == old_numbers.__name__]
    # Once, not at the second start.
    assert told[0] == "looking for account numbers that an earlier version reserved with hyphens, once"
    assert told.count(told[0]) == 1
    assert "reserving account numbers without hyphens" in told


@pytest.mark.parametrize("chosen", ["embedded"], indirect=True)
async def test_verify_finds_no_fault_in_it(data: Path, back_end: BackEnd) -> None:
    for _ in range(2):
        code, out, error = await run_openbank("verify", "--data", str(data))
        assert code == 0, out + error
        async with serving(back_end.settings(data)):
            await asyncio.sleep(0)
