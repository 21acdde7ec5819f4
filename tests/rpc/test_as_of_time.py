"""`as_of_time` of a message with `caught_up` is its own sending time, even if another watch got the same events."""

from __future__ import annotations

import asyncio
import time

from google.protobuf.empty_pb2 import Empty

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.config import Settings
from tests.callers import Caller
from tests.examples import NOON

LATER_SECONDS = 0.3
OFF_SECONDS_MAX = 0.15
FROM_THE_BEGINNING = accounts.WatchAccountEventsRequest(beginning=Empty(), stop_when_caught_up=True)


async def test_a_watch_gets_its_own_time_with_events_that_another_watch_has_had(bank: Caller) -> None:
    opened = await bank.open()
    await bank.deposit(opened.account.account_id, "1")
    for _ in range(3):
        began = time.time()
        messages = [message async for message in bank.accounts.WatchAccountEvents(FROM_THE_BEGINNING)]
        ended = time.time()
        last = messages[-1]
        assert last.caught_up
        assert len(last.events) == 2
        assert began - OFF_SECONDS_MAX < last.as_of_time.ToMicroseconds() / 1e6 <= ended
        await asyncio.sleep(LATER_SECONDS)


async def test_the_time_never_goes_back_within_a_watch(bank: Caller) -> None:
    opened = await bank.open()
    watch = bank.accounts.WatchAccountEvents(accounts.WatchAccountEventsRequest(live=Empty()))
    times = [(await watch.read()).as_of_time.ToMicroseconds()]
    for _ in range(10):
        await bank.deposit(opened.account.account_id, "1")
        times.append((await watch.read()).as_of_time.ToMicroseconds())
    assert times == sorted(times)


async def test_the_first_message_of_a_history_has_a_token_and_no_time(bank: Caller) -> None:
    await bank.open()
    async for message in bank.accounts.WatchAccountEvents(FROM_THE_BEGINNING):
        assert message.resume_token
        assert not message.HasField("as_of_time")
        break


async def test_as_of_time_is_the_time_of_the_banks_own_clock(settings: Settings) -> None:
    async with serving(settings, lambda: NOON) as server, Caller(server.address) as bank:
        await bank.open()
        messages = [message async for message in bank.accounts.WatchAccountEvents(FROM_THE_BEGINNING)]
        assert messages[-1].caught_up
        assert messages[-1].as_of_time.ToMicroseconds() == NOON
