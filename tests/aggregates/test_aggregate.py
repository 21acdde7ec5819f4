"""Commands on one aggregate: decided ahead of the disk, answered after it, and decided again when it fails."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from openbank.aggregates import deciding
from openbank.aggregates.waiting import Written
from openbank.commands import accounts
from openbank.commands.on_each_account import BatchItem, execute_on_each
from openbank.commands.write_side import WriteSide
from openbank.domain import account, movements
from openbank.domain.account import Account
from openbank.domain.account_events import MoneyDeposited
from openbank.domain.errors import (
    AccountNotFound,
    DoesNotFollow,
    EventsTooLarge,
    InsufficientFunds,
    RequestIdReused,
    RevisionMismatch,
)
from openbank.domain.movements import Deposit, OpenAccount, Withdraw
from openbank.domain.request import Request, fingerprint
from openbank.eventstore.errors import OutcomeUnknown, StoreDamaged, StoreUnavailable, WrongExpectedRevision
from openbank.eventstore.port import PARTS_MAX, Metadata, NewEvent
from openbank.eventstore.sqlite import SqliteEventStore
from openbank.eventstore.sqlite import store as sqlite_store
from tests.eventstore.interposed import InterposedStore
from tests.examples import NOON, some_request, usd

STREAM = "account-a-1"
Answer = TypeVar("Answer")


@pytest.fixture
async def disk(tmp_path: Path) -> AsyncIterator[SqliteEventStore]:
    """The log with one account, a-1, that has 100 cents."""
    store = SqliteEventStore(tmp_path)
    await open_account(WriteSide(store, clock, kept_max=10), "a-1", 100)
    yield store
    await store.close()


@pytest.fixture
def store(disk: SqliteEventStore) -> InterposedStore:
    return InterposedStore(disk)


@pytest.fixture
async def bank(store: InterposedStore) -> WriteSide:
    """Has read the account, so that from now on it decides from memory."""
    bank = WriteSide(store, clock, kept_max=10)
    await bank.accounts.load("a-1")
    return bank


def clock() -> int:
    return NOON


async def open_account(bank: WriteSide, account_id: str, cents: int) -> None:
    command = OpenAccount(account_id, "john", account_id, usd(cents))
    await bank.accounts.execute(account_id, lambda state: (movements.open_account(state, command),), Request())


def deposit(bank: WriteSide, cents: int, request: Request = Request()) -> Coroutine[Any, Any, Written[Account]]:  # noqa: B008
    return accounts.deposit(bank, Deposit("a-1", usd(cents), ""), request)


def withdraw(bank: WriteSide, cents: int, request: Request = Request()) -> Coroutine[Any, Any, Written[Account]]:  # noqa: B008
    return accounts.withdraw(bank, Withdraw("a-1", usd(cents), ""), request)


async def balance(store: SqliteEventStore | InterposedStore) -> int:
    """As anyone finds it who reads the log."""
    state = await WriteSide(store, clock, kept_max=10).accounts.load("a-1")
    assert state is not None
    return state.state.balance.minor


async def turns() -> None:
    """Lets everything go as far as it can without the store."""
    for _ in range(20):
        await asyncio.sleep(0)


async def outcomes(*tasks: asyncio.Task[Written[Account]]) -> list[Written[Account] | BaseException]:
    return await asyncio.gather(*tasks, return_exceptions=True)


async def together(*commands: Coroutine[Any, Any, Any]) -> list[Any]:
    """What came of each, refusals and failures included."""
    return await asyncio.gather(*commands, return_exceptions=True)


def start(*commands: Coroutine[Any, Any, Answer]) -> list[asyncio.Task[Answer]]:
    return [asyncio.create_task(command) for command in commands]


async def test_an_event_that_no_reader_would_believe_is_not_appended(bank: WriteSide, store: InterposedStore) -> None:
    wrong = MoneyDeposited(usd(5), "", usd(106))
    with pytest.raises(DoesNotFollow):
        await bank.accounts.execute("a-1", lambda _: (wrong,), Request())
    assert await balance(store) == 100
    await deposit(bank, 5)
    assert await balance(store) == 105


async def test_a_dry_run_may_have_more_events_than_one_append_takes(bank: WriteSide) -> None:
    cents = range(1, PARTS_MAX + 2)
    many = [MoneyDeposited(usd(1), "", usd(100 + number)) for number in cents]
    tried = await bank.accounts.execute("a-1", lambda _: many, Request(validate_only=True))
    assert tried.resource.state.balance == usd(100 + len(cents))
    assert len(tried.unrecorded) == PARTS_MAX + 1


async def test_commands_on_many_accounts_are_looked_for_together(bank: WriteSide, store: InterposedStore) -> None:
    requests = [some_request() for _ in range(3)]

    async def pay(*chosen: Request) -> Sequence[Written[Account]]:
        works = [BatchItem(Deposit("a-1", usd(1), ""), request, accounts.deposit) for request in chosen]
        (written,) = await execute_on_each(bank, [works], object())
        return [one for one in written if isinstance(one, Written)]

    store.found.clear()
    assert [one.replayed for one in await pay(*requests[:2])] == [False, False]
    assert store.found == []
    assert [one.replayed for one in await pay(*requests)] == [True, True, False]


async def test_a_command_of_a_batch_sees_what_was_recorded_after_its_request_was_looked_for(
    bank: WriteSide, store: InterposedStore
) -> None:
    item = BatchItem(Deposit("a-1", usd(1), ""), some_request(), accounts.deposit)
    store.hold()
    first = asyncio.create_task(execute_on_each(bank, [[item]], object()))
    await store.asked_for(1)
    again = asyncio.create_task(execute_on_each(bank, [[item]], object()))
    await turns()
    store.release()
    made = [outcome for task in (first, again) for (outcome,) in await task if isinstance(outcome, Written)]
    assert [one.replayed for one in made] == [False, True]
    assert await balance(store) == 101


async def test_events_of_another_program_in_the_stream_do_no_harm(disk: SqliteEventStore) -> None:
    theirs = NewEvent(uuid4().bytes, "audit.Seen", b"whatever", Metadata(NOON))
    await disk.append(STREAM, 1, [theirs])
    bank = WriteSide(disk, clock, kept_max=10)
    request = some_request()
    written = await deposit(bank, 1, request)
    assert (written.resource.revision, written.resource.state.balance) == (3, usd(101))
    replayed = await deposit(WriteSide(disk, clock, kept_max=10), 1, request)
    assert replayed == written._replace(replayed=True)


# Together


async def test_commands_that_come_during_an_append_share_the_next(bank: WriteSide, store: InterposedStore) -> None:
    store.hold()
    first = start(deposit(bank, 1))
    await store.asked_for(1)
    others = start(*(deposit(bank, 1) for _ in range(49)))
    await turns()
    store.release()
    written = await asyncio.gather(*first, *others)
    assert [len(asked.events) for asked in store.asked] == [1, 49]
    assert [one.resource.revision for one in written] == list(range(2, 52))
    assert [one.resource.state.balance.minor for one in written] == list(range(101, 151))
    assert await balance(store) == 150


async def test_each_command_is_decided_on_the_result_of_the_one_before(bank: WriteSide) -> None:
    """150 cents can be withdrawn only because 50 come in first; the next 150 only if nobody took them."""
    made = await outcomes(*start(deposit(bank, 50), withdraw(bank, 150), withdraw(bank, 1), deposit(bank, 7)))
    assert [type(one) for one in made] == [Written, Written, InsufficientFunds, Written]
    last = made[-1]
    assert isinstance(last, Written)
    assert last.resource.state.balance == usd(7)


async def test_a_batch_ends_where_an_append_does(
    bank: WriteSide, store: InterposedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "BATCH_BYTES_MAX", 500)
    monkeypatch.setattr(deciding, "METADATA_BYTES", 0)
    await asyncio.gather(*(deposit(bank, 1) for _ in range(50)))
    sizes = [sum(len(event.data) for event in asked.events) for asked in store.asked]
    assert len(sizes) > 2
    assert max(sizes) < 600
    assert await balance(store) == 150


async def test_a_command_with_more_events_than_fit_into_an_append_waits_for_the_next(
    bank: WriteSide, store: InterposedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "METADATA_BYTES", 1_000)
    monkeypatch.setattr(deciding, "APPEND_BYTES_MAX", 4_500)
    monkeypatch.setattr(deciding, "BATCH_BYTES_MAX", 2_250)
    monkeypatch.setattr(sqlite_store, "APPEND_BYTES_MAX", 1_000)

    def paid(times: int) -> Coroutine[Any, Any, Written[Account]]:
        def decide(account: Account | None) -> Sequence[MoneyDeposited]:
            assert account is not None
            balance = account.balance.minor
            return [MoneyDeposited(usd(1), "x" * 200, usd(balance + one)) for one in range(1, times + 1)]

        return bank.accounts.execute("a-1", decide, Request())

    made = await together(paid(2), paid(3), deposit(bank, 1), paid(5))
    assert [len(asked.events) for asked in store.asked] == [2, 3, 1, 5]
    assert isinstance(made[-1], EventsTooLarge)
    assert await balance(store) == 106


async def test_a_token_of_each_answer_covers_its_event(bank: WriteSide, store: InterposedStore) -> None:
    for written in await asyncio.gather(*(deposit(bank, 1) for _ in range(5))):
        (event,) = await store.read_stream(STREAM, written.resource.revision - 1, 1)
        assert written.position.position >= event.position
        assert (written.event_id, written.record_time) == (event.id, event.metadata.record_time)


# Nothing is answered that is not durable


async def test_nothing_is_answered_that_rests_on_an_append_under_way(bank: WriteSide, store: InterposedStore) -> None:
    request = some_request()
    store.hold()
    waiting: list[asyncio.Task[Any]] = [*start(deposit(bank, 50, request))]
    await store.asked_for(1)
    waiting += start(
        withdraw(bank, 1000),
        deposit(bank, 50, request),
        deposit(bank, 51, request),
        deposit(bank, 1, Request(expected_revision=1)),
        withdraw(bank, 150),
    )
    waiting += start(bank.accounts.load("a-1"), bank.accounts.find("a-1", request))
    await turns()
    assert not any(task.done() for task in waiting)

    store.release()
    answers: list[Any] = await asyncio.gather(*waiting, return_exceptions=True)
    first, refused, replay, reused, mismatch, second, loaded, _ = answers
    assert (first.replayed, replay.replayed) == (False, True)
    assert replay.resource == first.resource
    assert [type(refused), type(reused), type(mismatch)] == [InsufficientFunds, RequestIdReused, RevisionMismatch]
    assert refused.metadata["balance"] == "1.50 USD"
    assert second.resource.state.balance == loaded.state.balance == usd(0)


async def test_nothing_is_answered_that_was_decided_together_with_what_is_not_durable(
    bank: WriteSide, store: InterposedStore
) -> None:
    request = some_request()
    store.hold()
    together: list[asyncio.Task[Any]] = start(
        deposit(bank, 50, request), withdraw(bank, 1000), deposit(bank, 50, request), withdraw(bank, 120)
    )
    together += start(bank.accounts.load("a-1"))
    await store.asked_for(1)
    await turns()
    assert not any(task.done() for task in together)
    store.release()
    await asyncio.gather(*together, return_exceptions=True)
    assert len(store.asked) == 1


async def test_a_refusal_that_rests_on_durable_state_needs_no_disk(bank: WriteSide, store: InterposedStore) -> None:
    store.hold()
    with pytest.raises(InsufficientFunds):
        await withdraw(bank, 101)
    assert store.asked == []


# An append that fails


@pytest.mark.parametrize("error", [StoreUnavailable("away"), OutcomeUnknown("who knows")], ids=repr)
async def test_a_failed_append_fails_commands_with_events_and_decides_others_again(
    bank: WriteSide, store: InterposedStore, error: Exception
) -> None:
    request = some_request()
    store.fail_next(error)
    made = await outcomes(
        *start(
            deposit(bank, 50, request),  # in the append that fails
            withdraw(bank, 150),  # decided on it, in the same append
            withdraw(bank, 30),  # refused on the strength of both: there were 0
            deposit(bank, 50, request),  # a replay of the first
            withdraw(bank, 1000),  # refused either way, with other figures
        )
    )
    assert made[:2] == [error, error]
    small, again, large = made[2:]
    assert isinstance(small, Written)
    assert small.resource.state.balance == usd(70)
    assert isinstance(again, Written)
    assert not again.replayed
    assert again.resource.state.balance == usd(120)
    assert isinstance(large, InsufficientFunds)
    assert large.metadata["balance"] == "1.20 USD"
    assert await balance(store) == 120


async def test_an_append_made_although_it_failed_is_found_by_request_id(
    bank: WriteSide, store: InterposedStore
) -> None:
    one, other = some_request(), some_request()
    store.fail_next(OutcomeUnknown("the answer was lost"), made=True)
    made = await outcomes(*start(deposit(bank, 50, one), withdraw(bank, 150, other), withdraw(bank, 30)))
    assert [type(outcome) for outcome in made] == [OutcomeUnknown, OutcomeUnknown, InsufficientFunds]
    assert (await deposit(bank, 50, one)).replayed
    assert (await withdraw(bank, 150, other)).replayed
    assert await balance(store) == 0


@pytest.mark.parametrize("made", [False, True])
async def test_a_failed_append_leaves_the_account_as_the_disk_has_it(
    bank: WriteSide, store: InterposedStore, made: bool
) -> None:
    for _ in range(3):
        store.fail_next(OutcomeUnknown("who knows"), made)
        with pytest.raises(OutcomeUnknown):
            await deposit(bank, 1)
    assert await balance(store) == (103 if made else 100)
    written = await deposit(bank, 1)
    assert written.resource.state.balance.minor == await balance(store)


async def test_every_command_fails_while_the_store_is_away_and_succeeds_afterwards(disk: SqliteEventStore) -> None:
    store = InterposedStore(disk)
    store.die(at=1, made=False, silently=False)
    bank = WriteSide(store, clock, kept_max=10)
    made = await outcomes(*start(deposit(bank, 1), deposit(bank, 1), withdraw(bank, 1000)))
    assert {type(outcome) for outcome in made} == {StoreUnavailable}
    store.dead.clear()
    assert (await deposit(bank, 1)).resource.revision == 2


async def test_another_writer_in_the_middle_has_everything_decided_again(disk: SqliteEventStore) -> None:
    store = InterposedStore(disk, sole_writer=False)
    ours, theirs = WriteSide(store, clock, kept_max=10), WriteSide(disk, clock, kept_max=10)
    await ours.accounts.load("a-1")
    store.before_next(lambda: withdraw(theirs, 50))
    made = await outcomes(*start(withdraw(ours, 60), withdraw(ours, 40), deposit(ours, 5), withdraw(ours, 16)))
    assert [type(outcome) for outcome in made] == [InsufficientFunds, Written, Written, InsufficientFunds]
    last = made[2]
    assert isinstance(last, Written)
    assert last.resource.revision == 4
    assert last.resource.state.balance == usd(15)
    assert await balance(disk) == 15


async def test_another_writer_with_the_same_request_makes_ours_a_replay(disk: SqliteEventStore) -> None:
    store = InterposedStore(disk, sole_writer=False)
    ours, theirs = WriteSide(store, clock, kept_max=10), WriteSide(disk, clock, kept_max=10)
    await ours.accounts.load("a-1")
    request = some_request()
    store.before_next(lambda: deposit(theirs, 50, request))
    replay, other = await asyncio.gather(deposit(ours, 50, request), deposit(ours, 1))
    assert replay.replayed
    assert (replay.resource.revision, other.resource.revision) == (2, 3)
    assert await balance(disk) == 151


async def test_another_writer_makes_an_expected_revision_stale(disk: SqliteEventStore) -> None:
    store = InterposedStore(disk, sole_writer=False)
    ours, theirs = WriteSide(store, clock, kept_max=10), WriteSide(disk, clock, kept_max=10)
    await ours.accounts.load("a-1")
    store.before_next(lambda: deposit(theirs, 50))
    with pytest.raises(RevisionMismatch) as refused:
        await deposit(ours, 1, Request(expected_revision=1))
    assert refused.value.metadata["actualRevision"] == "2"


async def test_another_writer_again_and_again_delays_but_loses_nothing(disk: SqliteEventStore) -> None:
    store = InterposedStore(disk, sole_writer=False)
    ours, theirs = WriteSide(store, clock, kept_max=10), WriteSide(disk, clock, kept_max=10)
    left = 5

    async def overtake() -> None:
        nonlocal left
        await deposit(theirs, 10)
        left -= 1
        if left:
            store.before_next(overtake)

    store.before_next(overtake)
    written = await asyncio.gather(*(deposit(ours, 1) for _ in range(3)))
    assert sorted(one.resource.state.balance.minor for one in written) == [151, 152, 153]
    assert await balance(disk) == 153


async def test_a_store_that_contradicts_itself_is_reported_as_damaged_without_endless_retries(
    bank: WriteSide, store: InterposedStore
) -> None:
    store.fail_next(WrongExpectedRevision("nobody wrote"))
    with pytest.raises(StoreDamaged):
        await deposit(bank, 1)
    await deposit(bank, 1)


# Callers that give up


async def test_a_caller_that_gives_up_before_the_decision_leaves_no_trace(
    bank: WriteSide, store: InterposedStore
) -> None:
    store.hold()
    first = start(deposit(bank, 1))
    await store.asked_for(1)
    gone, stays = start(deposit(bank, 10), deposit(bank, 100))
    await turns()
    gone.cancel()
    await turns()
    store.release()
    await asyncio.gather(*first, stays)
    assert gone.cancelled()
    assert await balance(store) == 201


async def test_a_caller_that_gives_up_while_the_account_is_read_leaves_no_trace(store: InterposedStore) -> None:
    bank = WriteSide(store, clock, kept_max=10)
    store.hold_reads()
    gone, stays = start(deposit(bank, 10), deposit(bank, 100))
    await turns()
    gone.cancel()
    await turns()
    store.release_reads()
    assert (await stays).resource.state.balance == usd(200)
    assert [len(asked.events) for asked in store.asked] == [1]


async def test_a_caller_that_gives_up_after_the_decision_finds_it_made_by_request_id(
    bank: WriteSide, store: InterposedStore
) -> None:
    request = some_request()
    store.hold()
    gone, stays = start(deposit(bank, 10, request), deposit(bank, 1))
    await store.asked_for(1)
    gone.cancel()
    await turns()
    store.release()
    assert (await stays).resource.state.balance == usd(111)
    assert (await deposit(bank, 10, request)).replayed
    assert await balance(store) == 111


async def test_when_all_give_up_the_append_still_ends_whole(bank: WriteSide, store: InterposedStore) -> None:
    store.hold()
    gone = start(*(deposit(bank, 1) for _ in range(5)))
    await store.asked_for(1)
    for task in gone:
        task.cancel()
    await turns()
    store.release()
    assert (await deposit(bank, 1)).resource.state.balance == usd(106)


async def test_a_caller_that_gives_up_on_a_failing_append_does_not_disturb_the_others(
    bank: WriteSide, store: InterposedStore
) -> None:
    store.hold()
    store.fail_next(StoreUnavailable("away"))
    gone, told, refused = start(deposit(bank, 10), deposit(bank, 1), withdraw(bank, 1000))
    await store.asked_for(1)
    gone.cancel()
    store.release()
    assert [type(outcome) for outcome in await outcomes(told, refused)] == [StoreUnavailable, InsufficientFunds]
    assert await balance(store) == 100


# Requests, however long ago


async def test_the_same_request_many_times_at_once_is_made_once(bank: WriteSide, store: InterposedStore) -> None:
    request = some_request()
    written = await asyncio.gather(*(deposit(bank, 1, request) for _ in range(50)))
    assert sorted(one.replayed for one in written) == [False] + [True] * 49
    assert {(one.resource, one.event_id, one.record_time) for one in written} == {
        (written[0].resource, written[0].event_id, written[0].record_time)
    }
    assert await balance(store) == 101


async def test_a_replay_answers_the_account_as_it_was_then(bank: WriteSide) -> None:
    request = some_request()
    first = await deposit(bank, 50, request)
    await withdraw(bank, 150)
    replay = await deposit(bank, 50, request)
    assert replay == first._replace(replayed=True)


async def test_requests_are_known_however_many_have_followed(bank: WriteSide, store: InterposedStore) -> None:
    requests = [some_request() for _ in range(500)]
    await asyncio.gather(*(deposit(bank, 1, request) for request in requests))
    for again in (bank, WriteSide(store, clock, kept_max=10)):
        written = await deposit(again, 1, requests[0])
        assert (written.replayed, written.resource.revision) == (True, 2)
        with pytest.raises(RequestIdReused):
            await deposit(again, 2, requests[1])
        some = [requests[0], *random.Random(1).sample(requests, 8), requests[-1], requests[0]]
        assert all(one.replayed for one in await asyncio.gather(*(deposit(again, 1, request) for request in some)))
    assert await balance(store) == 100 + len(requests)


async def test_the_old_ones_of_many_requests_at_once_are_replays(bank: WriteSide, store: InterposedStore) -> None:
    requests = [some_request() for _ in range(40)]
    await asyncio.gather(*(deposit(bank, 1, request) for request in requests))
    mixed = [request for old in requests for request in (old, some_request())]
    written = await asyncio.gather(*(deposit(bank, 1, request) for request in mixed))
    assert [one.replayed for one in written] == [True, False] * 40
    assert await balance(store) == 180


async def test_the_store_is_asked_once_for_all_requests_that_are_decided_together(
    bank: WriteSide, store: InterposedStore
) -> None:
    requests = [some_request() for _ in range(20)]
    await asyncio.gather(*(deposit(bank, 1, request) for request in requests), deposit(bank, 1))
    assert [set(found) for found in store.found] == [{request.id for request in requests}]
    await deposit(bank, 1)
    assert len(store.found) == 1


async def test_a_command_of_several_events_is_replayed_as_a_whole(bank: WriteSide, store: InterposedStore) -> None:
    request = some_request(hash=b"h" * 16)

    def twice(state: Account | None) -> Sequence[MoneyDeposited]:
        first = movements.deposit(state, Deposit("a-1", usd(1), "first"))
        return (first, movements.deposit(account.apply(state, first), Deposit("a-1", usd(2), "second")))

    written = await bank.accounts.execute("a-1", twice, request)
    await deposit(bank, 1)
    replay = await bank.accounts.execute("a-1", twice, request)
    assert replay == written._replace(replayed=True)
    assert written.resource.revision == 3
    stored = await store.read_stream(STREAM, 1, 2)
    assert [(event.metadata.part, event.metadata.parts) for event in stored] == [(0, 2), (1, 2)]
    assert stored[0].id != stored[1].id
    assert await WriteSide(store, clock, kept_max=10).accounts.execute("a-1", twice, request) == replay


# Bugs stay with who brought them


async def test_a_command_that_fails_half_way_leaves_none_of_its_events(bank: WriteSide, store: InterposedStore) -> None:
    def half_bad(state: Account | None) -> Sequence[MoneyDeposited]:
        return (MoneyDeposited(usd(1), "good", usd(101)), MoneyDeposited(usd(1), "\ud800", usd(102)))

    failed, written = await together(bank.accounts.execute("a-1", half_bad, Request()), deposit(bank, 5))
    assert isinstance(failed, ValueError)
    assert (written.resource.revision, written.resource.state.balance) == (2, usd(105))
    assert [event.id for event in await store.read_stream(STREAM, after=1)] == [written.event_id]
    assert await balance(store) == 105


async def test_a_bug_in_one_decision_harms_no_other(bank: WriteSide) -> None:
    def buggy(_: Account | None) -> Sequence[MoneyDeposited]:
        raise KeyError("bug")

    failed, written = await together(bank.accounts.execute("a-1", buggy, Request()), deposit(bank, 5))
    assert isinstance(failed, KeyError)
    assert written.resource.state.balance == usd(105)


# A command without events


def nothing(_: Account | None) -> Sequence[MoneyDeposited]:
    return ()


async def test_a_command_without_events_appends_nothing_and_answers_the_account(
    bank: WriteSide, store: InterposedStore
) -> None:
    before = await deposit(bank, 5)
    written = await bank.accounts.execute("a-1", nothing, Request())
    assert written == Written(before.resource, b"", 0, before.position, replayed=False)
    assert len(store.asked) == 1


async def test_a_command_without_events_leaves_its_request_id_unused(bank: WriteSide) -> None:
    request = some_request()
    first = await bank.accounts.execute("a-1", nothing, request)
    assert await bank.accounts.execute("a-1", nothing, request) == first
    assert not (await deposit(bank, 5, request)).replayed


async def test_a_command_without_events_among_others_waits_for_what_it_was_decided_on(
    bank: WriteSide, store: InterposedStore
) -> None:
    store.hold()
    first, unchanged = start(deposit(bank, 5), bank.accounts.execute("a-1", nothing, Request()))
    await store.asked_for(1)
    await turns()
    assert not unchanged.done()
    store.release()
    assert (await unchanged).resource == (await first).resource
    assert (await unchanged).position == (await first).position


async def test_a_command_without_events_checks_its_expected_revision(bank: WriteSide) -> None:
    with pytest.raises(RevisionMismatch):
        await bank.accounts.execute("a-1", nothing, Request(expected_revision=2))


async def test_a_command_on_what_is_not_there_must_make_an_event(bank: WriteSide) -> None:
    with pytest.raises(ValueError, match="no event"):
        await bank.accounts.execute("a-2", nothing, Request())


# The bank's own requests


def step(bank: WriteSide, request: Request) -> Coroutine[Any, Any, Written[Account]]:
    """A deposit that the bank makes for itself, as a step of something larger."""
    command = Deposit("a-1", usd(7), "")
    return bank.accounts.execute("a-1", lambda state: (movements.deposit(state, command),), request)


@pytest.mark.parametrize("sole_writer", [True, False])
@pytest.mark.parametrize("caller_first", [True, False])
async def test_a_request_id_of_the_banks_own_is_not_a_callers(
    disk: SqliteEventStore, caller_first: bool, sole_writer: bool
) -> None:
    bank = WriteSide(InterposedStore(disk, sole_writer=sole_writer), clock, kept_max=10)
    request = some_request()

    async def both(bank: WriteSide) -> list[Written[Account]]:
        if caller_first:
            return [await deposit(bank, 7, request), await step(bank, request)]
        return [await step(bank, request), await deposit(bank, 7, request)]

    written = await both(bank)
    assert [one.replayed for one in written] == [False, False]
    assert len({one.event_id for one in written}) == 2
    for again in (bank, WriteSide(disk, clock, kept_max=10)):
        assert await both(again) == [one._replace(replayed=True) for one in written]
    assert await balance(disk) == 114


async def test_a_step_of_the_banks_own_beside_a_callers_request_of_the_same_id_and_moment(bank: WriteSide) -> None:
    request = some_request()
    first, second, replay = await asyncio.gather(step(bank, request), deposit(bank, 5, request), step(bank, request))
    assert [first.replayed, second.replayed, replay.replayed] == [False, False, True]
    assert replay.resource == first.resource


# What is stored


async def test_an_event_is_stored_with_all_that_is_known_of_its_command(
    bank: WriteSide, store: InterposedStore
) -> None:
    request = some_request(correlation_id="c-1", causation_id="0b6ed2a8-6c1b-8000-8000-0123456789ab")
    written = await deposit(bank, 1, request)
    (event,) = await store.find_requests(STREAM, [request.id])
    meta = event.metadata
    assert (meta.correlation_id, meta.owner_id) == ("c-1", "john")
    assert meta.causation_id == "0b6ed2a8-6c1b-8000-8000-0123456789ab"
    assert (meta.record_time, meta.part, meta.parts) == (NOON, 0, 1)
    assert meta.request_hash == fingerprint("Deposit", Deposit("a-1", usd(1), ""))
    assert event.id == written.event_id


async def test_an_event_of_a_request_has_the_same_id_wherever_it_is_made(disk: SqliteEventStore) -> None:
    request = some_request()
    one, other = InterposedStore(disk), InterposedStore(disk)
    for store in (one, other):
        store.fail_next(StoreUnavailable("away"))
        with pytest.raises(StoreUnavailable):
            await deposit(WriteSide(store, clock, kept_max=10), 1, request)
    assert one.asked[0].events[0].id == other.asked[0].events[0].id


async def test_record_times_of_an_account_never_run_backwards(
    disk: SqliteEventStore, caplog: pytest.LogCaptureFixture
) -> None:
    """Another instance's clock was ahead."""
    now = NOON
    store = InterposedStore(disk, sole_writer=False)
    ours = WriteSide(store, lambda: now, kept_max=10)
    theirs = WriteSide(disk, lambda: NOON + 90_000_000, kept_max=10)
    ahead = await deposit(theirs, 1)
    written = await asyncio.gather(*(deposit(ours, 1) for _ in range(2)))
    assert {one.record_time for one in written} == {ahead.record_time}
    assert {one.resource.update_time for one in written} == {ahead.record_time}
    assert [record.levelname for record in caplog.records if "clock is behind" in record.message] == ["WARNING"]
    now = ahead.record_time + 1
    assert (await deposit(ours, 1)).record_time == now


async def test_a_clock_that_is_slightly_behind_causes_no_warning(
    disk: SqliteEventStore, caplog: pytest.LogCaptureFixture
) -> None:
    await deposit(WriteSide(disk, lambda: NOON + 1_000_000, kept_max=10), 1)
    assert (await deposit(WriteSide(disk, clock, kept_max=10), 1)).record_time == NOON + 1_000_000
    assert not caplog.records


# Memory


@pytest.mark.parametrize("kept_max", [1, 3, 100])
async def test_an_evicted_account_is_read_again(disk: SqliteEventStore, kept_max: int) -> None:
    bank = WriteSide(disk, clock, kept_max)
    dice = random.Random(kept_max)
    ids = [f"b-{number}" for number in range(12)]
    await asyncio.gather(*(open_account(bank, account_id, 0) for account_id in ids))
    expected = dict.fromkeys(ids, 0)
    requests: list[tuple[str, int, Request]] = []
    for _ in range(10):
        moves = [(dice.choice(ids), dice.randint(1, 9), some_request()) for _ in range(20)]
        requests += moves
        again = dice.sample(requests, 5)
        await asyncio.gather(
            *(accounts.deposit(bank, Deposit(one, usd(cents), ""), request) for one, cents, request in moves + again)
        )
        for account_id, cents, _ in moves:
            expected[account_id] += cents
    for account_id in ids:
        found = await bank.accounts.load(account_id)
        assert found is not None
        assert found.state.balance == usd(expected[account_id])


# Several banks on one store


@pytest.fixture
async def banks(disk: SqliteEventStore) -> tuple[WriteSide, WriteSide]:
    """Two instances; the first has read the account and does not know what the second will do."""
    ours, theirs = (WriteSide(InterposedStore(disk, sole_writer=False), clock, kept_max=10) for _ in range(2))
    await ours.accounts.load("a-1")
    return ours, theirs


async def test_a_refusal_decided_on_stale_state_is_decided_again(banks: tuple[WriteSide, WriteSide]) -> None:
    ours, theirs = banks
    await deposit(theirs, 1000)
    assert (await withdraw(ours, 1000)).resource.state.balance == usd(100)


async def test_an_acceptance_decided_on_stale_state_is_decided_again(banks: tuple[WriteSide, WriteSide]) -> None:
    ours, theirs = banks
    await withdraw(theirs, 100)
    with pytest.raises(InsufficientFunds) as refused:
        await withdraw(ours, 1)
    assert refused.value.metadata["balance"] == "0.00 USD"


async def test_a_request_that_another_instance_made_is_a_replay(banks: tuple[WriteSide, WriteSide]) -> None:
    ours, theirs = banks
    request = some_request()
    written = await deposit(theirs, 1, request)
    with pytest.raises(RequestIdReused):
        await deposit(ours, 2, request)
    assert await deposit(ours, 1, request) == written._replace(replayed=True)


async def test_a_request_that_another_instance_made_is_not_made_twice(
    banks: tuple[WriteSide, WriteSide], disk: SqliteEventStore
) -> None:
    """Ours does not know of it, so it asks for the same append: the store knows the events by their ids."""
    ours, theirs = banks
    request = some_request()
    written = await deposit(theirs, 1, request)
    again = await deposit(ours, 1, request)
    assert (again.resource, again.event_id) == (written.resource, written.event_id)
    assert await balance(disk) == 101


async def test_a_revision_that_another_instance_made_is_known(banks: tuple[WriteSide, WriteSide]) -> None:
    ours, theirs = banks
    await deposit(theirs, 1)
    assert (await deposit(ours, 1, Request(expected_revision=2))).resource.revision == 3
    with pytest.raises(RevisionMismatch):
        await deposit(theirs, 1, Request(expected_revision=2))


async def test_an_account_that_another_instance_opened_is_found(banks: tuple[WriteSide, WriteSide]) -> None:
    ours, theirs = banks
    command = Deposit("a-2", usd(1), "")
    with pytest.raises(AccountNotFound):
        await accounts.deposit(ours, command, Request())
    assert await ours.accounts.load("a-2") is None
    await open_account(theirs, "a-2", 0)
    assert await ours.accounts.load("a-2") is not None
    assert (await accounts.deposit(ours, command, Request())).resource.state.balance == usd(1)


async def test_two_instances_at_once_lose_nothing(banks: tuple[WriteSide, WriteSide], disk: SqliteEventStore) -> None:
    requests = [some_request() for _ in range(40)]
    written = await asyncio.gather(*(deposit(bank, 1, request) for request in requests for bank in banks))
    assert {one.resource.revision for one in written} == set(range(2, 42))
    assert len({one.event_id for one in written}) == 40
    assert await balance(disk) == 140


# All of it at random


@pytest.mark.parametrize("seed", range(8))
async def test_every_request_happens_exactly_once_on_a_failing_store(disk: SqliteEventStore, seed: int) -> None:
    """Callers that repeat until they have an answer, on stores that fail before or after the append, at random."""
    dice = random.Random(seed)
    stores = [InterposedStore(disk, sole_writer=False) for _ in range(1 + seed % 2)]
    banks = [WriteSide(store, clock, kept_max=10) for store in stores]

    async def insist(cents: int, request: Request) -> int:
        """The sum that moved."""
        while True:
            bank, store = dice.choice(list(zip(banks, stores, strict=True)))
            if dice.random() < 0.2:
                made = dice.random() < 0.5
                store.fail_next(OutcomeUnknown("?") if made or dice.random() < 0.5 else StoreUnavailable("!"), made)
            try:
                await (deposit if cents > 0 else withdraw)(bank, abs(cents), request)
            except InsufficientFunds:
                return 0
            except (StoreUnavailable, OutcomeUnknown):
                continue
            return cents

    moves = [(dice.choice([1, 20, 50, -10, -70]), some_request()) for _ in range(150)]
    moved = await asyncio.gather(*(insist(cents, request) for cents, request in moves))
    assert await balance(disk) == 100 + sum(moved)
    stored = [event.metadata.request_id for event in await disk.read_stream(STREAM, after=1)]
    assert sorted(stored) == sorted(request.id for (_, request), cents in zip(moves, moved, strict=True) if cents)


# Dry runs


DRY = Request(validate_only=True)


async def test_nothing_is_decided_on_what_a_dry_run_would_do(bank: WriteSide, store: InterposedStore) -> None:
    made = await outcomes(
        *start(withdraw(bank, 100, DRY), withdraw(bank, 100), withdraw(bank, 1, DRY), deposit(bank, 5, DRY))
    )
    assert [type(one) for one in made] == [Written, Written, InsufficientFunds, Written]
    dry, real, _, last = made
    assert isinstance(dry, Written) and isinstance(real, Written) and isinstance(last, Written)  # noqa: PT018
    assert (dry.resource.revision, dry.resource.state) == (real.resource.revision, real.resource.state)
    assert (last.resource.revision, last.resource.state.balance) == (3, usd(5))
    assert [(one.event_id, one.record_time, one.replayed) for one in (dry, last)] == [(b"", 0, False)] * 2
    assert await balance(store) == 0
    assert (await deposit(bank, 1)).resource.revision == 3


async def test_a_dry_run_answers_only_what_is_durable(bank: WriteSide, store: InterposedStore) -> None:
    store.hold()
    first = start(deposit(bank, 50))
    await store.asked_for(1)
    second = start(withdraw(bank, 150, DRY), deposit(bank, 1), withdraw(bank, 152, DRY))
    await turns()
    assert not any(task.done() for task in second)
    store.fail_next(StoreUnavailable("away"))
    store.release()
    await asyncio.gather(*first, return_exceptions=True)
    # Without the 50 that were not written.
    made = await outcomes(*second)
    assert [type(one) for one in made] == [InsufficientFunds, Written, InsufficientFunds]


async def test_a_dry_run_does_not_use_up_its_request_id(bank: WriteSide, store: InterposedStore) -> None:
    request = some_request()
    dry = request._replace(validate_only=True)
    rehearsed, first, again = await asyncio.gather(
        deposit(bank, 1, dry), deposit(bank, 1, request), deposit(bank, 1, dry)
    )
    assert (rehearsed.event_id, first.replayed) == (b"", False)
    assert again == first._replace(replayed=True)
    assert await deposit(bank, 1, dry) == again
    with pytest.raises(RequestIdReused):
        await deposit(bank, 2, dry)
    assert await balance(store) == 101


async def test_a_dry_runs_position_is_that_of_what_it_was_decided_on(bank: WriteSide, store: InterposedStore) -> None:
    written = await deposit(bank, 1)
    assert (await deposit(bank, 1, DRY)).position == written.position
    assert await deposit(bank, 1, DRY._replace(expected_revision=2))
    with pytest.raises(RevisionMismatch):
        await deposit(bank, 1, DRY._replace(expected_revision=3))


async def test_a_dry_run_is_decided_on_what_another_instance_has_written(disk: SqliteEventStore) -> None:
    here, there = (WriteSide(InterposedStore(disk, sole_writer=False), clock, kept_max=10) for _ in range(2))
    await here.accounts.load("a-1")
    await withdraw(there, 100)
    with pytest.raises(InsufficientFunds):
        await withdraw(here, 1, DRY)
    await deposit(there, 7)
    assert (await withdraw(here, 7, DRY)).resource.state.balance == usd(0)
    assert await balance(disk) == 7
