"""Many commands in one call: each by itself, or all of them or none. On every back end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.batches.v1 import batches_service_pb2 as batches
from openbank.commands import on_account
from openbank.holds.v1 import holds_service_pb2 as holds
from openbank.transfers.v1 import transfers_service_pb2 as transfers
from tests.back_ends import BackEnd
from tests.callers import Refusal, john_doe, opening, refusal_of, refused, request_id, show, usd
from tests.foresight import check_foreseen, same_outcome
from tests.servers import ServerProcess
from tests.stories.histories import WEIGHTS, AnyCaller, History
from tests.stories.one_account import NOW, Clock, opened

INDEPENDENT, ATOMIC = batches.BATCH_MODE_INDEPENDENT, batches.BATCH_MODE_ATOMIC
SECOND = 1_000_000
FIELDS = {field.message_type.name: field.name for field in batches.BatchCommand.DESCRIPTOR.fields}


class Bank(AnyCaller):
    async def execute(self, mode: Any, *requests: Any, **changes: Any) -> Any:
        return await self.batches.ExecuteBatch(batch(mode, *requests, **changes))

    async def each(self, *requests: Any, **changes: Any) -> list[Any]:
        """The answer to each, or its refusal."""
        return [outcome_of(one) for one in (await self.execute(INDEPENDENT, *requests, **changes)).results]


def batch(mode: Any, *requests: Any, **changes: Any) -> batches.ExecuteBatchRequest:
    commands = [batches.BatchCommand(**{FIELDS[type(request).__name__]: request}) for request in requests]
    return batches.ExecuteBatchRequest(mode=mode, commands=commands, **changes)


def outcome_of(result: batches.BatchResult) -> Any:
    name = result.WhichOneof("outcome")
    assert name
    made = getattr(result, name)
    return refusal_of(made) if name == "status" else made


def deposit(amount: str, account_id: str = "a-1", **changes: Any) -> accounts.DepositRequest:
    return accounts.DepositRequest(account_id=account_id, amount=usd(amount), **changes)


def withdraw(amount: str, account_id: str = "a-1", **changes: Any) -> accounts.WithdrawRequest:
    return accounts.WithdrawRequest(account_id=account_id, amount=usd(amount), **changes)


def named(request: Any) -> Any:
    request.request_id = request_id()
    return request


@pytest.fixture
async def bank(back_end: BackEnd, tmp_path: Path, clock: Clock) -> AsyncIterator[Bank]:
    async with opened(Bank, back_end, tmp_path / "data", clock) as bank:
        yield bank


async def test_a_dry_run_among_other_commands_counts_what_they_record(bank: Bank) -> None:
    repeated = named(withdraw("90"))
    tried, done, again, too_much = await bank.each(
        named(withdraw("10", validate_only=True)),
        repeated,
        withdraw("90", request_id=repeated.request_id, validate_only=True),
        named(withdraw("20", validate_only=True)),
    )
    assert (show(tried.account.balance), show(done.account.balance)) == ("90.00 USD", "10.00 USD")
    assert (again.replayed, again.event_id, again.account) == (True, done.event_id, done.account)
    assert (too_much.reason, too_much.metadata["availableBalance"]) == ("INSUFFICIENT_FUNDS", "10.00 USD")


async def test_a_customer_is_taken_on_in_one_call(bank: Bank) -> None:
    person, account = named(john_doe(person_id="zoe")), named(opening("zoe", account_id="z-1"))
    paid, spent = named(deposit("10", "z-1")), named(withdraw("3", "z-1"))
    sent = named(
        transfers.CreateTransferRequest(source_account_id="z-1", destination_account_id="a-1", amount=usd("2"))
    )
    answer = await bank.execute(INDEPENDENT, person, account, paid, sent, spent)
    registered, open_, *_, last = [outcome_of(one) for one in answer.results]
    assert (registered.person.person_id, open_.account.owner_id) == ("zoe", "zoe")
    assert show(last.account.balance) == "5.00 USD"
    assert await bank.balance("z-1", answer.consistency_token) == "5.00 USD"
    assert await bank.balance("a-1", answer.consistency_token) == "102.00 USD"
    again = await bank.each(person, account, paid, sent, spent)
    assert all(one.replayed for one in again)
    assert await bank.balance("a-1") == "102.00 USD"


async def test_commands_on_one_account_are_carried_out_in_their_order(bank: Bank) -> None:
    requests = [named(withdraw("100")), named(deposit("7")), named(withdraw("8")), named(withdraw("7"))]
    first, second, third, last = await bank.each(*requests)
    assert [show(one.account.balance) for one in (first, second, last)] == ["0.00 USD", "7.00 USD", "0.00 USD"]
    assert [one.account.revision for one in (first, second, last)] == [2, 3, 4]
    alone = await refused(bank.accounts.Withdraw(withdraw("8")))
    assert third.code is StatusCode.FAILED_PRECONDITION
    assert (third.reason, third.metadata["balance"]) == ("INSUFFICIENT_FUNDS", "7.00 USD")
    assert third.details.keys() == alone.details.keys()


async def test_an_independent_batch_that_is_sent_twice_at_once_is_carried_out_once(bank: Bank) -> None:
    requests = [named(deposit("1")) for _ in range(50)]
    once, again = await asyncio.gather(bank.each(*requests), bank.each(*requests))
    assert [one.event_id for one in once] == [one.event_id for one in again]
    assert all(one.replayed != other.replayed for one, other in zip(once, again, strict=True))
    assert (await bank.account(again[-1].consistency_token)).balance == usd("150")


async def test_a_command_sent_twice_in_a_batch_is_carried_out_once(bank: Bank) -> None:
    request = named(deposit("1"))
    other = deposit("2", request_id=request.request_id)
    for validate_only in (True, False):
        first, again, reused = await bank.each(request, request, other, validate_only=validate_only)
        assert first.account == again.account
        assert reused.violations == {"request_id": "REQUEST_ID_REUSED"}
    assert again.replayed


async def test_an_atomic_batch_is_recorded_as_a_whole_and_replayed_as_a_whole(bank: Bank) -> None:
    request = batch(ATOMIC, deposit("5"), withdraw("105"), deposit("7", description="Rest"), request_id=request_id())
    rehearsed = await bank.batches.ExecuteBatch(_dry(request))
    assert (await bank.account()).revision == 1
    made = await bank.batches.ExecuteBatch(request)
    outcomes = [outcome_of(one) for one in made.results]
    assert [show(one.account.balance) for one in outcomes] == ["105.00 USD", "0.00 USD", "7.00 USD"]
    assert [one.account.revision for one in outcomes] == [2, 3, 4]
    for one, foreseen in zip(outcomes, rehearsed.results, strict=True):
        check_foreseen(request, outcome_of(foreseen), one)
    events = [event for event in await bank.account_events() if event.account_id == "a-1"][1:]
    assert [(one.event_id, one.record_time) for one in outcomes] == [(one.event_id, one.record_time) for one in events]
    assert {event.request_id for event in events} == {request.request_id}

    await bank.deposit("a-1", "1")
    for dry in (False, True):
        again = await bank.batches.ExecuteBatch(_dry(request) if dry else request)
        assert again.replayed
        for one, first in zip(map(outcome_of, again.results), outcomes, strict=True):
            assert one.replayed
            assert (one.account, one.event_id, one.record_time) == (first.account, first.event_id, first.record_time)
    request.commands[0].deposit.amount.units = 6
    assert (await refused(bank.batches.ExecuteBatch(request))).reason == "REQUEST_ID_REUSED"


async def test_a_deposit_is_not_a_replay_of_a_withdrawal(bank: Bank) -> None:
    """They have the same fields."""
    id = request_id()
    await bank.execute(ATOMIC, deposit("5"), request_id=id)
    assert (await refused(bank.execute(ATOMIC, withdraw("5"), request_id=id))).reason == "REQUEST_ID_REUSED"


async def test_nothing_is_kept_of_an_atomic_batch_that_fails(bank: Bank) -> None:
    request = batch(ATOMIC, deposit("5"), withdraw("106"), withdraw("1000"), request_id=request_id())
    told = await refused(bank.batches.ExecuteBatch(request))
    assert (told.code, told.reason) == (StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_FUNDS")
    assert (told.metadata["command"], told.metadata["balance"]) == ("commands[1].withdraw", "105.00 USD")
    assert told.message.startswith("commands[1].withdraw: ")
    assert (await bank.account()).revision == 1
    # Its request id is not used up.
    paid = await bank.deposit("a-1", "2000", request_id=request.request_id)
    assert not paid.replayed


async def test_atomic_batches_at_once_are_each_whole(bank: Bank) -> None:
    """Money that one of them takes out and brings back is never missing for another."""
    many = [bank.execute(ATOMIC, withdraw("100"), deposit("100"), request_id=request_id()) for _ in range(20)]
    made = await asyncio.gather(*many)
    assert {show(outcome_of(one.results[1]).account.balance) for one in made} == {"100.00 USD"}
    revisions = [[outcome_of(result).account.revision for result in one.results] for one in made]
    assert all(second == first + 1 for first, second in revisions)


async def test_holds_in_an_atomic_batch_are_as_those_of_single_calls(bank: Bank, clock: Clock) -> None:
    placed = await bank.holds.PlaceHold(holds.PlaceHoldRequest(account_id="a-1", amount=usd("10")))
    due = holds.PlaceHoldRequest(account_id="a-1", amount=usd("60"))
    due.ttl.seconds = 1
    await bank.holds.PlaceHold(due)
    clock.now = NOW + 2 * SECOND
    request = batch(
        ATOMIC,
        holds.PlaceHoldRequest(account_id="a-1", amount=usd("80"), description="Hotel"),
        holds.CaptureHoldRequest(account_id="a-1", hold_id=placed.hold.hold_id, amount=usd("4")),
        holds.ReleaseHoldRequest(account_id="a-1", hold_id=placed.hold.hold_id),
        request_id=request_id(),
    )
    rehearsed = await bank.batches.ExecuteBatch(_dry(request))
    made = await bank.batches.ExecuteBatch(request)
    outcomes = [outcome_of(one) for one in made.results]
    for foreseen, one in zip(rehearsed.results, outcomes, strict=True):
        check_foreseen(request, outcome_of(foreseen), one)
    assert [show(one.hold.remaining_amount) for one in outcomes] == ["80.00 USD", "6.00 USD", "0.00 USD"]
    assert outcomes[2].hold.create_time == placed.hold.create_time
    assert show(outcomes[2].account.held_balance) == "80.00 USD"
    again = await bank.batches.ExecuteBatch(request)
    assert [outcome_of(one).hold for one in again.results] == [one.hold for one in outcomes]


@pytest.mark.parametrize("mode", [INDEPENDENT, ATOMIC])
async def test_more_holds_that_are_due_than_one_append_takes_end_before_a_batch(
    bank: Bank, clock: Clock, mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(on_account, "EXPIRED_MAX", 3)
    due = holds.PlaceHoldRequest(account_id="a-1", amount=usd("10"))
    due.ttl.seconds = 1
    for _ in range(8):
        await bank.holds.PlaceHold(due)
    clock.now = NOW + 2 * SECOND
    requests = [withdraw("60"), withdraw("50"), withdraw("40")]
    if mode == INDEPENDENT:
        first, refused_, last = await bank.each(*map(named, requests))
        assert refused_.metadata["availableBalance"] == "40.00 USD"
    else:
        answer = await bank.execute(mode, requests[0], requests[2])
        first, last = map(outcome_of, answer.results)
    assert (first.account.revision, last.account.revision) == (18, 19)
    assert show(last.account.available_balance) == "0.00 USD"


async def test_an_atomic_batch_is_meant_for_a_revision(bank: Bank) -> None:
    assert (await refused(bank.execute(ATOMIC, deposit("1"), expected_revision=2))).reason == "REVISION_MISMATCH"
    await bank.execute(ATOMIC, deposit("1"), deposit("2"), expected_revision=1)


async def test_a_killed_bank_has_all_of_an_atomic_batch_or_nothing(back_end: BackEnd, tmp_path: Path) -> None:
    process = ServerProcess(tmp_path / "data", *back_end.flags)
    await process.start()
    async with Bank(process.address) as bank:
        account_id = (await bank.open(initial_deposit=usd("1"))).account.account_id
        whole = [batch(ATOMIC, *[deposit("1", account_id)] * 100, request_id=request_id()) for _ in range(4)]
        each = batch(INDEPENDENT, *[named(deposit("1", account_id)) for _ in range(100)])
        calls = [asyncio.ensure_future(_call(bank, one)) for one in (*whole, each)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        await process.kill()
        await asyncio.gather(*calls, return_exceptions=True)
    await process.start()
    async with Bank(process.address) as bank:
        events = [event for event in await bank.account_events() if event.account_id == account_id]
        for one in whole:
            assert [event.request_id for event in events].count(one.request_id) in (0, 100)
        made = [await bank.batches.ExecuteBatch(one) for one in (*whole, each)]
        assert await bank.balance_in_the_end(account_id, made[-1].consistency_token) == "501.00 USD"
    await process.stop()


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_batch_answers_as_single_calls_would(
    back_end: BackEnd, tmp_path: Path, clock: Clock, seed: int
) -> None:
    """And a dry run of it as the batch does. The single calls go to a bank of their own."""
    weights = {name: weight for name, weight in WEIGHTS.items() if name + "Request" in FIELDS}
    history = History(seed, weights)
    async with (
        serving(back_end.settings(tmp_path / "data"), clock) as server,
        serving(BackEnd().settings(tmp_path / "twin"), clock) as other,
        Bank(server.address) as bank,
        Bank(other.address) as twin,
    ):
        for one in (bank, twin):
            await one.register(person_id="p1")
            for account_id, number in (("a-1", "N1"), ("a-2", "N3")):
                await one.open("p1", account_id=account_id, account_number=number, initial_deposit=usd("500"))
        for _ in range(40):
            calls = _without_crossing([history.next() for _ in range(6)])
            requests = [request for _, request in calls]
            foreseen = await bank.each(*requests, validate_only=True)
            came = await bank.each(*requests)
            alone = [await twin.outcome(rpc, request) for rpc, request in calls]
            for request, single, one in zip(requests, alone, came, strict=True):
                same_outcome(request, single, one)
                if not isinstance(one, Refusal):
                    history.take(one)
            if not {rpc for rpc, _ in calls} & {"RegisterPerson", "OpenAccount", "CreateTransfer"}:
                for request, dry, one in zip(requests, foreseen, came, strict=True):
                    if requests.count(request) == 1:
                        check_foreseen(request, dry, one)


def _without_crossing(calls: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Each with an id of its own, and without transfers to accounts of other commands: these have no order."""
    kept: list[tuple[str, Any]] = []
    for rpc, request in calls:
        if not request.request_id:
            request.request_id = request_id()
        if rpc == "CreateTransfer" and len(calls) > 1:
            if kept:
                continue
            return [(rpc, request)]
        kept.append((rpc, request))
    return kept


async def _call(bank: Bank, request: batches.ExecuteBatchRequest) -> Any:
    return await bank.batches.ExecuteBatch(request)


def _dry(request: batches.ExecuteBatchRequest) -> batches.ExecuteBatchRequest:
    copy = batches.ExecuteBatchRequest()
    copy.CopyFrom(request)
    copy.validate_only = True
    return copy
