"""request_id: the same request again is the first outcome again, whatever happened in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from openbank.commands import accounts, persons
from openbank.commands.write_side import WriteSide
from openbank.domain.errors import (
    AccountAlreadyExists,
    AccountNotFound,
    AccountNumberTaken,
    InsufficientFunds,
    OwnerNotFound,
    PersonAlreadyExists,
    PersonNotFound,
    Refused,
    RequestIdReused,
)
from openbank.domain.internal import RequestClaimed
from openbank.domain.movements import Deposit, Withdraw
from openbank.domain.person import RegisterPerson, UpdateAddress
from openbank.domain.request import Request
from openbank.eventstore.errors import StoreUnavailable
from openbank.eventstore.sqlite import SqliteEventStore
from tests.commands.conftest import Restart
from tests.eventstore.interposed import InterposedStore
from tests.examples import HOME, OFFICE, john, opening, some_request, usd


class Rpc(NamedTuple):
    call: Callable[[WriteSide, Any, Request], Awaitable[Any]]
    command: Any
    other: Any
    """Another command of the same kind."""
    refused: Any
    """One that is refused."""
    refusal: type[Refused]


RPCS = {
    "RegisterPerson": Rpc(
        persons.register_person,
        RegisterPerson(john(person_id="")),
        RegisterPerson(john(person_id="", first_name="Jane")),
        RegisterPerson(john()),
        PersonAlreadyExists,
    ),
    "RegisterPerson, with an id": Rpc(
        persons.register_person,
        RegisterPerson(john(person_id="p-1")),
        RegisterPerson(john(person_id="p-2")),
        RegisterPerson(john()),
        PersonAlreadyExists,
    ),
    "UpdateAddress": Rpc(
        persons.update_address,
        UpdateAddress("john", OFFICE),
        UpdateAddress("john", HOME),
        UpdateAddress("nobody", HOME),
        PersonNotFound,
    ),
    "OpenAccount": Rpc(
        accounts.open_account, opening("1"), opening("2"), opening("1", owner_id="nobody"), OwnerNotFound
    ),
    "OpenAccount, with an id": Rpc(
        accounts.open_account,
        opening("1", account_id="b-1"),
        opening("1", account_id="b-2"),
        opening("123456789", account_id="b-1"),
        AccountNumberTaken,
    ),
    "Deposit": Rpc(
        accounts.deposit,
        Deposit("a-1", usd(1), ""),
        Deposit("a-1", usd(1), "other"),
        Deposit("nobody", usd(1), ""),
        AccountNotFound,
    ),
    "Withdraw": Rpc(
        accounts.withdraw,
        Withdraw("a-1", usd(1), ""),
        Withdraw("a-1", usd(2), ""),
        Withdraw("a-1", usd(10**9), ""),
        InsufficientFunds,
    ),
}


@pytest.fixture(params=list(RPCS.values()), ids=list(RPCS))
def rpc(request: pytest.FixtureRequest) -> Rpc:
    rpc: Rpc = request.param
    return rpc


# The same request


async def test_the_same_request_again_is_the_first_outcome(bank: WriteSide, disk: SqliteEventStore, rpc: Rpc) -> None:
    request = some_request()
    first = await rpc.call(bank, rpc.command, request)
    head = await disk.head()
    for _ in range(3):
        assert await rpc.call(bank, rpc.command, request) == first._replace(replayed=True)
    assert not first.replayed
    assert await disk.head() == head


async def test_the_same_request_at_the_same_moment_happens_once(
    bank: WriteSide, store: InterposedStore, rpc: Rpc
) -> None:
    request = some_request()
    written = await asyncio.gather(*(rpc.call(bank, rpc.command, request) for _ in range(50)))
    assert {one.event_id for one in written} == {written[0].event_id}
    assert {one.resource for one in written} == {written[0].resource}
    assert {one.record_time for one in written} == {written[0].record_time}
    assert sum(not one.replayed for one in written) <= 1
    made = [event for asked in store.asked for event in asked.events if event.metadata.request_id]
    assert len(made) == 1


async def test_the_same_request_after_a_restart_is_the_first_outcome(
    bank: WriteSide, restart: Restart, rpc: Rpc
) -> None:
    request = some_request()
    first = await rpc.call(bank, rpc.command, request)
    assert await rpc.call(await restart(), rpc.command, request) == first._replace(replayed=True)


async def test_a_replay_answers_as_it_did_then(bank: WriteSide, rpc: Rpc) -> None:
    request = some_request()
    first = await rpc.call(bank, rpc.command, request)
    await accounts.deposit(bank, Deposit("a-1", usd(1), ""), Request())
    await persons.update_address(bank, UpdateAddress("john", OFFICE), Request())
    assert await rpc.call(bank, rpc.command, request) == first._replace(replayed=True)


async def test_a_replay_does_not_mind_what_has_changed_since(bank: WriteSide) -> None:
    request = some_request()
    first = await accounts.withdraw(bank, Withdraw("a-1", usd(100_000), ""), request)
    assert first.resource.state.balance == usd(0)
    again = await accounts.withdraw(bank, Withdraw("a-1", usd(100_000), ""), request)
    assert again == first._replace(replayed=True)


async def test_expected_revision_and_correlation_are_not_part_of_what_a_request_is(bank: WriteSide) -> None:
    request = some_request(expected_revision=1, correlation_id="first")
    first = await accounts.deposit(bank, Deposit("a-1", usd(1), ""), request)
    for other in (
        request,
        request._replace(expected_revision=None, correlation_id="second"),
        request._replace(expected_revision=77),
    ):
        again = await accounts.deposit(bank, Deposit("a-1", usd(1), ""), other)
        assert again == first._replace(replayed=True)


async def test_without_a_request_id_every_call_is_a_request_of_its_own(bank: WriteSide) -> None:
    for revision in (2, 3):
        written = await accounts.deposit(bank, Deposit("a-1", usd(1), ""), Request())
        assert (written.resource.revision, written.replayed) == (revision, False)
    register = RegisterPerson(john(person_id=""))
    one, other = [await persons.register_person(bank, register, Request()) for _ in range(2)]
    assert one.resource.state.person_id != other.resource.state.person_id


# Another request


async def test_another_request_under_a_known_id_is_refused_and_writes_nothing(
    bank: WriteSide, disk: SqliteEventStore, rpc: Rpc
) -> None:
    request = some_request()
    first = await rpc.call(bank, rpc.command, request)
    head = await disk.head()
    for command in (rpc.other, rpc.other):
        with pytest.raises(RequestIdReused) as refused:
            await rpc.call(bank, command, request)
        assert refused.value.violations[0][:2] == ("request_id", "REQUEST_ID_REUSED")
    assert await disk.head() == head
    assert (await rpc.call(bank, rpc.command, request)).resource == first.resource


async def test_another_request_under_a_known_id_is_refused_after_a_restart(
    bank: WriteSide, restart: Restart, rpc: Rpc
) -> None:
    request = some_request()
    await rpc.call(bank, rpc.command, request)
    with pytest.raises(RequestIdReused):
        await rpc.call(await restart(), rpc.other, request)


async def test_one_of_two_requests_under_one_id_at_the_same_moment_is_made(bank: WriteSide, rpc: Rpc) -> None:
    request = some_request()
    outcomes = await asyncio.gather(
        *(rpc.call(bank, command, request) for command in (rpc.command, rpc.other)), return_exceptions=True
    )
    assert sum(isinstance(outcome, RequestIdReused) for outcome in outcomes) == 1
    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 1


async def test_a_known_request_id_is_reported_before_other_faults(bank: WriteSide) -> None:
    request = some_request()
    await accounts.deposit(bank, Deposit("a-1", usd(1), ""), request)
    with pytest.raises(RequestIdReused):
        await accounts.withdraw(bank, Withdraw("a-1", usd(10**9), ""), request._replace(expected_revision=77))

    request = some_request()
    await accounts.open_account(bank, opening("1"), request)
    with pytest.raises(RequestIdReused):
        await accounts.open_account(bank, opening("123456789", owner_id="nobody"), request)


# Whose the id is


async def test_the_id_of_a_move_belongs_to_its_account(bank: WriteSide) -> None:
    request = some_request()
    other = await accounts.open_account(bank, opening("2"), Request())
    await accounts.deposit(bank, Deposit("a-1", usd(1), ""), request)
    written = await accounts.deposit(bank, Deposit(other.resource.state.account_id, usd(1), ""), request)
    assert not written.replayed
    moved = await persons.update_address(bank, UpdateAddress("john", OFFICE), request)
    assert not moved.replayed


async def test_on_one_account_a_deposit_and_a_withdrawal_are_two_requests(bank: WriteSide) -> None:
    request = some_request()
    await accounts.deposit(bank, Deposit("a-1", usd(1), ""), request)
    with pytest.raises(RequestIdReused):
        await accounts.withdraw(bank, Withdraw("a-1", usd(1), ""), request)


NEW = {name: rpc for name, rpc in RPCS.items() if name.startswith(("RegisterPerson", "OpenAccount"))}


@pytest.mark.parametrize("first", NEW.values(), ids=NEW.keys())
@pytest.mark.parametrize("second", NEW.values(), ids=NEW.keys())
async def test_the_id_of_what_makes_something_new_belongs_to_the_bank(
    bank: WriteSide, disk: SqliteEventStore, first: Rpc, second: Rpc
) -> None:
    request = some_request()
    await first.call(bank, first.command, request)
    head = await disk.head()
    with pytest.raises(RequestIdReused):
        await second.call(bank, second.other, request)
    assert await disk.head() == head


async def test_an_account_opened_by_a_request_can_have_moves_under_other_ids_only(bank: WriteSide) -> None:
    request = some_request()
    account_id = (await accounts.open_account(bank, opening("1"), request)).resource.state.account_id
    with pytest.raises(RequestIdReused):
        await accounts.deposit(bank, Deposit(account_id, usd(1), ""), request)


# Refusals are not remembered


async def test_a_refused_requests_id_can_be_used_for_another(bank: WriteSide, rpc: Rpc) -> None:
    request = some_request()
    for _ in range(2):
        with pytest.raises(rpc.refusal):
            await rpc.call(bank, rpc.refused, request)
    written = await rpc.call(bank, rpc.command, request)
    assert not written.replayed


async def test_a_refused_request_may_succeed_later(bank: WriteSide) -> None:
    request = some_request()
    with pytest.raises(InsufficientFunds):
        await accounts.withdraw(bank, Withdraw("a-1", usd(100_001), ""), request)
    await accounts.deposit(bank, Deposit("a-1", usd(1), ""), Request())
    written = await accounts.withdraw(bank, Withdraw("a-1", usd(100_001), ""), request)
    assert (written.replayed, written.resource.state.balance) == (False, usd(0))


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_id_is_free_again_when_the_number_was_lost_after_it_was_claimed(
    bank: WriteSide, store: InterposedStore, restart: Restart, restarted: bool
) -> None:
    request = some_request()
    store.before_next(lambda: accounts.open_account(bank, opening("n 1"), some_request()))
    with pytest.raises(AccountNumberTaken):
        await accounts.open_account(bank, opening("N1"), request)
    if restarted:
        bank = await restart()
    with pytest.raises(AccountNumberTaken):
        await accounts.open_account(bank, opening("N1"), request)
    written = await accounts.open_account(bank, opening("N2"), request)
    assert (written.replayed, written.resource.state.account_number) == (False, "N2")
    with pytest.raises(RequestIdReused):
        await accounts.open_account(bank, opening("N1"), request)


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_id_is_free_again_when_the_account_id_was_lost_after_it_was_claimed(
    bank: WriteSide, store: InterposedStore, restart: Restart, restarted: bool
) -> None:
    request = some_request()
    store.before_next(lambda: accounts.open_account(bank, opening("2", account_id="b-1"), some_request()))
    with pytest.raises(AccountAlreadyExists):
        await accounts.open_account(bank, opening("1", account_id="b-1"), request)
    if restarted:
        bank = await restart()
    # The account that won has scope of its own for the same id.
    await accounts.deposit(bank, Deposit("b-1", usd(1), ""), request)
    written = await accounts.open_account(bank, opening("1", account_id="b-2"), request)
    assert (written.replayed, written.resource.state.account_number) == (False, "1")


@pytest.mark.parametrize("restarted", [False, True])
async def test_an_id_is_free_again_when_the_person_id_was_lost_after_it_was_claimed(
    bank: WriteSide, store: InterposedStore, restart: Restart, restarted: bool
) -> None:
    request = some_request()
    jane, other = RegisterPerson(john(person_id="jane")), RegisterPerson(john(person_id="jane", first_name="Other"))
    store.before_next(lambda: persons.register_person(bank, other, some_request()))
    with pytest.raises(PersonAlreadyExists):
        await persons.register_person(bank, jane, request)
    if restarted:
        bank = await restart()
    with pytest.raises(PersonAlreadyExists):
        await persons.register_person(bank, jane, request)
    written = await persons.register_person(bank, replace(jane, person=john(person_id="jane-2")), request)
    assert not written.replayed


async def test_an_id_is_not_free_while_its_request_may_still_succeed(
    bank: WriteSide, store: InterposedStore, disk: SqliteEventStore
) -> None:
    request = some_request()
    store.die(at=2, made=False, silently=False)
    with pytest.raises(StoreUnavailable):
        await accounts.open_account(bank, opening("1"), request)
    again = WriteSide(disk, bank.clock, kept_max=10)
    with pytest.raises(RequestIdReused):
        await accounts.open_account(again, opening("2"), request)
    assert not (await accounts.open_account(again, opening("1"), request)).replayed


async def test_an_id_that_a_newer_versions_call_has_claimed_is_not_taken_over(
    bank: WriteSide, disk: SqliteEventStore
) -> None:
    """Whatever there is under the id that it claimed for: this version cannot tell what that call makes."""
    opened = await accounts.open_account(bank, opening(account_number="newer"), Request())
    request = some_request()
    claimed = RequestClaimed("OpenSafe", b"\x01" + bytes(15), opened.resource.state.account_id)
    await bank.requests.execute(str(UUID(bytes=request.id)), lambda _: (claimed,), Request())
    before = await disk.head()
    with pytest.raises(RequestIdReused):
        await persons.register_person(bank, RegisterPerson(john(person_id="")), request)
    assert await disk.head() == before
