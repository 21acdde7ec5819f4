"""A stored event that does not follow stops its own account, and nothing else: on every back end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from google.protobuf.empty_pb2 import Empty
from grpc.aio import AioRpcError
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.codec import events as codec
from openbank.config import Settings, is_embedded
from openbank.domain.account_events import MoneyDeposited
from openbank.eventstore.eventstoredb import EventStoreDBEventStore
from openbank.eventstore.port import EventStore, Metadata, NewEvent
from openbank.eventstore.sqlite import SqliteEventStore
from openbank.integrity import quarantine as quarantine_module
from openbank.operations.v1 import quarantine_service_pb2 as quarantine
from openbank.rpc.health import NOT_SERVING
from tests.callers import Caller, refusal, refused, request_id, usd
from tests.examples import usd as money
from tests.servers import run_openbank

DEPOSITED = "openbank.accounts.v1.MoneyDeposited"
TIME = 1_700_000_000_000_000


async def written(settings: Settings, stream: str, after: int, events: Sequence[NewEvent]) -> None:
    """As by another program, while no bank is served."""
    store: EventStore
    if is_embedded(settings.event_store):
        store = SqliteEventStore(settings.data)
    else:
        store = await EventStoreDBEventStore.open(settings.event_store)
    await store.append(stream, after, events)
    await store.close()


def forged(balance: int, amount: int = 5, owner_id: str = "john-doe") -> NewEvent:
    event = MoneyDeposited(money(amount), "", money(balance))
    return NewEvent(os.urandom(16), *codec.encode(event), Metadata(TIME, owner_id=owner_id))


async def until(asked: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await asked():  # noqa: ASYNC110 - only the bank knows
            await asyncio.sleep(0.05)


async def list_quarantined(bank: Caller) -> list[tuple[str, int]]:
    response = await bank.quarantine.ListQuarantined(quarantine.ListQuarantinedRequest())
    return [(one.aggregate, one.revision) for one in response.aggregates]


async def reason_of(call: Awaitable[Any]) -> str:
    return (await refused(call)).reason


async def feed(bank: Caller, **filters: Any) -> list[tuple[str, int]]:
    """What a watch from the beginning is sent, in order: events, and what is quarantined as a revision below zero."""
    request = accounts.WatchAccountEventsRequest(beginning=Empty(), stop_when_caught_up=True, **filters)
    seen: list[tuple[str, int]] = []
    async for response in bank.accounts.WatchAccountEvents(request):
        seen += [(event.account_id, event.revision) for event in response.events]
        seen += [(one.aggregate.removeprefix("account-"), -one.revision) for one in response.quarantined]
    return seen


async def test_a_forged_balance_stops_its_account_alone_through_restart_and_rebuild(settings: Settings) -> None:
    async with serving(settings) as server, Caller(server.address) as bank:
        await bank.register(person_id="john-doe")
        await bank.open("john-doe", account_id="poisoned", initial_deposit=usd("10"))
        await bank.open("john-doe", account_id="sound", initial_deposit=usd("20"))
    await written(settings, "account-poisoned", 1, [forged(100_000_000)])
    for rebuild in (False, True, False):
        if rebuild and is_embedded(settings.views):
            (settings.data / "views.db").unlink()
        async with serving(settings) as server, Caller(server.address) as bank:
            paid = await bank.deposit("sound", "1")
            assert await bank.balance("sound", paid.consistency_token) == f"{20 + paid.account.revision - 1}.00 USD"
            for call in (
                bank.deposit("poisoned", "1"),
                bank.balance("poisoned", paid.consistency_token),
                bank.accounts.ListAccountEvents(accounts.ListAccountEventsRequest(account_id="poisoned")),
            ):
                refusal = await refused(call)
                assert (refusal.reason, refusal.metadata["aggregate"]) == ("AGGREGATE_QUARANTINED", "account-poisoned")
            assert await list_quarantined(bank) == [("account-poisoned", 2)]
            seen = await feed(bank)
            assert [one for one in seen if one[0] == "poisoned"] == [("poisoned", 1), ("poisoned", -2)]
            assert await feed(bank, account_ids=["sound"]) == [one for one in seen if one[0] == "sound"]


async def test_an_event_that_an_operator_skips_is_permanently_ignored(settings: Settings) -> None:
    async with serving(settings) as server, Caller(server.address) as bank:
        await bank.register(person_id="john-doe")
        await bank.open("john-doe", account_id="1", initial_deposit=usd("10"))
    await written(settings, "account-1", 1, [forged(100_000_000), forged(1500, 500)])
    async with serving(settings) as server, Caller(server.address) as bank:
        await until(lambda: _is(list_quarantined(bank), [("account-1", 2)]))
        assert await feed(bank) == [("1", 1), ("1", -2)]
        wrong = quarantine.SkipQuarantinedRequest(aggregate="account-1", expected_revision=3)
        assert await reason_of(bank.quarantine.SkipQuarantined(wrong)) == "REVISION_MISMATCH"
        skip = quarantine.SkipQuarantinedRequest(aggregate="account-1", expected_revision=2)
        await bank.quarantine.SkipQuarantined(skip)
        await until(lambda: _is(list_quarantined(bank), []))
        assert await feed(bank) == [("1", 1), ("1", 3)]
        paid = await bank.deposit("1", "5")
        assert (paid.account.revision, await bank.balance("1", paid.consistency_token)) == (4, "20.00 USD")
    for revision in (5, 6):
        async with serving(settings) as server, Caller(server.address) as bank:
            paid = await bank.deposit("1", "1")
            assert paid.account.revision == revision
            assert await bank.balance("1", paid.consistency_token) == f"{16 + revision}.00 USD"
            assert await feed(bank) == [("1", 1), *(("1", each) for each in range(3, revision + 1))]
            nobody = quarantine.GetQuarantinedRequest(aggregate="account-1")
            assert await reason_of(bank.quarantine.GetQuarantined(nobody)) == "AGGREGATE_NOT_QUARANTINED"
        if is_embedded(settings.views):
            (settings.data / "views.db").unlink()


async def test_a_log_with_too_much_that_is_not_believed_is_not_served_from(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(quarantine_module, "AGGREGATES_MAX", 1)
    async with serving(settings) as server, Caller(server.address) as bank:
        await bank.register(person_id="john-doe")
        for account_id in ("1", "2", "3"):
            await bank.open("john-doe", account_id=account_id, initial_deposit=usd("10"))
    await written(settings, "account-1", 1, [forged(100_000_000)])
    async with serving(settings) as server, Caller(server.address) as bank:
        paid = await bank.deposit("3", "1")
        assert await bank.balance("3", paid.consistency_token) == "11.00 USD"
    await written(settings, "account-2", 1, [forged(100_000_000)])
    async with serving(settings) as server, Caller(server.address) as bank:
        await until(lambda: _ends_with(bank.balance("3"), "LOG_MISMATCH"))
        health: Any = HealthStub(bank.channel)
        for part in ("", "openbank.commands", "openbank.queries", "openbank.feeds"):
            await until(partial(_serves_not, health, part))
        watch = bank.accounts.WatchAccountEvents(accounts.WatchAccountEventsRequest(beginning=Empty()))
        for call in (bank.deposit("3", "1"), bank.balance("3"), bank.open(owner_id="john-doe"), _all_of(watch)):
            assert await reason_of(call) == "LOG_MISMATCH"
        assert "too many aggregates are quarantined" in [record.message for record in caplog.records]
        # Operators can look at them, and have one less.
        assert await list_quarantined(bank) == [("account-1", 2)]
        await bank.quarantine.SkipQuarantined(quarantine.SkipQuarantinedRequest(aggregate="account-1"))
    async with serving(settings) as server, Caller(server.address) as bank:
        await until(lambda: _is(list_quarantined(bank), [("account-2", 2)]))
        paid = await bank.deposit("1", "1")
        assert await bank.balance("1", paid.consistency_token) == "11.00 USD"


async def _ends_with(call: Awaitable[Any], reason: str) -> bool:
    try:
        await call
    except AioRpcError as error:
        return refusal(error).reason == reason
    return False


async def _all_of(watch: Any) -> None:
    async for _ in watch:
        pass


async def _serves_not(health: Any, part: str) -> bool:
    return bool((await health.Check(HealthCheckRequest(service=part))).status == NOT_SERVING)


@pytest.mark.parametrize(
    ("stream", "event"),
    [
        ("account-1", NewEvent(bytes(15) + b"1", DEPOSITED, b"", Metadata(TIME))),
        ("account-1", NewEvent(bytes(15) + b"3", "openbank.persons.v1.PersonAddressUpdated", b"", Metadata(TIME))),
        ("account-1", NewEvent(bytes(15) + b"4", DEPOSITED, b"\xff\xff", Metadata(TIME))),
        ("person-john-doe", NewEvent(bytes(15) + b"5", DEPOSITED, b"", Metadata(TIME))),
    ],
)
async def test_a_poisoned_stream_harms_no_other(settings: Settings, stream: str, event: NewEvent) -> None:
    async with serving(settings) as server, Caller(server.address) as bank:
        await bank.register(person_id="john-doe")
        await bank.register(person_id="jane-roe")
        await bank.open("john-doe", account_id="1")
        await bank.open("jane-roe", account_id="2")
    await written(settings, stream, 1, [event])
    async with serving(settings) as server, Caller(server.address) as bank:
        paid = await bank.deposit("2", "7")
        assert await bank.balance("2", paid.consistency_token) == "7.00 USD"
        await until(lambda: _is(list_quarantined(bank), [(stream, 2)]))
        assert len(await feed(bank, account_ids=["2"])) == 2


async def test_a_request_is_not_answered_with_a_forged_event_that_was_skipped(settings: Settings) -> None:
    async with serving(settings) as server, Caller(server.address) as bank:
        await bank.register(person_id="john-doe")
        await bank.open("john-doe", account_id="1", initial_deposit=usd("10"))
        known = request_id()
        first = await bank.deposit("1", "5", request_id=known)
    of_a_caller = forged(100_000_000)
    stolen = request_id()
    about = of_a_caller.metadata._replace(request_id=UUID(stolen).bytes, request_hash=b"hash")
    await written(settings, "account-1", 2, [of_a_caller._replace(metadata=about)])
    async with serving(settings) as server, Caller(server.address) as bank:
        await until(lambda: _is(list_quarantined(bank), [("account-1", 3)]))
        await bank.quarantine.SkipQuarantined(quarantine.SkipQuarantinedRequest(aggregate="account-1"))
        await until(lambda: _is(list_quarantined(bank), []))
        paid = await bank.deposit("1", "5", request_id=stolen)
        assert (paid.replayed, paid.account.revision) == (False, 4)
        for sent, was in ((stolen, paid), (known, first)):
            again = await bank.deposit("1", "5", request_id=sent)
            assert (again.replayed, again.account, again.event_id) == (True, was.account, was.event_id)


async def test_the_name_of_a_foreign_stream_does_not_control_the_terminal_of_an_operator(settings: Settings) -> None:
    async with serving(settings) as server, Caller(server.address) as bank:
        await bank.register(person_id="john-doe")
    stream = "account-\x1b[31m\u202ered"
    await written(settings, stream, 0, [forged(1)])
    async with serving(settings) as server, Caller(server.address) as bank:
        await until(lambda: _is(list_quarantined(bank), [(stream, 1)]))
        for command in (["quarantine", "list"], ["tail", "accounts", "--from", "beginning", "--until-caught-up"]):
            code, out, err = await run_openbank(*command, "--target", server.address)
            assert code == 0
            assert "account-?[31m?red" in out + err
            assert "\x1b" not in out + err


async def _is(asked: Awaitable[Any], wanted: Any) -> bool:
    return bool(await asked == wanted)
