"""Watches end with their caller's right, and continue elsewhere without a gap; limits of callers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import grpc.aio
import pytest
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode

from openbank.access.caller import Caller, Limits
from openbank.access.errors import RateLimited
from openbank.access.rates import Rates
from openbank.access.roles import Grants
from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub
from openbank.app import serving
from openbank.common.v1.feed_pb2 import FEED_SIGNAL_CLOSING
from openbank.config import Settings
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.server import Server
from tests.access.callers import Keys, ask, write_access
from tests.callers import Refusal, john_doe, opening, refusal, usd

REGISTER = "openbank.persons.v1.PersonsService/RegisterPerson"
LIST = "openbank.persons.v1.PersonsService/ListPersons"
OPEN = "openbank.accounts.v1.AccountsService/OpenAccount"
DEPOSIT = "openbank.accounts.v1.AccountsService/Deposit"
WITHDRAW = "openbank.accounts.v1.AccountsService/Withdraw"
OWNER = 'owner = "john"'


class Watched(NamedTuple):
    server: Server
    channel: grpc.aio.Channel
    keys: Keys
    access: Path

    async def teller(self, method: str, request: Any) -> None:
        asked = await ask(self.channel, method, request, self.keys["teller"].key)
        assert asked.reason == "OK", asked.refused

    async def deposit(self) -> None:
        await self.teller(DEPOSIT, accounts.DepositRequest(account_id="a", amount=usd("1")))

    def change(self, *entries: str) -> None:
        write_access(self.access, self.keys.entry("teller", "teller"), *entries)
        self.server.reloader.look_now()


@pytest.fixture
async def bank(tmp_path: Path) -> AsyncIterator[Watched]:
    """With John's account "a", and the keys of a teller and of John."""
    keys = Keys()
    access = write_access(
        tmp_path / "access.toml",
        keys.entry("teller", "teller"),
        keys.entry("john", "customer", more=OWNER),
        keys.entry("auditor", "auditor"),
    )
    settings = Settings(listen="127.0.0.1:0", data=tmp_path / "data", access=access, drain_seconds=1)
    async with serving(settings) as server, grpc.aio.insecure_channel(server.address) as channel:
        bank = Watched(server, channel, keys, access)
        await bank.teller(REGISTER, john_doe(person_id="john"))
        await bank.teller(OPEN, opening("john", account_id="a"))
        yield bank


class Watch:
    """Reads a watch to its end."""

    def __init__(self, bank: Watched, caller: str, **start: Any) -> None:
        stub: Any = AccountsServiceStub(bank.channel)
        request = accounts.WatchAccountEventsRequest(**(start or {"beginning": Empty()}))
        self._stream = stub.WatchAccountEvents(request, metadata=[("authorization", f"Bearer {bank.keys[caller].key}")])
        self.revisions: list[int] = []
        self.last: Any = None
        self.ended = asyncio.ensure_future(self._read())

    async def _read(self) -> Refusal:
        try:
            async for response in self._stream:
                self.last = response
                self.revisions += [event.revision for event in response.events]
        except grpc.aio.AioRpcError as error:
            return refusal(error)
        raise AssertionError("the watch ended without a reason")

    async def confirmed(self) -> None:
        async with asyncio.timeout(5):
            while self.last is None:  # noqa: ASYNC110 - the stream says when
                await asyncio.sleep(0.01)


async def test_a_watch_whose_token_expires_is_closed_and_continues_with_the_next_one(bank: Watched) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=2)
    expires = f"{OWNER}\nexpires = {soon.isoformat()}"
    bank.change(bank.keys.entry("john", "customer", more=OWNER), bank.keys.entry("short", "customer", more=expires))
    await asyncio.sleep(0.8)
    watch = Watch(bank, "short")
    await watch.confirmed()
    await bank.deposit()
    refused = await asyncio.wait_for(watch.ended, 10)
    assert time.time() >= soon.timestamp()
    assert (refused.code, refused.reason) == (StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")
    assert watch.last.signal == FEED_SIGNAL_CLOSING
    assert refused.metadata["resumeToken"] == watch.last.resume_token
    await bank.deposit()
    again = Watch(bank, "john", resume_token=watch.last.resume_token)
    await again.confirmed()
    await bank.deposit()
    async with asyncio.timeout(5):
        while [*watch.revisions, *again.revisions] != [1, 2, 3, 4]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    again.ended.cancel()


@pytest.mark.parametrize(
    ("entries", "code", "reason"),
    [
        ([], StatusCode.UNAUTHENTICATED, "TOKEN_INVALID"),
        ([("john", "operator", OWNER)], StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING"),
        ([("john", "customer", 'owner = "mary"')], StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING"),
        ([("john", "auditor", OWNER)], StatusCode.PERMISSION_DENIED, "PERMISSION_MISSING"),
    ],
    ids=["the key is gone", "the role is gone", "another person's", "no restriction any more"],
)
async def test_a_watch_ends_when_its_right_is_taken_away(
    bank: Watched, entries: list[tuple[str, str, str]], code: StatusCode, reason: str
) -> None:
    watch, other = Watch(bank, "john"), Watch(bank, "auditor")
    await watch.confirmed()
    await other.confirmed()
    auditor = bank.keys.entry("auditor", "auditor")
    bank.change(auditor, *(bank.keys.entry(name, role, more=more) for name, role, more in entries))
    refused = await asyncio.wait_for(watch.ended, 5)
    assert (refused.code, refused.reason) == (code, reason)
    assert watch.last.signal == FEED_SIGNAL_CLOSING
    assert refused.metadata["resumeToken"] == watch.last.resume_token
    await bank.deposit()
    async with asyncio.timeout(5):
        while other.revisions != [1, 2]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert not other.ended.done()
    assert watch.revisions == [1]
    other.ended.cancel()


async def test_a_watch_ends_when_its_caller_may_not_see_actors_any_more(bank: Watched) -> None:
    watch = Watch(bank, "auditor")
    await watch.confirmed()
    bank.change(bank.keys.entry("auditor", "reader"), '[role.reader]\npermissions = ["events.watch"]')
    refused = await asyncio.wait_for(watch.ended, 5)
    assert (refused.reason, refused.metadata["permission"]) == ("PERMISSION_MISSING", "actors.read")


async def test_a_change_that_keeps_the_permission_ends_no_watch(bank: Watched) -> None:
    watch = Watch(bank, "john")
    await watch.confirmed()
    bank.change(bank.keys.entry("john", "customer", more=OWNER))
    await asyncio.sleep(1)
    await bank.deposit()
    async with asyncio.timeout(5):
        while watch.revisions != [1, 2]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    watch.ended.cancel()


async def test_a_caller_beyond_its_limits_learns_when_to_call_again(bank: Watched) -> None:
    limits = "[limits.customer]\ncalls_per_second = 0.5\nburst = 3\nwatches = 2\n"
    bank.change(bank.keys.entry("john", "customer", more=OWNER), bank.keys.entry("auditor", "auditor"), limits)
    await asyncio.sleep(0.8)
    john = bank.keys["john"].key
    watches = [Watch(bank, "john") for _ in range(2)]
    for watch in watches:
        await watch.confirmed()
    refused = await asyncio.wait_for(Watch(bank, "john").ended, 5)
    assert (refused.code, refused.reason) == (StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
    assert (refused.metadata["limit"], refused.metadata["maxCount"]) == ("watches", "2")
    assert refused.details["RetryInfo"].retry_delay.seconds == 5
    asked = await ask(bank.channel, WITHDRAW, accounts.WithdrawRequest(account_id="a", amount=usd("1")), john)
    assert asked.refused is not None
    assert (asked.code, asked.reason) == (StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
    assert (asked.refused.metadata["limit"], asked.refused.metadata["maxCount"]) == ("calls_per_second", "0.5")
    assert 0 < asked.refused.details["RetryInfo"].retry_delay.ToMilliseconds() <= 2000
    for _ in range(10):
        await bank.deposit()
    assert (await ask(bank.channel, LIST, persons.ListPersonsRequest(), bank.keys["auditor"].key)).reason == "OK"
    for watch in watches:
        watch.ended.cancel()


def caller(name: str, **limits: float) -> Caller:
    return Caller(name, (), Grants(), limits=Limits(**limits))


def test_calls_come_back_as_time_goes_by() -> None:
    now = [0.0]
    rates = Rates(lambda: now[0])
    john = caller("john", calls_per_second=2, burst=3)
    for _ in range(3):
        rates.count(john)
    with pytest.raises(RateLimited) as caught:
        rates.count(john)
    assert caught.value.metadata["retryMilliseconds"] == "500"
    now[0] = 0.5
    rates.count(john)
    with pytest.raises(RateLimited):
        rates.count(john)
    rates.count(caller("mary", calls_per_second=2, burst=3))
    now[0] = 1000
    for _ in range(3):
        rates.count(john)
    with pytest.raises(RateLimited):
        rates.count(john)


def test_each_command_of_a_batch_counts_as_a_call() -> None:
    now = [0.0]
    rates = Rates(lambda: now[0])
    john = caller("john", calls_per_second=2, burst=10)

    def send(commands: int) -> int:
        """After how many milliseconds to send it again; 0 if it was carried out."""
        try:
            rates.count(john)
            rates.count_commands(john, commands)
        except RateLimited as refused:
            return int(refused.metadata["retryMilliseconds"])
        return 0

    assert [send(commands) for commands in (7, 3, 1)] == [0, 0, 500]
    now[0] = 2.0
    # Four are left, and a batch that is refused takes none of them.
    assert [send(5), send(5), send(4)] == [500, 500, 0]
    # A batch of more than the burst needs all of it, and is paid for afterwards.
    now[0] = 6.5
    assert send(500) == 500
    now[0] = 7.0
    assert [send(500), send(1)] == [0, 245_500]
    now[0] = 7.0 + 245.5
    assert [send(1), send(1)] == [0, 500]


def test_a_batch_can_be_sent_at_the_smallest_burst() -> None:
    rates = Rates(lambda: 0.0)
    john = caller("john", calls_per_second=1, burst=1)
    rates.count(john)
    rates.count_commands(john, 500)
    with pytest.raises(RateLimited) as refused:
        rates.count(john)
    assert refused.value.metadata["retryMilliseconds"] == "500000"


def test_the_memory_for_limits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openbank.access.rates.CALLERS_MAX", 10)
    rates = Rates(lambda: 0.0)
    for number in range(100):
        rates.count(caller(f"c-{number}", calls_per_second=1, burst=1))
        with rates.watching(caller(f"c-{number}", watches=1)):
            pass
    assert len(rates._buckets) == 10
    assert rates._watches == {}
