"""Transfers with concurrent callers and failures: a transfer is credited once or comes back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbank.aggregates.waiting import Written
from openbank.commands import accounts
from openbank.commands.persons import register_person
from openbank.commands.settling import NOT_NOW, Settled, sent_at, settle
from openbank.commands.transfers import CreateTransfer, Transferred, create_transfer
from openbank.commands.write_side import WriteSide
from openbank.domain import movements
from openbank.domain.controls import AccountState
from openbank.domain.errors import AccountNotActive, AccountNotEmpty, Refused, TransferCameBack
from openbank.domain.money import MAX_MINOR
from openbank.domain.movements import Deposit, OpenAccount
from openbank.domain.person import RegisterPerson
from openbank.domain.request import Request
from openbank.domain.states import CloseAccount, FreezeAccount, UnfreezeAccount
from openbank.domain.transfers import TransferState
from openbank.eventstore.errors import OutcomeUnknown, StoreUnavailable
from openbank.eventstore.port import LogPosition, NewEvent, RecordedEvent
from openbank.upkeep.verify.audit import Audit
from tests.eventstore.memory import MemoryStore
from tests.examples import JOHN, NOON, usd

SOURCE, DESTINATION = "account-a", "account-b"
BEFORE, AFTER = 7, 8
"""Choices of a store: it is away, or its answer is lost."""


class Store(MemoryStore):
    """Shared by several instances. Each append and read takes as many turns of the loop as the next choice says."""

    sole_writer = False

    def __init__(self) -> None:
        super().__init__()
        self.choices: Iterator[int] = iter(())
        self.before: dict[str, Callable[[], Awaitable[Any]]] = {}
        """By stream: done once, before the next append to it."""

    async def append(self, stream: str, expected_revision: int, events: Sequence[NewEvent]) -> int:
        if hook := self.before.pop(stream, None):
            await hook()
        choice = await self._turns()
        if choice == BEFORE:
            raise StoreUnavailable("away")
        position = await super().append(stream, expected_revision, events)
        if choice == AFTER:
            raise OutcomeUnknown("lost")
        return position

    async def read_end(self, stream: str, limit: int) -> Sequence[RecordedEvent]:
        await self._turns()
        return await super().read_end(stream, limit)

    async def _turns(self) -> int:
        choice = next(self.choices, 0)
        for _ in range(choice):
            await asyncio.sleep(0)
        return choice

    def types(self, stream: str) -> list[str]:
        return [event.type.rpartition(".")[2] for event in self._streams[stream]][1:]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def bank(store: Store) -> WriteSide:
    """The account a has 100 cents, b has 20."""
    return await new_bank(store)


async def new_bank(store: Store) -> WriteSide:
    bank = instance(store)
    await register_person(bank, RegisterPerson(JOHN), Request())
    await open_account(bank, "a", 100)
    await open_account(bank, "b", 20)
    return bank


def instance(store: Store, in_transit: int = 0) -> WriteSide:
    async def count(account_id: str, at: LogPosition) -> int:
        return in_transit

    return WriteSide(store, lambda: NOON, 10, in_transit=count)


async def open_account(bank: WriteSide, account_id: str, cents: int) -> None:
    await accounts.open_account(bank, OpenAccount(account_id, "john", account_id, usd(cents)), Request())


def send(
    bank: WriteSide,
    request: Request = Request(),  # noqa: B008
    cents: int = 30,
    source: str = "a",
    destination: str = "b",
) -> Awaitable[Written[Transferred]]:
    return create_transfer(bank, CreateTransfer(source, destination, "", usd(cents), ""), request)


async def freeze(store: Store, account_id: str = "b") -> None:
    await accounts.freeze_account(instance(store), FreezeAccount(account_id, AccountState.FROZEN, "Fraud"), Request())


async def unfreeze(store: Store) -> None:
    await accounts.unfreeze_account(instance(store), UnfreezeAccount("b"), Request())


async def balances(store: Store) -> list[int]:
    loaded = [await instance(store).accounts.load(account_id) for account_id in "ab"]
    return [account.state.balance.minor for account in loaded if account]


def faults(store: Store) -> list[str]:
    found: list[str] = []
    audit = Audit(found.append)
    for event in store.events:
        audit.take(event)
    audit.end()
    return found


async def settle_from_log(bank: WriteSide, store: Store) -> list[Settled]:
    """As the courier does, of everything that was ever sent."""
    sent = [event for event in store.events if event.type.endswith(".TransferSent")]
    done = []
    for event in sent:
        recorded = await bank.accounts.at(event.stream.partition("-")[2], event.revision)
        transfer_id = getattr(recorded.happened, "transfer_id", "")
        done.append(await settle(bank, await sent_at(bank, event.stream[8:], event.revision, transfer_id)))
    return done


async def test_a_transfer_that_is_refused_after_it_was_sent_comes_back(bank: WriteSide, store: Store) -> None:
    request = Request(os.urandom(16), "call")
    store.before[DESTINATION] = lambda: freeze(store)
    with pytest.raises(TransferCameBack) as refused:
        await send(bank, request)
    assert refused.value.metadata["refusedReason"] == "ERROR_REASON_ACCOUNT_NOT_ACTIVE"
    assert await balances(store) == [100, 20]
    # The destination takes money again, and a replay credits nothing all the same.
    await unfreeze(store)
    for again in (bank, instance(store)):
        with pytest.raises(TransferCameBack) as replayed:
            await send(again, request)
        assert replayed.value.metadata == refused.value.metadata
    assert store.types(SOURCE) == ["TransferSent", "TransferReturned"]
    assert store.types(DESTINATION) == ["AccountFrozen", "TransferRefused", "AccountUnfrozen"]
    causes = {event.type.rpartition(".")[2]: event for event in store.events}
    assert {event.metadata.correlation_id for name, event in causes.items() if name.startswith("Transfer")} == {"call"}
    assert faults(store) == []


async def test_a_transfer_is_not_refused_by_a_stale_destination_in_memory(bank: WriteSide, store: Store) -> None:
    await freeze(store)
    await bank.accounts.load("b")
    await unfreeze(store)
    assert (await send(bank)).resource.state.transfer.state is TransferState.COMPLETED


async def test_a_destination_that_is_away_leaves_the_money_in_transit(bank: WriteSide, store: Store) -> None:
    await bank.accounts.load("b")
    request = Request(os.urandom(16))

    async def go_away() -> None:
        store.go_away()

    store.before[DESTINATION] = go_away
    sent = await send(bank, request)
    assert sent.resource.state.transfer.state is TransferState.IN_TRANSIT
    store.come_back()
    again = await send(instance(store), request)
    assert (again.replayed, again.resource.state.transfer.state) == (True, TransferState.COMPLETED)
    assert (again.event_id, again.resource.state.source) == (sent.event_id, sent.resource.state.source)
    assert await balances(store) == [70, 50]


async def test_a_transfer_completes_although_its_caller_leaves(bank: WriteSide, store: Store) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        reached.set()
        await go_on.wait()

    store.before[DESTINATION] = wait
    call = asyncio.ensure_future(send(bank))
    await reached.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    go_on.set()
    await bank.unfinished.finished(10)
    assert store.types(DESTINATION) == ["TransferReceived"]


async def test_a_return_without_room_is_returning_until_there_is_some(bank: WriteSide, store: Store) -> None:
    await accounts.deposit(bank, Deposit("a", usd(MAX_MINOR - 100), ""), Request())
    request = Request(os.urandom(16))

    async def freeze_and_fill() -> None:
        await freeze(store)
        await accounts.deposit(instance(store), Deposit("a", usd(30), ""), Request())

    store.before[DESTINATION] = freeze_and_fill
    with pytest.raises(TransferCameBack):
        await send(bank, request)
    [stuck] = await settle_from_log(instance(store), store)
    assert (stuck.state, stuck.refusal) == (TransferState.RETURNING, "ACCOUNT_NOT_ACTIVE")
    await accounts.withdraw(instance(store), movements.Withdraw("a", usd(30), ""), Request())
    [back] = await settle_from_log(instance(store), store)
    assert back.state is TransferState.RETURNED
    assert faults(store) == []


async def test_an_account_is_not_closed_while_it_waits_for_its_money(bank: WriteSide, store: Store) -> None:
    await send(bank, cents=100)
    command = CloseAccount("a", "Moved")
    with pytest.raises(AccountNotEmpty) as refused:
        await accounts.close_account(instance(store, in_transit=1), command, Request())
    assert refused.value.metadata["transfersInTransit"] == "1"
    await accounts.close_account(instance(store), command, Request())
    with pytest.raises(AccountNotActive):
        await accounts.close_account(instance(store), command, Request())


async def test_a_transfer_sent_during_the_count_is_counted(store: Store) -> None:
    """The account moves on between the count and the end, so it is counted again."""
    first = await new_bank(store)
    counts = [0, 1]

    async def count(account_id: str, at: LogPosition) -> int:
        if len(counts) == 2:
            await send(first, cents=100)
        return counts.pop(0)

    bank = WriteSide(store, lambda: NOON, 10, in_transit=count)
    with pytest.raises(AccountNotEmpty):
        await accounts.close_account(bank, CloseAccount("a", "Moved"), Request())
    assert counts == []


async def test_a_destination_that_closes_on_the_way_gives_the_money_back(bank: WriteSide, store: Store) -> None:
    await open_account(bank, "c", 0)

    async def close() -> None:
        await accounts.close_account(instance(store), CloseAccount("c", "Moved"), Request())

    store.before["account-c"] = close
    with pytest.raises(TransferCameBack):
        await send(bank, destination="c")
    assert store.types("account-c") == ["AccountClosed", "TransferRefused"]
    assert faults(store) == []


STEPS = st.lists(st.integers(0, AFTER), max_size=40)
SCRIPTS = st.lists(
    st.sampled_from(["send", "send back", "settle", "freeze", "unfreeze", "kill"]), min_size=1, max_size=8
)


@given(script=SCRIPTS, choices=STEPS)
def test_transfers_driven_at_once_are_each_credited_once_or_come_back(
    script: Sequence[str], choices: Sequence[int]
) -> None:
    asyncio.run(_drive(script, choices))


async def _drive(script: Sequence[str], choices: Sequence[int]) -> None:
    store = Store()
    await new_bank(store)
    store.choices = iter(choices)
    one, other = Request(b"1" * 16), Request(b"2" * 16)
    tasks: list[asyncio.Task[Any]] = []
    for number, step in enumerate(script):
        bank = instance(store)
        work: dict[str, Callable[[], Awaitable[Any]]] = {
            "send": partial(send, bank, one),
            "send back": partial(send, bank, other, 5, "b", "a"),
            "settle": partial(settle_from_log, bank, store),
            "freeze": partial(freeze, store),
            "unfreeze": lambda: unfreeze(store),
        }
        if step == "kill":
            for task in tasks:
                task.cancel()
            continue
        tasks.append(asyncio.ensure_future(_tolerant(work[step])))
        for _ in range(number):
            await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    # An append outlives the caller that gave up: the last word on a transfer is said after it.
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)
    store.choices = iter(())
    for settled in await settle_from_log(instance(store), store):
        assert settled.trouble is None
    assert faults(store) == []
    assert sum(await balances(store)) == 120
    for kind in ("TransferSent", "TransferReceived", "TransferReturned"):
        for stream in (SOURCE, DESTINATION):
            assert store.types(stream).count(kind) <= 1


async def _tolerant(work: Callable[[], Awaitable[Any]]) -> None:
    try:
        await work()
    except (Refused, *NOT_NOW):
        pass
