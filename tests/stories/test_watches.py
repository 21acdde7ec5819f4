"""Many watches at once, and those of some accounts or owners, on every back end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from google.protobuf.empty_pb2 import Empty

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.config import Settings
from tests.callers import Caller

AT_ONCE = 200


async def test_none_of_two_hundred_watches_opened_at_once_is_refused(settings: Settings) -> None:
    async with serving(settings) as server, Caller(server.address) as bank:
        account_id = (await bank.open()).account.account_id
        live = accounts.WatchAccountEventsRequest(live=Empty())
        watches = [bank.accounts.WatchAccountEvents(live) for _ in range(AT_ONCE)]
        async with asyncio.timeout(30):
            await asyncio.gather(*(watch.read() for watch in watches))
            await bank.deposit(account_id, "1")
            assert set(await asyncio.gather(*map(first_event, watches))) == {account_id}
        for watch in watches:
            watch.cancel()


async def test_the_history_of_some_accounts_is_that_part_of_all(settings: Settings) -> None:
    async with serving(settings) as server, Caller(server.address) as bank:
        owners = [(await bank.register()).person.person_id for _ in range(2)]
        opened = [(await bank.open(owner)).account.account_id for owner in owners * 2]
        for number in range(12):
            last = await bank.deposit(opened[number % 4], "1")
        await bank.balance(opened[3], last.consistency_token)

    # After a restart none of it is in memory.
    async with serving(settings) as server, Caller(server.address) as bank:
        log = await history(bank)
        assert len(log) == 16
        some = await history(bank, account_ids=opened[1:3])
        assert some == [event for event in log if event[0] in opened[1:3]]
        of_owner = await history(bank, owner_ids=owners[:1])
        assert of_owner == [event for event in log if event[0] in (opened[0], opened[2])]


async def first_event(watch: Any) -> str:
    while not (response := await watch.read()).events:
        pass
    return str(response.events[0].account_id)


async def history(bank: Caller, **filters: Sequence[str]) -> list[tuple[str, int]]:
    """Accounts and revisions, in the order in which they come."""
    request = accounts.WatchAccountEventsRequest(beginning=Empty(), stop_when_caught_up=True, **filters)  # type: ignore[arg-type]
    watch = bank.accounts.WatchAccountEvents(request)
    return [(event.account_id, event.revision) async for response in watch for event in response.events]
