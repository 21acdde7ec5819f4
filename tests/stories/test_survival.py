"""What was acknowledged is there: after a stop, after a kill, and after a lost view."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode
from pymongo import MongoClient

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.config import Settings, is_embedded
from openbank.persons.v1 import persons_service_pb2 as persons
from tests.callers import Caller, john_doe, opening, refused, request_id, usd
from tests.servers import ServerProcess

KILLS = 3


# With views in MongoDB, kills are the campaign's (tests/faults): FerretDB is slow to project so many writes.
without_mongodb = pytest.mark.parametrize("chosen", ["embedded", "mixed"], indirect=True)


async def test_a_restart_keeps_everything(settings: Settings) -> None:
    registration, order = john_doe(request_id=request_id()), request_id()
    async with serving(settings) as server, Caller(server.address) as bank:
        registered = await bank.persons.RegisterPerson(registration)
        opening_ = opening(registered.person.person_id, request_id=request_id(), initial_deposit=usd("5"))
        opened = await bank.accounts.OpenAccount(opening_)
        account_id = opened.account.account_id
        paid = await bank.deposit(account_id, "1", request_id=order)

    async with serving(settings) as server, Caller(server.address) as bank:
        token = paid.consistency_token
        request = persons.GetPersonRequest(person_id=registered.person.person_id, consistency_token=token)
        assert (await bank.persons.GetPerson(request)).person == registered.person
        for again, before in (
            (await bank.persons.RegisterPerson(registration), registered),
            (await bank.accounts.OpenAccount(opening_), opened),
            (await bank.deposit(account_id, "1", request_id=order), paid),
        ):
            assert again.replayed
            again.replayed = False
            assert again == before
        assert (await refused(bank.deposit(account_id, "2", request_id=order))).reason == "REQUEST_ID_REUSED"
        number = opening_.account_number
        taken = opening(registered.person.person_id, account_number=number)
        assert (await refused(bank.accounts.OpenAccount(taken))).reason == "ACCOUNT_NUMBER_TAKEN"
        assert (await bank.deposit(account_id, "1")).account.revision == 3
        watch = bank.accounts.WatchAccountEvents(
            accounts.WatchAccountEventsRequest(resume_token=opened.consistency_token, stop_when_caught_up=True)
        )
        assert [event.revision async for response in watch for event in response.events] == [2, 3]


async def test_views_that_are_lost_are_rebuilt_from_the_log(settings: Settings) -> None:
    async with serving(settings) as server, Caller(server.address) as bank:
        opened = await bank.open(initial_deposit=usd("5"))
        paid = await bank.deposit(opened.account.account_id, "2.50")
    lose_views(settings)

    async with serving(settings) as server, Caller(server.address) as bank:
        request = accounts.GetAccountRequest(
            account_id=opened.account.account_id, consistency_token=paid.consistency_token
        )
        assert (await bank.accounts.GetAccount(request)).account == paid.account


@without_mongodb
async def test_after_a_kill_every_acknowledged_write_is_there_once(process: ServerProcess) -> None:
    """Writers send each request until it is acknowledged; the bank is killed under them, again and again."""
    acknowledged: dict[str, str] = {}
    async with Caller(process.address) as bank:
        accounts_ = [(await bank.open()).account.account_id for _ in range(4)]

    for _ in range(KILLS):
        async with Caller(process.address) as bank:
            write = bank.deposit_until_gone
            writers = [asyncio.create_task(write(account_id, acknowledged)) for account_id in accounts_ * 4]
            await asyncio.sleep(0.4)
            await process.kill()
            unsettled = [name for names in await asyncio.gather(*writers) for name in names]
        await process.start()
        async with Caller(process.address) as bank:
            for name, account_id in unsettled:
                answer = await bank.deposit(account_id, "1", request_id=name)
                acknowledged[name] = answer.event_id

    async with Caller(process.address) as bank:
        events = await bank.account_events()
        deposits = [event for event in events if event.WhichOneof("payload") == "money_deposited"]
        assert len(acknowledged) > 50
        assert {event.request_id: event.event_id for event in deposits} == acknowledged
        assert len(deposits) == len(acknowledged)
        for account_id in accounts_:
            own = [event for event in events if event.account_id == account_id]
            assert [event.revision for event in own] == list(range(1, len(own) + 1))
            token = (await bank.deposit(account_id, "1")).consistency_token
            assert await bank.balance_in_the_end(account_id, token) == f"{len(own)}.00 USD"


@without_mongodb
async def test_a_kill_between_the_steps_of_openings_loses_no_number_and_leaves_no_half_account(
    process: ServerProcess,
) -> None:
    async with Caller(process.address) as bank:
        owner_id = (await bank.register()).person.person_id
        requests = [opening(owner_id, request_id=request_id(), initial_deposit=usd("1")) for _ in range(100)]
        calls = [asyncio.ensure_future(bank.accounts.OpenAccount(request)) for request in requests]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        await process.kill()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    await process.start()

    async with Caller(process.address) as bank:
        for request, outcome in zip(requests, outcomes, strict=True):
            again = await bank.accounts.OpenAccount(request)
            if not isinstance(outcome, BaseException):
                assert again.replayed
                assert again.event_id == outcome.event_id
        assert len(await bank.account_events()) == len(requests)


async def test_a_bank_that_is_stopped_ends_with_exit_code_0(process: ServerProcess) -> None:
    async with Caller(process.address) as bank:
        watch = bank.accounts.WatchAccountEvents(accounts.WatchAccountEventsRequest(beginning=Empty()))
        await watch.read()
        await bank.open()
        stopping = asyncio.create_task(process.stop())
        told = await refused(_read_to_the_end(watch))
        assert told.code is StatusCode.UNAVAILABLE
        assert told.reason == "SERVER_DRAINING"
        assert await stopping == 0
    assert process.other_output == []
    assert {line["level"] for line in process.lines} == {"info"}
    told_of_itself = [line["message"] for line in process.lines if line["logger"] == "openbank"]
    assert told_of_itself == ["ready", "stopping", "stopped"]


def lose_views(settings: Settings) -> None:
    for file in settings.data.glob("views.db*"):
        file.unlink()
    if not is_embedded(settings.views):
        with MongoClient[dict[str, object]](settings.views) as client:
            client.drop_database(client.get_default_database())


async def _read_to_the_end(watch: Any) -> None:
    while True:
        await watch.read()
