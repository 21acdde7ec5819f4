"""One account has one number and one number one account, whatever races and crashes there are."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from itertools import product
from typing import Any
from uuid import UUID

import pytest

from openbank.aggregates.waiting import Written
from openbank.codec import events as codec
from openbank.commands import accounts, persons
from openbank.commands.write_side import WriteSide
from openbank.domain.errors import AccountAlreadyExists, AccountNumberTaken, Refused, RequestIdReused
from openbank.domain.fields import account_number_key
from openbank.domain.movements import OpenAccount
from openbank.domain.person import RegisterPerson
from openbank.domain.request import Request
from openbank.eventstore.errors import OutcomeUnknown, StoreUnavailable
from openbank.eventstore.port import RecordedEvent
from openbank.eventstore.sqlite import SqliteEventStore
from openbank.eventstore.streams import split
from tests.commands.conftest import Watch
from tests.eventstore.conformance import whole_log
from tests.eventstore.interposed import InterposedStore
from tests.examples import JOHN, opening, some_request

OPENED = "openbank.accounts.v1.AccountOpened"


async def openings(disk: SqliteEventStore) -> list[tuple[str, str]]:
    """Account id and number of each opening in the log, but for the one that was there before."""
    opened = [event for event in await whole_log(disk) if event.type == OPENED and event.stream != "account-a-1"]
    return [(split(event.stream)[1], number_in(event)) for event in opened]


def number_in(event: RecordedEvent) -> str:
    opened: Any = codec.decode(event.type, event.data, split(event.stream)[1])
    return str(opened.account_number)


async def opened_or_refused(bank: WriteSide, command: OpenAccount, request: Request) -> Written[Any] | Refused:
    try:
        return await accounts.open_account(bank, command, request)
    except Refused as refused:
        return refused


# Races


@pytest.mark.parametrize("known", [True, False], ids=["with request ids", "without"])
async def test_one_of_50_at_once_gets_the_number(bank: WriteSide, disk: SqliteEventStore, known: bool) -> None:
    outcomes = await asyncio.gather(
        *(opened_or_refused(bank, opening("N-1"), some_request() if known else Request()) for _ in range(50))
    )
    (written,) = [outcome for outcome in outcomes if isinstance(outcome, Written)]
    assert sum(isinstance(outcome, AccountNumberTaken) for outcome in outcomes) == 49
    assert await openings(disk) == [(written.resource.state.account_id, "N-1")]


async def test_numbers_are_the_same_however_they_are_written(bank: WriteSide, disk: SqliteEventStore) -> None:
    ways = ["de89x", "DE89X", "DE 89 X", "d e 8 9 x", " de89X"]
    outcomes = await asyncio.gather(*(opened_or_refused(bank, opening(number), some_request()) for number in ways * 5))
    assert sum(isinstance(outcome, Written) for outcome in outcomes) == 1
    assert len(await openings(disk)) == 1
    for number in ways:
        assert isinstance(await opened_or_refused(bank, opening(number), some_request()), AccountNumberTaken)


async def test_one_of_two_numbers_for_one_account_id_is_given_and_the_other_stays_free(
    bank: WriteSide, disk: SqliteEventStore
) -> None:
    requests = [some_request() for _ in range(2)]
    outcomes = await asyncio.gather(
        *(
            opened_or_refused(bank, opening(number, account_id="b-1"), request)
            for number, request in zip(("1", "2"), requests, strict=True)
        )
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["AccountAlreadyExists", "Written"]
    ((_, given),) = await openings(disk)
    free = {"1": "2", "2": "1"}[given]
    assert isinstance(await opened_or_refused(bank, opening(free), some_request()), Written)
    assert isinstance(await opened_or_refused(bank, opening(given), some_request()), AccountNumberTaken)


async def test_two_instances_give_a_number_once(disk: SqliteEventStore, clock: Watch) -> None:
    banks = [WriteSide(InterposedStore(disk, sole_writer=False), clock, kept_max=10) for _ in range(2)]
    for number in ("1", "2", "3"):
        outcomes = await asyncio.gather(
            *(opened_or_refused(bank, opening(number), some_request()) for bank in banks for _ in range(5))
        )
        assert sum(isinstance(outcome, Written) for outcome in outcomes) == 1
    assert sorted(number for _, number in await openings(disk)) == ["1", "2", "3"]


# Crashes: opening an account takes three appends, the request's claim, the number's reservation and the account

STEPS = list(product([1, 2, 3], [False, True], [False, True]))
STEP_IDS = [
    f"{'after' if made else 'before'} {('the claim', 'the reservation', 'the account')[step - 1]}, "
    f"{'silently' if silently else 'with an error'}"
    for step, made, silently in STEPS
]


@pytest.fixture(params=STEPS, ids=STEP_IDS)
async def crash(request: pytest.FixtureRequest, bank: WriteSide, store: InterposedStore) -> tuple[bool, Request]:
    """An opening of N-1 that the process did not survive: whether the number was reserved, and the request."""
    step, made, silently = request.param
    opened_by = some_request(correlation_id="first")
    store.die(step, made, silently)
    opened = asyncio.create_task(accounts.open_account(bank, opening("N-1"), opened_by))
    await store.asked_for(step)
    if silently:
        await store.dead.wait()
        opened.cancel()
    await asyncio.gather(opened, return_exceptions=True)
    assert len(store.asked) == step
    return (step, made) >= (2, True), opened_by


async def test_after_a_crash_the_same_request_finishes_it(
    crash: tuple[bool, Request], disk: SqliteEventStore, clock: Watch
) -> None:
    _, request = crash
    bank = WriteSide(disk, clock, kept_max=10)
    written = await accounts.open_account(bank, opening("N-1"), request)
    assert await openings(disk) == [(written.resource.state.account_id, "N-1")]
    again = await accounts.open_account(bank, opening("N-1"), request)
    assert again == written._replace(replayed=True)


async def test_after_a_crash_the_next_opener_finishes_the_opening_or_gets_the_number(
    crash: tuple[bool, Request], disk: SqliteEventStore, clock: Watch
) -> None:
    reserved, request = crash
    bank = WriteSide(disk, clock, kept_max=10)
    other = await opened_or_refused(bank, opening("n-1"), some_request(correlation_id="second"))
    first = await opened_or_refused(bank, opening("N-1"), request)
    if reserved:
        assert isinstance(other, AccountNumberTaken)
        assert isinstance(first, Written)
        assert first.replayed
        (event,) = await disk.read_stream(f"account-{first.resource.state.account_id}")
        assert (event.metadata.request_id, event.metadata.correlation_id) == (request.id, "first")
    else:
        assert isinstance(other, Written)
        assert isinstance(first, AccountNumberTaken)
    assert len(await openings(disk)) == 1


async def test_after_a_crash_a_dry_run_finishes_nothing_and_says_what_is_next(
    crash: tuple[bool, Request], disk: SqliteEventStore, clock: Watch
) -> None:
    _, first = crash
    for number, request in (("n-1", some_request()), ("N-1", first), ("n-1", Request())):
        before = await disk.head()
        rehearsed = await opened_or_refused(
            WriteSide(disk, clock, kept_max=10), opening(number), request._replace(validate_only=True)
        )
        assert await disk.head() == before
        came = await opened_or_refused(WriteSide(disk, clock, kept_max=10), opening(number), request)
        if isinstance(came, Written) and isinstance(rehearsed, Written) and not came.replayed:
            assert (rehearsed.event_id, rehearsed.record_time) == (b"", 0)
            made = replace(came.resource.state, account_id=rehearsed.resource.state.account_id)
            assert rehearsed.resource.state == made
            assert not request.id or made == came.resource.state
        else:
            assert (type(rehearsed), str(rehearsed)) == (type(came), str(came))


async def test_a_dry_run_of_an_opening_knows_a_request_id_that_made_something_else(bank: WriteSide) -> None:
    registered, opened = some_request(), some_request()
    await persons.register_person(bank, RegisterPerson(replace(JOHN, person_id="")), registered)
    await accounts.open_account(bank, replace(opening("n-7"), account_id=""), opened)
    for request in (registered, opened):
        command = replace(opening("n-8"), account_id="")
        for one in (request._replace(validate_only=True), request):
            with pytest.raises(RequestIdReused):
                await accounts.open_account(bank, command, one)


async def test_after_a_crash_many_openers_at_once_finish_it_once(
    crash: tuple[bool, Request], disk: SqliteEventStore, clock: Watch
) -> None:
    _, request = crash
    banks = [WriteSide(InterposedStore(disk, sole_writer=False), clock, kept_max=10) for _ in range(2)]
    outcomes = await asyncio.gather(
        *(opened_or_refused(bank, opening("N-1"), request) for bank in banks for _ in range(5)),
        *(opened_or_refused(bank, opening("N-1"), some_request()) for bank in banks for _ in range(5)),
    )
    winners = {outcome.resource.state.account_id for outcome in outcomes if isinstance(outcome, Written)}
    assert len(winners) == 1
    assert await openings(disk) == [(winners.pop(), "N-1")]


async def test_a_caller_that_gives_up_leaves_no_half_opened_account(
    bank: WriteSide, store: InterposedStore, disk: SqliteEventStore
) -> None:
    for step in (1, 2, 3):
        request, number, asked = some_request(), f"N-{step}", len(store.asked)
        store.hold(at=step)
        opened = asyncio.create_task(accounts.open_account(bank, opening(number), request))
        await store.asked_for(asked + step)
        opened.cancel()
        store.release()
        await asyncio.gather(opened, return_exceptions=True)
        written = await accounts.open_account(bank, opening(number), request)
        assert written.resource.state.account_number == number
    assert sorted(number for _, number in await openings(disk)) == ["N-1", "N-2", "N-3"]


# The caller's error


@pytest.mark.parametrize(
    ("known", "step", "told"),
    [
        (True, 1, StoreUnavailable),
        (True, 2, StoreUnavailable),
        (True, 3, StoreUnavailable),
        (False, 1, StoreUnavailable),
        # The number is reserved: the next opener opens the account, so the error must not say that nothing happened.
        (False, 2, OutcomeUnknown),
    ],
)
async def test_an_opening_fails_if_the_store_goes_away_at_any_step(
    bank: WriteSide, store: InterposedStore, disk: SqliteEventStore, known: bool, step: int, told: type[Exception]
) -> None:
    store.die(step, made=False, silently=False)
    with pytest.raises(told):
        await accounts.open_account(bank, opening("N-1"), some_request() if known else Request())
    assert await openings(disk) == []


async def test_a_first_request_is_not_a_replay_though_another_opener_finished_it(
    disk: SqliteEventStore, clock: Watch
) -> None:
    store = InterposedStore(disk, sole_writer=False)
    bank, other = WriteSide(store, clock, kept_max=10), WriteSide(disk, clock, kept_max=10)
    request = some_request()
    store.hold(at=3)
    opening_it = asyncio.create_task(accounts.open_account(bank, opening("N-1"), request))
    await store.asked_for(3)
    with pytest.raises(AccountNumberTaken):
        await accounts.open_account(other, opening("N-1"), some_request())
    store.release()
    written = await opening_it
    assert not written.replayed
    assert await openings(disk) == [(written.resource.state.account_id, "N-1")]
    again = await accounts.open_account(bank, opening("N-1"), request)
    assert again == written._replace(replayed=True)


# Reservations that came to nothing


async def test_a_reservation_whose_account_got_another_number_is_void(
    bank: WriteSide, store: InterposedStore, disk: SqliteEventStore, clock: Watch
) -> None:
    first, second = some_request(), some_request()
    store.die(at=3, made=False, silently=False)
    with pytest.raises(StoreUnavailable):
        await accounts.open_account(bank, opening("N-1", account_id="b-1"), first)
    bank = WriteSide(disk, clock, kept_max=10)
    await accounts.open_account(bank, opening("N-2", account_id="b-1"), second)

    with pytest.raises(AccountAlreadyExists):
        await accounts.open_account(bank, opening("N-1", account_id="b-1"), first)
    written = await accounts.open_account(bank, opening("N-1", account_id="b-2"), some_request())
    assert written.resource.state.account_number == "N-1"
    for number in ("N-1", "N-2"):
        with pytest.raises(AccountNumberTaken):
            await accounts.open_account(bank, opening(number), some_request())
    assert await openings(disk) == [("b-1", "N-2"), ("b-2", "N-1")]


async def test_a_void_reservation_goes_to_one_of_many(
    bank: WriteSide, store: InterposedStore, disk: SqliteEventStore, clock: Watch
) -> None:
    store.die(at=3, made=False, silently=False)
    with pytest.raises(StoreUnavailable):
        await accounts.open_account(bank, opening("N-1", account_id="b-1"), some_request())
    bank = WriteSide(disk, clock, kept_max=10)
    await accounts.open_account(bank, opening("N-2", account_id="b-1"), some_request())
    outcomes = await asyncio.gather(*(opened_or_refused(bank, opening("n-1"), some_request()) for _ in range(20)))
    assert sum(isinstance(outcome, Written) for outcome in outcomes) == 1
    assert len(await openings(disk)) == 2


async def test_without_a_request_id_a_crash_leaves_no_lost_number(
    bank: WriteSide, store: InterposedStore, disk: SqliteEventStore, clock: Watch
) -> None:
    store.die(at=2, made=False, silently=False)
    with pytest.raises(OutcomeUnknown):
        await accounts.open_account(bank, opening("N-1"), Request())
    bank = WriteSide(disk, clock, kept_max=10)
    with pytest.raises(AccountNumberTaken):
        await accounts.open_account(bank, opening("N-1"), Request())
    assert [number for _, number in await openings(disk)] == ["N-1"]


# All of it at random


@pytest.mark.parametrize("seed", range(6))
async def test_every_number_is_given_once_on_a_failing_store(disk: SqliteEventStore, clock: Watch, seed: int) -> None:
    dice = random.Random(seed)
    stores = [InterposedStore(disk, sole_writer=False) for _ in range(2)]
    banks = [WriteSide(store, clock, kept_max=dice.choice([1, 3, 100])) for store in stores]

    async def insist(command: OpenAccount, request: Request) -> Written[Any] | Refused:
        while True:
            which = dice.randrange(2)
            if dice.random() < 0.2:
                made = dice.random() < 0.5
                error = OutcomeUnknown("?") if made or dice.random() < 0.5 else StoreUnavailable("!")
                stores[which].fail_next(error, made)
            try:
                return await opened_or_refused(banks[which], command, request)
            except (StoreUnavailable, OutcomeUnknown):
                continue

    requests = [some_request() for _ in range(20)]
    calls = [
        (
            opening(dice.choice(["n 1", "N1", "n2", "N 2", "n-3"]), account_id=dice.choice(["", "", "b-1", "b-2"])),
            dice.choice(requests),
        )
        for _ in range(40)
    ]
    outcomes = await asyncio.gather(*(insist(command, request) for command, request in calls))
    opened = await openings(disk)
    numbers = [account_number_key(number) for _, number in opened]
    ids = [account_id for account_id, _ in opened]
    assert len(set(numbers)) == len(numbers)
    assert len(set(ids)) == len(ids)
    told = {
        (outcome.resource.state.account_id, outcome.resource.state.account_number)
        for outcome in outcomes
        if isinstance(outcome, Written)
    }
    assert told <= set(opened)
    assert told
    for account_id in ids:
        (event,) = await disk.read_stream(f"account-{account_id}")
        assert UUID(bytes=event.metadata.request_id) in {UUID(bytes=request.id) for request in requests}
