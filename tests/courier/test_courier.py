"""The courier: what it settles, when, and what it does not let itself be held up by."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from openbank.commands.settling import SentTransfer, Settled
from openbank.commands.write_side import WriteSide
from openbank.courier import courier as module
from openbank.courier.courier import PAGE, PAGES, STAND_SECONDS, WARN_SECONDS, Courier
from openbank.domain.errors import BalanceLimitExceeded
from openbank.domain.transfers import Transfer, TransferState
from openbank.views.port import ListedTransfer, Views
from tests.commands.test_transfers import SOURCE, Store, balances, faults, new_bank, send
from tests.examples import NOON, usd


class Pointers:
    """Views that know transfers which are not settled."""

    def __init__(self, *transfers: Transfer) -> None:
        self.listed = [ListedTransfer(position, transfer) for position, transfer in enumerate(transfers, 1)]
        self.reached = 0

    async def wait_for(self, position: int) -> None:
        self.reached = position

    async def unsettled_transfers(self, after: int, limit: int) -> Sequence[ListedTransfer]:
        return [one for one in self.listed if one.position > after][:limit]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def left_alone(bank: Any, sent: SentTransfer) -> Settled:
    """In the place of `settle`: a driver that does nothing."""
    return Settled(TransferState.IN_TRANSIT, sent.record_time)


async def sent(bank: WriteSide, monkeypatch: pytest.MonkeyPatch) -> Transfer:
    """A transfer of 30 cents that nobody settles."""
    with monkeypatch.context() as patch:
        patch.setattr("openbank.commands.transfers.settle", left_alone)
        return (await send(bank)).resource.state.transfer


@pytest.fixture
def clock() -> Clock:
    return Clock()


def new_courier(bank: WriteSide, store: Store, views: Pointers, clock: Clock) -> Courier:
    return Courier(bank, cast(Views, views), store.head, clock)


async def look(courier: Courier) -> None:
    """One look, and all that it begins."""
    await courier.look()
    await finished()


async def finished() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


async def test_the_courier_leaves_a_young_transfer_to_its_sender(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    bank = await new_bank(store)
    courier = new_courier(bank, store, Pointers(await sent(bank, monkeypatch)), clock)
    for seconds, expected in ((0, [70, 20]), (STAND_SECONDS - 0.1, [70, 20]), (STAND_SECONDS, [70, 50])):
        clock.now = seconds
        await look(courier)
        assert await balances(store) == expected
    for _ in range(3):
        clock.now += 100
        await look(courier)
    assert await balances(store) == [70, 50]
    assert faults(store) == []


async def test_a_transfer_sent_before_the_courier_began_is_settled_at_once(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    bank = await new_bank(store)
    views = Pointers(await sent(bank, monkeypatch))
    head = await store.head()
    running = asyncio.create_task(new_courier(bank, store, views, clock).run())
    await finished()
    assert views.reached == head.position
    assert await balances(store) == [70, 50]
    running.cancel()


async def test_the_log_is_believed_and_not_the_row(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store()
    bank = await new_bank(store)
    transfer = await sent(bank, monkeypatch)
    wrong = (
        replace(transfer, transfer_id="another"),
        replace(transfer, transfer_id="opening", sent_revision=1),
        replace(transfer, amount=usd(100), destination_account_id="a", source_account_id="a"),
    )
    courier = new_courier(bank, store, Pointers(*wrong), clock)
    await look(courier)
    clock.now = STAND_SECONDS
    await look(courier)
    assert await balances(store) == [70, 50]
    assert store.types(SOURCE) == ["TransferSent"]


async def test_transfers_that_are_stuck_do_not_keep_others_waiting(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store()
    bank = await new_bank(store)
    transfer = await sent(bank, monkeypatch)
    stuck = [replace(transfer, transfer_id=f"stuck-{number}") for number in range(PAGE * PAGES + 50)]
    tried: list[str] = []

    async def sent_at(bank: Any, account_id: str, revision: int, transfer_id: str) -> str:
        return transfer_id

    async def settle(bank: Any, transfer_id: str) -> Settled:
        tried.append(transfer_id)
        trouble = BalanceLimitExceeded("a", usd(1), usd(1))
        return Settled(TransferState.RETURNING, 0, trouble=None if transfer_id == transfer.transfer_id else trouble)

    monkeypatch.setattr(module, "sent_at", sent_at)
    monkeypatch.setattr(module, "settle", settle)
    courier = new_courier(bank, store, Pointers(*stuck, transfer), clock)
    for _ in range(2):
        await look(courier)
    clock.now = STAND_SECONDS
    for _ in range(2 * len(stuck) // module.AT_ONCE):
        await look(courier)
    assert transfer.transfer_id in tried
    # Each once so far: those that were refused wait longer each time.
    assert len(tried) == len(set(tried)) == len(stuck) + 1


async def test_a_transfer_that_stands_for_long_is_a_warning(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store()
    bank = await new_bank(store)
    transfer = await sent(bank, monkeypatch)
    bank.clock = lambda: NOON + 3_600_000_000
    courier = new_courier(bank, store, Pointers(replace(transfer, sent_revision=1)), clock)
    with caplog.at_level(logging.WARNING):
        for seconds in (0, 10, WARN_SECONDS - 1, WARN_SECONDS, WARN_SECONDS + 1):
            clock.now = seconds
            await look(courier)
    [warning] = [record for record in caplog.records if record.message == "transfers stand"]
    values = getattr(warning, "values")  # noqa: B009
    assert (values["not_settled"], values["oldest"], values["oldest_seconds"]) == (1, transfer.transfer_id, 3600)
