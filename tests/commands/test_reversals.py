"""Reversals with concurrent callers and failures: each movement or transfer is taken back at most once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbank.aggregates.waiting import Written
from openbank.codec import events as codec
from openbank.commands import accounts
from openbank.commands.reversals import reverse_movement, reverse_transfer
from openbank.commands.transfers import Transferred
from openbank.commands.write_side import WriteSide
from openbank.domain import controls, movements
from openbank.domain.account import Account
from openbank.domain.account_events import TransferSent
from openbank.domain.errors import (
    AccountNotActive,
    BalanceLimitExceeded,
    DestinationRefuses,
    TransferCameBack,
    TransferNotFound,
)
from openbank.domain.money import MAX_MINOR
from openbank.domain.movements import Deposit, OpenAccount, Withdraw
from openbank.domain.request import Request
from openbank.domain.reversal_errors import AlreadyReversed, MovementNotFound, NotReversible
from openbank.domain.reversals import ReverseMovement, ReverseTransfer
from openbank.domain.states import CloseAccount, UnfreezeAccount
from openbank.domain.transfers import Transfer, TransferState
from openbank.eventstore.errors import StoreUnavailable
from openbank.eventstore.port import LogPosition, Metadata, NewEvent, RecordedEvent, Snapshot
from openbank.eventstore.streams import split
from openbank.upkeep.verify.audit import Audit
from tests.commands.test_transfers import (
    AFTER,
    BEFORE,
    DESTINATION,
    SOURCE,
    STEPS,
    Store,
    _tolerant,
    balances,
    freeze,
    instance,
    new_bank,
    send,
    settle_from_log,
    unfreeze,
)
from tests.examples import NOON, usd

SNAPSHOT_OF_FOLD_3 = bytes.fromhex(
    "080312046a6f686e1a01622203555344280230143a0641435449564540034a0608c0e381af06520608c0e381af06"
)
"""The account b at revision 3 with its 20 cents, as a version that knew no reversals has left it."""


class Seen:
    """What views would say, which lag as far as they may."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked = 0

    async def transfer(self, transfer_id: str) -> Transfer:
        for event in self._store.events:
            sent = codec.decode(event.type, event.data, split(event.stream)[1])
            if isinstance(sent, TransferSent) and sent.transfer_id == transfer_id:
                ends = split(event.stream)[1], sent.destination_account_id
                found = transfer_id, *ends, sent.amount, "", "", TransferState.IN_TRANSIT, "", 0, 0, event.revision, 0
                return Transfer(*found)
        raise TransferNotFound(transfer_id)

    async def reversal(self, account_id: str, revision: int, at: LogPosition) -> int:
        self.asked += 1
        for event in self._store.events:
            happened = codec.decode(event.type, event.data, account_id)
            is_it = event.stream == f"account-{account_id}" and event.position <= at.position
            if is_it and getattr(happened, "reversed_revision", 0) == revision:
                return event.revision
        return 0


def another(store: Store, seen: Seen | None = None) -> WriteSide:
    """An instance of the bank."""
    seen = seen or Seen(store)
    return WriteSide(store, lambda: NOON, 10, transfer=seen.transfer, reversal=seen.reversal)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def bank(store: Store) -> WriteSide:
    """The account a has 100 cents, b has 20."""
    await new_bank(store)
    return another(store)


def reverse(
    bank: WriteSide,
    revision: int,
    request: Request = Request(),  # noqa: B008
    account_id: str = "a",
    *,
    overdraw: bool = False,
) -> Awaitable[Written[Account]]:
    return reverse_movement(bank, ReverseMovement(account_id, revision, "", overdraw), request)


def send_back(bank: WriteSide, transfer_id: str, request: Request = Request()) -> Awaitable[Written[Transferred]]:  # noqa: B008
    return reverse_transfer(bank, ReverseTransfer(transfer_id, "", allow_overdraw=True), request)


def deposit(bank: WriteSide, cents: int, request: Request = Request()) -> Awaitable[Written[Account]]:  # noqa: B008
    return accounts.deposit(bank, Deposit("a", usd(cents), ""), request)


class Log:
    """The log, as `verify` asks for single events."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def event(self, stream: str, revision: int) -> RecordedEvent | None:
        return (await self._store.read_stream(stream, revision - 1, 1))[0]


async def faults(store: Store) -> list[str]:
    found: list[str] = []
    audit = Audit(found.append)
    for event in store.events:
        audit.take(event)
    audit.end()
    return found + [fault async for fault in audit.reversals.faults(Log(store))]  # type: ignore[arg-type]


async def test_a_transfer_that_came_back_is_not_sent_back(bank: WriteSide, store: Store) -> None:
    store.before[DESTINATION] = lambda: freeze(store)
    with pytest.raises(TransferCameBack) as refused:
        await send(bank)
    with pytest.raises(NotReversible) as told:
        await send_back(bank, refused.value.metadata["transferId"])
    assert told.value.metadata == {"accountId": "b", "transferId": refused.value.metadata["transferId"]}
    assert await balances(store) == [100, 20]


async def in_transit(bank: WriteSide, store: Store) -> str:
    """The id of a transfer after whose first step the store has gone away."""
    await bank.accounts.load("b")
    store.choices = iter([0, 0, 0, 0, 0, BEFORE])

    async def go_away() -> None:
        store.go_away()

    store.before[DESTINATION] = go_away
    sent = await send(bank)
    assert sent.resource.state.transfer.state is TransferState.IN_TRANSIT
    return sent.resource.state.transfer.transfer_id


async def test_a_transfer_in_transit_is_settled_before_it_is_sent_back(bank: WriteSide, store: Store) -> None:
    transfer_id = await in_transit(bank, store)
    with pytest.raises(StoreUnavailable):
        await send_back(another(store), transfer_id)
    store.come_back()
    store.choices = iter(())
    back = await send_back(another(store), transfer_id)
    assert back.resource.state.transfer.state is TransferState.COMPLETED
    assert store.types(DESTINATION) == ["TransferReceived", "TransferSent"]
    assert await balances(store) == [100, 20]
    assert await faults(store) == []


async def test_a_dry_run_does_not_say_how_a_transfer_in_transit_is_sent_back(bank: WriteSide, store: Store) -> None:
    transfer_id = await in_transit(bank, store)
    store.come_back()
    store.choices = iter(())
    dry_run = Request(os.urandom(16), validate_only=True)
    with pytest.raises(StoreUnavailable):
        await send_back(another(store), transfer_id, dry_run)
    assert store.types(DESTINATION) == []
    await settle_from_log(instance(store), store)
    back = await send_back(another(store), transfer_id, dry_run)
    assert back.resource.state.transfer.state is TransferState.COMPLETED
    assert store.types(DESTINATION) == ["TransferReceived"]


async def test_a_reversal_that_comes_back_is_not_made_again(bank: WriteSide, store: Store) -> None:
    transfer_id = (await send(bank)).resource.state.transfer.transfer_id
    request = Request(os.urandom(16))
    store.before[SOURCE] = lambda: freeze(store, "a")
    for again in (bank, another(store)):
        with pytest.raises(TransferCameBack) as refused:
            await send_back(again, transfer_id, request)
        assert refused.value.metadata["accountId"] == "a"
    with pytest.raises(DestinationRefuses):
        await send(bank, source="b", destination="a", cents=1)
    await accounts.unfreeze_account(bank, UnfreezeAccount("a"), Request())
    with pytest.raises(AlreadyReversed) as told:
        await send_back(bank, transfer_id)
    assert told.value.metadata["reversedByTransferId"] == refused.value.metadata["transferId"]
    assert await balances(store) == [70, 50]
    assert await faults(store) == []


async def test_a_reversal_whose_answer_is_lost_is_found_by_its_request_and_by_others(
    bank: WriteSide, store: Store
) -> None:
    await deposit(bank, 5)
    request = Request(os.urandom(16))
    store.choices = iter([0, 0, 0, 0, 0, 0, AFTER] * 3)
    for _ in range(5):
        await _tolerant(lambda: reverse(another(store), 2, request))
    store.choices = iter(())
    assert (await reverse(another(store), 2, request)).replayed
    with pytest.raises(AlreadyReversed):
        await reverse(another(store), 2)
    assert await balances(store) == [100, 20]


async def test_no_reversal_takes_a_balance_beyond_what_one_can_be(bank: WriteSide, store: Store) -> None:
    most = MAX_MINOR - 100
    for _ in range(2):
        await deposit(bank, most)
        await accounts.withdraw(bank, Withdraw("a", usd(most), ""), Request())
    await reverse(bank, 2, overdraw=True)
    with pytest.raises(BalanceLimitExceeded) as refused:
        await reverse(bank, 4, overdraw=True)
    assert refused.value.metadata["maxBalance"] == "-90071992547409.91 USD"
    await reverse(bank, 3)
    await deposit(bank, most)
    with pytest.raises(BalanceLimitExceeded):
        await reverse(bank, 5)
    assert await faults(store) == []


async def test_an_event_of_another_program_is_not_a_movement(bank: WriteSide, store: Store) -> None:
    foreign = NewEvent(os.urandom(16), "other.Program", b"{}", Metadata(NOON))
    await store.append("account-c", 0, [foreign])
    command = OpenAccount("c", "john", "c", usd(5))
    await another(store).accounts.execute("c", lambda account: (movements.open_account(account, command),), Request())
    await store.append("account-c", 2, [foreign._replace(id=os.urandom(16))])
    for revision in (1, 3):
        with pytest.raises(MovementNotFound):
            await reverse(another(store), revision, account_id="c")
    with pytest.raises(NotReversible):
        await reverse(another(store), 2, account_id="c")


async def test_nothing_of_a_closed_account_is_reversed(bank: WriteSide, store: Store) -> None:
    await deposit(bank, 5)
    await accounts.withdraw(bank, Withdraw("a", usd(105), ""), Request())
    await accounts.close_account(instance(store), CloseAccount("a", ""), Request())
    for revision in (2, 3):
        with pytest.raises(AccountNotActive):
            await reverse(another(store), revision, overdraw=True)


async def test_the_views_are_asked_only_for_what_the_account_has_forgotten(
    bank: WriteSide, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controls, "REVERSALS_KEPT", 2)
    seen = Seen(store)
    bank = another(store, seen)
    for _ in range(6):
        await deposit(bank, 1)
    for revision in (7, 6):
        await reverse(bank, revision)
    assert seen.asked == 0
    await reverse(bank, 5)
    # 7 was reversed by 8, which is forgotten now; what is later than that was not.
    await deposit(bank, 1)
    await reverse(bank, 11)
    assert seen.asked == 0
    with pytest.raises(AlreadyReversed):
        await reverse(bank, 7)
    assert seen.asked == 1
    await reverse(bank, 4)
    assert seen.asked == 2


async def test_a_reversal_that_an_earlier_version_did_not_note_is_not_made_again(bank: WriteSide, store: Store) -> None:
    sent = (await send(bank)).resource.state.transfer.transfer_id
    await send_back(bank, sent)
    # An instance from before reversals knows the transfer back as any other, and has kept what it made of it.
    store.sole_writer = True
    store.keep_snapshot("account-b", Snapshot(3, (await store.read_stream("account-b"))[2].id, SNAPSHOT_OF_FOLD_3))
    seen = Seen(store)
    for _ in range(2):
        with pytest.raises(AlreadyReversed):
            await send_back(another(store, seen), sent)
        assert await balances(store) == [100, 20]
    assert seen.asked == 2


def test_reversals_that_were_overlooked_stay_so_when_later_ones_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controls, "REVERSALS_KEPT", 1)
    overlooked = controls.Reversals({1: 2}, before=9)
    assert overlooked.with_one(10, 11).before == 9


SCRIPTS = st.lists(
    st.sampled_from(["send", "back", "again", "deposit", "reverse", "other", "freeze", "unfreeze", "kill"]),
    min_size=1,
    max_size=10,
)


@given(script=SCRIPTS, choices=STEPS)
def test_movements_reversed_at_once_are_each_reversed_once(script: Sequence[str], choices: Sequence[int]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(controls, "REVERSALS_KEPT", 1)
        asyncio.run(_drive(script, choices))


async def _drive(script: Sequence[str], choices: Sequence[int]) -> None:
    store = Store()
    bank = await new_bank(store)
    sent = await send(bank, Request(b"0" * 16))
    await deposit(bank, 5)
    await deposit(bank, 7)
    transfer_id = sent.resource.state.transfer.transfer_id
    store.choices = iter(choices)
    tasks: list[asyncio.Task[Any]] = []
    for number, step in enumerate(script):
        bank = another(store)
        work: dict[str, Callable[[], Awaitable[Any]]] = {
            "send": partial(send, bank, Request(b"1" * 16)),
            "back": partial(send_back, bank, transfer_id, Request(b"2" * 16)),
            "again": partial(send_back, bank, transfer_id),
            "deposit": partial(deposit, bank, 5, Request(b"3" * 16)),
            "reverse": partial(reverse, bank, 3, Request(b"4" * 16)),
            "other": partial(reverse, bank, 3 + number % 2),
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
    store.choices = iter(())
    for settled in await settle_from_log(instance(store), store):
        assert settled.trouble is None
    assert await faults(store) == []
    for stream, kind, most in ((SOURCE, "DepositReversed", 2), (DESTINATION, "TransferSent", 1)):
        assert store.types(stream).count(kind) <= most
