"""Several instances are one bank: what is written on one is read, watched, paged and repeated on every other."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.transfers.v1 import transfers_service_pb2 as transfers
from tests.back_ends import BackEnd
from tests.callers import Caller, john_doe, opening, refusal, request_id, show, until_available, usd
from tests.servers import ServerProcess

INSTANCES = 3
ROUNDS = 20
TAKEOVER_SECONDS_MAX = 10.0
PROJECTS = "lease taken: this instance projects"


@pytest.fixture(params=["mixed", "servers"])
def chosen(request: pytest.FixtureRequest) -> BackEnd:
    """Those that several instances can share; in the mixed choice each has views of its own."""
    views = {"views": request.getfixturevalue("database")} if request.param == "servers" else {}
    return BackEnd(event_store="esdb", **views)


@pytest.fixture
async def banks(back_end: BackEnd, tmp_path: Path) -> AsyncIterator[Sequence[Caller]]:
    async with AsyncExitStack() as stack:
        callers = []
        for number in range(INSTANCES):
            server = await stack.enter_async_context(serving(back_end.settings(tmp_path / str(number))))
            callers.append(await stack.enter_async_context(Caller(server.address)))
        yield callers


async def test_a_write_on_one_instance_is_read_and_watched_on_every_other(banks: Sequence[Caller]) -> None:
    for writer, reader in itertools.permutations(banks, 2):
        opened = await writer.open(initial_deposit=usd("1"))
        account_id = opened.account.account_id
        watch = reader.accounts.WatchAccountEvents(
            accounts.WatchAccountEventsRequest(resume_token=opened.consistency_token, account_ids=[account_id])
        )
        paid = await writer.deposit(account_id, "2")
        assert await reader.balance(account_id, paid.consistency_token) == "3.00 USD"
        events: list[Any] = []
        while not events:
            response = await watch.read()
            events += response.events
        watch.cancel()
        assert [(event.event_id, event.revision) for event in events] == [(paid.event_id, 2)]
        # A feed's token is good for a query, and a query's for a feed, on any of them.
        assert await writer.balance(account_id, response.resume_token) == "3.00 USD"
        # Decided by another instance than the one that wrote last, which does not know of it yet.
        back = await reader.accounts.Withdraw(accounts.WithdrawRequest(account_id=account_id, amount=usd("3")))
        assert (show(back.account.balance), back.account.revision) == ("0.00 USD", 3)


async def test_a_movement_and_a_transfer_are_reversed_once_between_them(banks: Sequence[Caller]) -> None:
    first = banks[0]
    await first.open(account_id="a-1", initial_deposit=usd("100"))
    await first.open(account_id="b-1")
    asking = [*banks, *banks, *banks]
    for _ in range(5):
        paid = await first.deposit("a-1", "1")
        sending = transfers.CreateTransferRequest(
            source_account_id="a-1", destination_account_id="b-1", amount=usd("1")
        )
        sent = await first.transfers.CreateTransfer(sending)
        for other in banks:
            await other.balance("b-1", sent.consistency_token)
        movement = accounts.ReverseMovementRequest(account_id="a-1", revision=paid.account.revision)
        transfer = transfers.ReverseTransferRequest(transfer_id=sent.transfer.transfer_id)
        for calls in (
            [bank.accounts.ReverseMovement(movement) for bank in asking],
            [bank.transfers.ReverseTransfer(transfer) for bank in asking],
        ):
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            reasons = [refusal(one).reason for one in outcomes if isinstance(one, AioRpcError)]
            assert reasons == ["ALREADY_REVERSED"] * 8
    token = (await first.deposit("a-1", "1")).consistency_token
    assert [await first.balance(id, token) for id in ("a-1", "b-1")] == ["101.00 USD", "0.00 USD"]


async def test_without_a_token_what_is_there_is_never_said_to_be_missing(banks: Sequence[Caller]) -> None:
    for writer, reader in itertools.permutations(banks, 2):
        registered = await writer.register()
        found = await reader.persons.GetPerson(persons.GetPersonRequest(person_id=registered.person.person_id))
        assert found.person == registered.person


async def test_a_list_begun_on_one_instance_continues_on_another(banks: Sequence[Caller]) -> None:
    registered = [(await banks[number % INSTANCES].register()).person.person_id for number in range(7)]
    token = (await banks[0].open(registered[0])).consistency_token
    listed: list[str] = []
    request = persons.ListPersonsRequest(page_size=2, consistency_token=token)
    for bank in itertools.cycle(banks):
        page = await bank.persons.ListPersons(request)
        listed += [person.person_id for person in page.persons]
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert listed == registered


async def test_one_request_sent_to_all_at_once_is_done_once(banks: Sequence[Caller]) -> None:
    account_id = (await banks[0].open()).account.account_id
    for _ in range(ROUNDS):
        same = request_id()
        answers = await asyncio.gather(*(bank.deposit(account_id, "10", request_id=same) for bank in banks))
        assert sorted(answer.replayed for answer in answers) == [False, True, True]
        assert len({(answer.event_id, answer.account.revision) for answer in answers}) == 1
        assert len({answer.record_time.ToNanoseconds() for answer in answers}) == 1
    events = await banks[1].account_events()
    assert [event.revision for event in events] == list(range(1, ROUNDS + 2))


async def test_a_request_repeated_on_another_instance_is_replayed(banks: Sequence[Caller]) -> None:
    account_id = (await banks[0].open()).account.account_id
    for one, other in itertools.permutations(banks, 2):
        # So that the other has the account in memory, without what comes now.
        await other.deposit(account_id, "1")
        named = request_id()
        done = await one.deposit(account_id, "10", request_id=named)
        again = await other.deposit(account_id, "10", request_id=named)
        assert again.replayed
        again.replayed = False
        assert again == done


async def test_one_registration_sent_to_all_at_once_makes_one_person(banks: Sequence[Caller]) -> None:
    for _ in range(ROUNDS):
        request = john_doe(request_id=request_id())
        answers = await asyncio.gather(*(bank.persons.RegisterPerson(request) for bank in banks))
        assert len({(answer.person.person_id, answer.event_id) for answer in answers}) == 1
        assert sorted(answer.replayed for answer in answers) == [False, True, True]


async def test_one_opening_of_a_number_on_all_instances_at_once_succeeds(banks: Sequence[Caller]) -> None:
    owner_id = (await banks[0].register()).person.person_id
    for number in range(ROUNDS):
        openings = [
            bank.accounts.OpenAccount(opening(owner_id, account_number=f"NL {number}", request_id=request_id()))
            for bank in (*banks, *banks)
        ]
        outcomes = await asyncio.gather(*openings, return_exceptions=True)
        refused = [refusal(outcome).reason for outcome in outcomes if isinstance(outcome, AioRpcError)]
        assert refused == ["ACCOUNT_NUMBER_TAKEN"] * (len(outcomes) - 1)
    assert len(await banks[2].account_events()) == ROUNDS


async def test_an_account_that_is_hot_on_all_instances_takes_every_deposit(banks: Sequence[Caller]) -> None:
    account_id = (await banks[0].open()).account.account_id

    async def pay(bank: Caller) -> list[Any]:
        return [await bank.deposit(account_id, "0.01") for _ in range(ROUNDS)]

    answers = [answer for paid in await asyncio.gather(*map(pay, [*banks] * 4)) for answer in paid]
    assert sorted(answer.account.revision for answer in answers) == list(range(2, len(answers) + 2))
    last = max(answers, key=lambda answer: answer.account.revision)
    assert show(last.account.balance) == f"{len(answers) // 100}.{len(answers) % 100:02d} USD"
    for bank in banks:
        assert await bank.balance(account_id, last.consistency_token) == show(last.account.balance)


@asynccontextmanager
async def instances(count: int, back_end: BackEnd, directory: Path) -> AsyncIterator[Sequence[ServerProcess]]:
    """Processes of their own, to kill."""
    processes = [ServerProcess(directory / str(number), *back_end.flags) for number in range(count)]
    await asyncio.gather(*(process.start() for process in processes))
    try:
        yield processes
    finally:
        await asyncio.gather(*(process.kill() for process in processes))


@pytest.mark.parametrize("chosen", ["servers"], indirect=True)
async def test_one_instance_projects_and_when_it_dies_another_continues(back_end: BackEnd, tmp_path: Path) -> None:
    async with instances(2, back_end, tmp_path) as both:
        async with Caller(both[0].address) as bank:
            opened = await bank.open()
            await bank.balance(opened.account.account_id, opened.consistency_token)
        [holder] = [process for process in both if process.said(PROJECTS)]
        [other] = [process for process in both if process is not holder]
        await holder.kill()
        killed = time.monotonic()
        async with Caller(other.address) as bank:
            paid = await bank.deposit(opened.account.account_id, "1")
            while True:
                try:
                    assert await bank.balance(opened.account.account_id, paid.consistency_token) == "1.00 USD"
                    break
                except AioRpcError as error:
                    assert refusal(error).reason == "VIEW_BEHIND"  # noqa: PT017 - for as long as nobody projects
        assert time.monotonic() - killed < TAKEOVER_SECONDS_MAX
        assert len(other.said(PROJECTS)) == 1


@pytest.mark.parametrize("chosen", ["servers"], indirect=True)
async def test_an_instance_that_stops_hands_over_at_once(back_end: BackEnd, tmp_path: Path) -> None:
    async with instances(2, back_end, tmp_path) as both:
        async with Caller(both[0].address) as bank:
            opened = await bank.open()
            await bank.balance(opened.account.account_id, opened.consistency_token)
        [holder] = [process for process in both if process.said(PROJECTS)]
        [other] = [process for process in both if process is not holder]
        assert await holder.stop() == 0
        async with Caller(other.address) as bank:
            paid = await bank.deposit(opened.account.account_id, "1")
            assert await bank.balance(opened.account.account_id, paid.consistency_token) == "1.00 USD"


async def test_a_rolling_restart_under_load_loses_nothing(back_end: BackEnd, tmp_path: Path) -> None:
    """Clients that send a request again, to any instance that serves, under its request id."""
    acknowledged: Counter[str] = Counter()
    async with instances(2, back_end, tmp_path) as both, AsyncExitStack() as stack:
        callers: dict[str, Caller] = {}

        async def caller(number: int) -> Caller:
            address = both[number % 2].address or both[(number + 1) % 2].address
            if address not in callers:
                callers[address] = await stack.enter_async_context(Caller(address))
            return callers[address]

        first = await caller(0)
        account_ids = [(await until_available(first.open)).account.account_id for _ in range(4)]
        stopping = False

        async def pay(account_id: str) -> None:
            while not stopping:
                named = request_id()
                for tries in itertools.count():
                    try:
                        await (await caller(tries)).deposit(account_id, "1", request_id=named)
                        break
                    except AioRpcError as error:
                        assert error.code() in (StatusCode.UNAVAILABLE, StatusCode.CANCELLED)  # noqa: PT017
                        await asyncio.sleep(0.05)
                acknowledged[account_id] += 1
                await asyncio.sleep(0.01)

        paying = asyncio.gather(*(pay(account_id) for account_id in account_ids))
        for process in both:
            await asyncio.sleep(0.3)
            assert await process.stop() == 0
            await process.start()
        await asyncio.sleep(0.3)
        stopping = True
        await paying
        events = await until_available((await caller(0)).account_events)

    assert len({event.event_id for event in events}) == len(events)
    for account_id in account_ids:
        own = [event for event in events if event.account_id == account_id]
        assert [event.revision for event in own] == list(range(1, len(own) + 1))
        assert len(own) - 1 == acknowledged[account_id] > 20
        assert show(own[-1].balance) == f"{acknowledged[account_id]}.00 USD"
