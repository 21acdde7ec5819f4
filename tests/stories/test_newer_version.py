"""An older instance beside a newer one: it waits at events that it does not know, and never passes one by."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode
from grpc.aio import AioRpcError
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.codec import events as codec
from openbank.config import is_embedded
from openbank.domain.account_events import MoneyDeposited
from openbank.eventstore.port import Metadata, NewEvent, StoredPayload
from openbank.eventstore.quarantine_record import QuarantineRecord, encode_record
from openbank.eventstore.sqlite import SqliteEventStore
from openbank.operations.v1 import quarantine_service_pb2 as quarantine
from openbank.operations.v1 import sinks_service_pb2 as sinks
from openbank.operations.v1.sinks_service_pb2_grpc import SinksServiceStub
from openbank.upkeep.verify import verify
from tests.back_ends import BackEnd
from tests.callers import Caller, Refusal, refusal, refused, request_id, show, until, usd
from tests.examples import usd as money
from tests.servers import ServerProcess
from tests.sinks.processes import HttpReceiver, assert_in_order
from tests.stories.older_version import UNKNOWN
from tests.stories.test_quarantine import TIME, written

OLDER = "tests.stories.older_version"


class TestSideBySide:
    @pytest.fixture(params=["mixed", "servers"])
    def chosen(self, request: pytest.FixtureRequest) -> BackEnd:
        views = {"views": request.getfixturevalue("database")} if request.param == "servers" else {}
        return BackEnd(event_store="esdb", **views)

    @pytest.fixture
    def receiver(self, tmp_path: Path) -> Any:
        with HttpReceiver(tmp_path / "received") as receiver:
            yield receiver

    @pytest.fixture
    def flags(self, back_end: BackEnd, receiver: HttpReceiver) -> tuple[str, ...]:
        return (*back_end.flags, "--sink", f"crm={receiver.uri}/events")

    @pytest.fixture
    async def older(self, flags: tuple[str, ...], tmp_path: Path) -> AsyncIterator[ServerProcess]:
        """It was there first: it projects, and sends to the sink."""
        process = ServerProcess(tmp_path / "older", *flags, module=OLDER)
        await process.start()
        yield process
        await process.stop()

    async def test_an_older_instance_waits_and_continues_after_the_upgrade(
        self, older: ServerProcess, back_end: BackEnd, receiver: HttpReceiver, flags: tuple[str, ...], tmp_path: Path
    ) -> None:
        async with Caller(older.address) as old:
            for account_id in ("newer", "known"):
                await old.open(account_id=account_id, initial_deposit=usd("10"))
            async with serving(back_end.settings(tmp_path / "newer")) as server, Caller(server.address) as new:
                taken = await withdraw(new, "newer")
                await until_met(old)
                assert_needed(await refused(old.deposit("newer", "1", request_id=request_id())))
                assert_needed(await refused(old.balance("newer")))
                assert (await old.deposit("known", "1")).account.revision == 2
                seen, ended = await watch(old)
                assert seen == [("newer", 1), ("known", 1)]
                assert_needed(ended)
                assert (await watch(old, account_ids=["known"]))[0] == [("known", 1), ("known", 2)]
                aside = await old.quarantine.ListQuarantined(quarantine.ListQuarantinedRequest())
                assert not aside.aggregates
                # The newer instance continues with shared views.
                assert await new.balance_in_the_end("newer", taken.consistency_token) == "9.00 USD"
                assert (await new.deposit("newer", "1", request_id=request_id())).account.revision == 3
            await sink_waits(old)
            assert not (await crm(old)).parked_aggregates
        assert older.said("newer version needed")
        await older.stop()
        upgraded = ServerProcess(tmp_path / "older", *flags)
        await upgraded.start()
        try:
            async with Caller(upgraded.address) as bank:
                paid = await bank.deposit("newer", "1")
                assert await balances(bank, paid.consistency_token) == ["11.00 USD", "11.00 USD"]
                # Two persons, two openings, four movements.
                await until(lambda: len(receiver.received) == 8, 20)
        finally:
            await upgraded.stop()
        assert_in_order(receiver.received)


async def test_an_embedded_bank_of_an_older_version_does_not_start(tmp_path: Path) -> None:
    async with serving(BackEnd().settings(tmp_path)) as server, Caller(server.address) as new:
        await new.open(account_id="newer", initial_deposit=usd("10"))
        await withdraw(new, "newer")
    started = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", OLDER, "serve", "--listen", "127.0.0.1:0", "--data", str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = (part.decode() for part in await started.communicate())
    assert (started.returncode, out) == (2, "")
    assert err.count("\n") == 1
    assert f"an event of the type {UNKNOWN} (account-newer, revision 2)" in err
    assert "start the version that wrote it, or a later one" in err


async def test_a_field_that_a_newer_version_has_added_to_an_event_is_ignored(back_end: BackEnd, tmp_path: Path) -> None:
    settings = back_end.settings(tmp_path)
    async with serving(settings) as server, Caller(server.address) as bank:
        await bank.register(person_id="john")
        await bank.open("john", account_id="1", initial_deposit=usd("10"))
    type_name, data = codec.encode(MoneyDeposited(money(500), "", money(1_500)))
    if is_embedded(settings.event_store):
        data += b"\xc2\x3e\x05newer"  # Field 1000, text.
    else:
        json = codec.to_json(type_name, data).replace(b"{", b'{"of_a_newer_version":"newer",', 1)
        data = StoredPayload.of(json, is_json=True)
    await written(
        settings, "account-1", 1, [NewEvent(bytes(15) + b"1", type_name, data, Metadata(TIME, owner_id="john"))]
    )
    async with serving(settings) as server, Caller(server.address) as bank:
        paid = await bank.deposit("1", "1")
        assert (paid.account.revision, await bank.balance("1", paid.consistency_token)) == (3, "16.00 USD")
        request = accounts.WatchAccountEventsRequest(beginning=Empty(), stop_when_caught_up=True)
        events = [event async for page in bank.accounts.WatchAccountEvents(request) for event in page.events]
        assert [show(event.balance) for event in events] == ["10.00 USD", "15.00 USD", "16.00 USD"]
        # A newer client is to read it: the bytes are passed on where they are protobuf.
        assert (b"newer" in events[1].money_deposited.SerializeToString()) == is_embedded(settings.event_store)
    assert (await verify(settings)).fault_count == 0


async def test_an_event_that_was_skipped_does_not_keep_a_bank_from_starting(tmp_path: Path) -> None:
    """An earlier version quarantined what it did not know, and operators could skip it."""
    settings = BackEnd().settings(tmp_path)
    async with serving(settings) as server, Caller(server.address) as bank:
        await bank.register(person_id="john")
        await bank.open("john", account_id="1", initial_deposit=usd("10"))
    gift = NewEvent(bytes(15) + b"1", "openbank.accounts.v9.Gift", b"", Metadata(TIME, owner_id="john"))
    store = SqliteEventStore(tmp_path)
    await store.append("account-1", 1, [gift])
    await store.save_quarantine(encode_record(QuarantineRecord(skipped={"account-1": frozenset({2})})), 0)
    await store.close()
    async with serving(settings) as server, Caller(server.address) as bank:
        assert (await bank.deposit("1", "1")).account.revision == 3


async def withdraw(bank: Caller, account_id: str) -> accounts.WithdrawResponse:
    request = accounts.WithdrawRequest(account_id=account_id, amount=usd("1"))
    response: accounts.WithdrawResponse = await bank.accounts.Withdraw(request)
    return response


async def until_met(old: Caller) -> None:
    """Until the older instance has met the event."""
    health: Any = HealthStub(old.channel)
    async with asyncio.timeout(20):
        while True:
            version = await health.Check(HealthCheckRequest(service="openbank.version"))
            if version.status == HealthCheckResponse.NOT_SERVING:
                return
            await asyncio.sleep(0.05)


def assert_needed(refusal: Refusal) -> None:
    assert (refusal.code, refusal.reason) == (StatusCode.UNAVAILABLE, "NEWER_VERSION_NEEDED")
    assert refusal.metadata == {"aggregate": "account-newer", "revision": "2", "unknown": UNKNOWN}
    assert refusal.details["RetryInfo"].retry_delay.seconds > 0


async def watch(bank: Caller, **filters: Any) -> tuple[list[tuple[str, int]], Any]:
    """What a watch from the beginning is sent, and the refusal that it ends with; None if it ends by itself."""
    request = accounts.WatchAccountEventsRequest(beginning=Empty(), stop_when_caught_up=True, **filters)
    seen: list[tuple[str, int]] = []
    try:
        async for page in bank.accounts.WatchAccountEvents(request):
            seen += [(event.account_id, event.revision) for event in page.events]
    except AioRpcError as error:
        return seen, refusal(error)
    return seen, None


async def balances(bank: Caller, token: str) -> list[str]:
    return [await bank.balance_in_the_end(name, token) for name in ("newer", "known")]


async def crm(bank: Caller) -> Any:
    return await SinksServiceStub(bank.channel).GetSink(sinks.GetSinkRequest(sink="crm"))


async def sink_waits(bank: Caller) -> None:
    async with asyncio.timeout(20):
        while "which only a newer version knows" not in (await crm(bank)).sink.trouble:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
