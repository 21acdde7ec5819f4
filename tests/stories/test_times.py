"""A watch that starts at a time starts there on every back end, also where the clocks of the bank ran backwards."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.config import Settings
from tests.callers import Caller

NOON = 1_700_006_400_000_000
SECONDS = (0, 50, 130, 20, 61, 200, 199, 200, 300)
"""After noon, of deposits one after the other."""


async def test_it_is_the_first_event_in_the_logs_order_that_was_recorded_then_or_later(settings: Settings) -> None:
    now = NOON
    async with serving(settings, clock=lambda: now) as server, Caller(server.address) as bank:
        # Each has an account of its own: those of one account are never recorded before each other.
        account_ids = [(await bank.open()).account.account_id for _ in SECONDS]
        for seconds, account_id in zip(SECONDS, account_ids, strict=True):
            now = NOON + seconds * 1_000_000
            answer = await bank.deposit(account_id, "1")
        await bank.balance(account_id, answer.consistency_token)
        for since in (-70, 0, 1, 60, 61, 130, 131, 200, 201, 300):
            first = next(number for number, seconds in enumerate(SECONDS) if seconds >= since)
            assert await seconds_since(bank, NOON + since * 1_000_000) == list(SECONDS[first:]), since
        assert await seconds_since(bank, NOON + 301_000_000) == []

    async with serving(settings, clock=lambda: now) as server, Caller(server.address) as bank:
        assert await seconds_since(bank, NOON + 131_000_000) == [200, 199, 200, 300]


async def seconds_since(bank: Caller, time: int) -> Sequence[int]:
    """When the deposits were recorded that a watch from this time gives, in seconds after noon."""
    since = Timestamp()
    since.FromMicroseconds(time)
    request = accounts.WatchAccountEventsRequest(time=since, stop_when_caught_up=True)
    events = [event async for response in bank.accounts.WatchAccountEvents(request) for event in response.events]
    deposits = [event for event in events if event.HasField("money_deposited")]
    return [(event.record_time.ToMicroseconds() - NOON) // 1_000_000 for event in deposits]
