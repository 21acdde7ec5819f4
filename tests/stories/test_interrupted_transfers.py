"""Transfers that something interrupts: each ends in one account or back in the other, on every back end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc import StatusCode

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.commands import settling
from openbank.commands.settling import Settled
from openbank.config import Settings
from openbank.courier import courier
from openbank.domain.transfers import TransferState
from openbank.operations.v1 import quarantine_service_pb2 as quarantine
from openbank.transfers.v1 import transfer_pb2
from openbank.transfers.v1 import transfers_service_pb2 as messages
from tests.back_ends import BackEnd
from tests.callers import refused, request_id, until_available, usd
from tests.servers import ServerProcess
from tests.stories.killed_bank import MOMENTS
from tests.stories.test_quarantine import forged, written
from tests.stories.test_transfers import COMPLETED, RETURNED, Bank

IN_TRANSIT = transfer_pb2.TRANSFER_STATE_IN_TRANSIT
SETTLED = (COMPLETED, RETURNED)
SETTLED_SECONDS_MAX = 30
"""The promise is 10; a busy machine may take longer."""
SKIP = quarantine.SkipQuarantinedRequest(aggregate="account-b-1", expected_revision=2)
CREATE_TRANSFER = "openbank.commands.transfers.settle"


async def open_accounts(bank: Bank) -> None:
    await bank.open(account_id="a-1", initial_deposit=usd("100"))
    await bank.open(account_id="b-1", initial_deposit=usd("20"))


async def in_the_end(bank: Bank) -> Any:
    """The only transfer there is, once it is settled."""

    async def transfers() -> Any:
        return (await bank.transfers.ListTransfers(messages.ListTransfersRequest(account_id="a-1"))).transfers

    while True:
        found = await until_available(transfers)
        if found and found[0].state in SETTLED:
            assert len(found) == 1
            return found[0]
        await asyncio.sleep(0.05)


async def left_to_others(bank: Any, sent: Any) -> Settled:
    """In the place of `settle`: a driver that does nothing."""
    return Settled(TransferState.IN_TRANSIT, sent.record_time)


async def test_a_transfer_that_is_refused_after_it_was_sent_comes_back(
    back_end: BackEnd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(back_end.settings(tmp_path)) as server, Bank(server.address) as bank:
        await open_accounts(bank)

        async def freeze_first(*arguments: Any) -> Settled:
            await bank.freeze("b-1")
            return await settling.settle(*arguments)

        monkeypatch.setattr(CREATE_TRANSFER, freeze_first)
        name = request_id()
        refusal = await refused(bank.send(request_id=name))
        assert (refusal.code, refusal.reason) == (StatusCode.FAILED_PRECONDITION, "TRANSFER_RETURNED")
        transfer = await in_the_end(bank)
        assert dict(refusal.metadata) == {
            "transferId": transfer.transfer_id,
            "accountId": "b-1",
            "refusedReason": "ERROR_REASON_ACCOUNT_NOT_ACTIVE",
        }
        monkeypatch.undo()
        thawed = await bank.accounts.UnfreezeAccount(accounts.UnfreezeAccountRequest(account_id="b-1"))
        again = await refused(bank.send(request_id=name))
        assert (again.reason, again.message, again.metadata) == (refusal.reason, refusal.message, refusal.metadata)
        assert await bank.balance("a-1", thawed.consistency_token) == "100.00 USD"
        assert await bank.balance("b-1", thawed.consistency_token) == "20.00 USD"


async def test_the_courier_settles_what_no_caller_does(
    back_end: BackEnd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CREATE_TRANSFER, left_to_others)
    monkeypatch.setattr(courier, "STAND_SECONDS", 0.1)
    async with serving(back_end.settings(tmp_path)) as server, Bank(server.address) as bank:
        await open_accounts(bank)
        name = request_id()
        sent = await bank.send("100", request_id=name)
        assert sent.transfer.state == IN_TRANSIT
        assert await bank.balance("a-1", sent.consistency_token) == "0.00 USD"
        async with asyncio.timeout(SETTLED_SECONDS_MAX):
            assert (await in_the_end(bank)).state == COMPLETED
        again = await bank.send("100", request_id=name)
        assert (again.replayed, again.transfer.transfer_id) == (True, sent.transfer.transfer_id)


async def test_money_for_a_quarantined_account_is_in_transit_until_an_operator_has_decided(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CREATE_TRANSFER, left_to_others)
    monkeypatch.setattr(courier, "STAND_SECONDS", 3600)
    name = request_id()
    async with serving(settings) as server, Bank(server.address) as bank:
        await bank.register(person_id="john-doe")
        await bank.open("john-doe", account_id="a-1", initial_deposit=usd("100"))
        await bank.open("john-doe", account_id="b-1", account_number="12345678")
        await bank.send(request_id=name)
    monkeypatch.undo()
    await written(settings, "account-b-1", 1, [forged(100_000_000)])
    async with serving(settings) as server, Bank(server.address) as bank:
        for way in ({"destination_account_id": "b-1"}, {"destination_account_number": "1234 5678"}):
            assert (await refused(bank.send(**way))).reason == "AGGREGATE_QUARANTINED"
            again = await bank.send(request_id=name, **way)
            assert (again.replayed, again.transfer.state) == (True, IN_TRANSIT)
        await bank.quarantine.SkipQuarantined(SKIP)
        async with asyncio.timeout(SETTLED_SECONDS_MAX):
            assert (await in_the_end(bank)).state == COMPLETED


async def test_a_server_that_stops_settles_what_its_callers_have_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a call is cut, as the time for a stop is over."""
    settled: list[Settled] = []
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait(*arguments: Any) -> Settled:
        reached.set()
        await go_on.wait()
        settled.append(await settling.settle(*arguments))
        return settled[0]

    monkeypatch.setattr(CREATE_TRANSFER, wait)
    async with AsyncExitStack() as callers:
        async with serving(BackEnd().settings(tmp_path, drain_seconds=0.5)) as server:
            bank = await callers.enter_async_context(Bank(server.address))
            await open_accounts(bank)
            call = asyncio.ensure_future(bank.send())
            call.add_done_callback(lambda _: go_on.set())
            await reached.wait()
        with pytest.raises(grpc.aio.AioRpcError):
            await call
    assert [one.state for one in settled] == [TransferState.COMPLETED]


async def test_an_account_is_not_closed_while_money_that_it_sent_may_come_back(
    back_end: BackEnd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CREATE_TRANSFER, left_to_others)
    monkeypatch.setattr(courier, "STAND_SECONDS", 3600)
    async with serving(back_end.settings(tmp_path)) as server, Bank(server.address) as bank:
        await open_accounts(bank)
        name = request_id()
        await bank.send("100", request_id=name)
        refusal = await refused(bank.close("a-1"))
        assert (refusal.reason, refusal.metadata["transfersInTransit"]) == ("ACCOUNT_NOT_EMPTY", "1")
        monkeypatch.undo()
        assert (await bank.send("100", request_id=name)).transfer.state == COMPLETED
        await bank.close("a-1")


async def test_two_retries_at_once_and_the_courier_credit_once(
    back_end: BackEnd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "STAND_SECONDS", 0.0)
    async with serving(back_end.settings(tmp_path)) as server, Bank(server.address) as bank:
        await open_accounts(bank)
        name = request_id()
        answers = await asyncio.gather(*(bank.send(request_id=name) for _ in range(4)))
        assert {answer.transfer.state for answer in answers} == {COMPLETED}
        assert sum(not answer.replayed for answer in answers) == 1
        ring = [("a-1", "b-1"), ("b-1", "a-1")] * 5
        await asyncio.gather(
            *(bank.send("1", source_account_id=one, destination_account_id=other) for one, other in ring)
        )
        last = await bank.send("1")
        assert await bank.balance("b-1", last.consistency_token) == "51.00 USD"
        assert await bank.balance("a-1", last.consistency_token) == "69.00 USD"


@pytest.fixture
async def start() -> AsyncIterator[Callable[..., Awaitable[ServerProcess]]]:
    """Starts banks in processes of their own, which are killed in the end."""
    started: list[ServerProcess] = []

    async def start(back_end: BackEnd, data: Path, **changes: Any) -> ServerProcess:
        started.append(ServerProcess(data, *back_end.flags, **changes))
        await started[-1].start()
        return started[-1]

    yield start
    for process in started:
        await process.kill()


# Every moment once, and each back end: a kill and a start take seconds, ten where the views have leases.
@pytest.mark.parametrize(
    ("chosen", "moment"),
    [*(("embedded", moment) for moment in MOMENTS), ("mixed", "refused"), ("servers", "sent")],
    indirect=["chosen"],
)
async def test_a_bank_that_is_killed_within_a_transfer_settles_it_when_it_is_back(
    back_end: BackEnd, tmp_path: Path, moment: str, start: Callable[..., Any]
) -> None:
    dying = await start(back_end, tmp_path, module="tests.stories.killed_bank", environment={"KILL_AT": moment})
    name = request_id()
    async with Bank(dying.address) as bank:
        await open_accounts(bank)
        with pytest.raises(grpc.aio.AioRpcError):
            await bank.send(request_id=name)
    assert await dying.ended() != 0
    async with Bank((await start(back_end, tmp_path)).address) as bank:
        async with asyncio.timeout(SETTLED_SECONDS_MAX):
            transfer = await in_the_end(bank)
        returned = moment in ("refused", "returned")
        assert transfer.state == (RETURNED if returned else COMPLETED)
        if returned:
            assert (await refused(bank.send(request_id=name))).reason == "TRANSFER_RETURNED"
        else:
            assert (await bank.send(request_id=name)).transfer == transfer
        types = [event.WhichOneof("payload") for event in await bank.account_events() if event.revision > 1]
        outcome = ["account_frozen", "transfer_refused", "transfer_returned"] if returned else ["transfer_received"]
        assert types == ["transfer_sent", *outcome]
