"""A watch whose bank follows a leader that is cut off and deposed, while another bank writes to the new one."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from google.protobuf.empty_pb2 import Empty

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from tests.back_ends import BackEnd
from tests.callers import Caller, until, until_available, usd
from tests.stand_ins.eventstoredb.cluster import cluster

DEPOSITS = 20
CUT_OFF_SECONDS = 1.5


class Watcher:
    """What a watch has said, held against what has been acknowledged."""

    def __init__(self, bank: Caller) -> None:
        self.acknowledged: list[float] = []
        """When each revision was, by this machine's clock."""
        self.revisions: list[int] = []
        self.caught_up = False
        self.stale: list[str] = []
        """What it said, and was not so."""
        self._bank = bank

    async def run(self) -> None:
        async for response in self._bank.accounts.WatchAccountEvents(
            accounts.WatchAccountEventsRequest(beginning=Empty())
        ):
            self.revisions += [event.revision for event in response.events]
            self.caught_up = response.caught_up
            if response.caught_up:
                self._check(response.as_of_time.ToMicroseconds() / 1e6)

    def _check(self, as_of: float) -> None:
        missing = [at for at in self.acknowledged[len(self.revisions) :] if at <= as_of]
        if missing:
            self.stale.append(f"all as of {as_of}, without {len(missing)} that were acknowledged from {missing[0]} on")


@pytest.mark.parametrize(
    ("finds_the_new_one", "claims_to_lead"), [(True, True), (False, False)], ids=["all seeds", "that node only"]
)
async def test_a_watch_on_a_deposed_leader_never_claims_to_be_caught_up_and_loses_nothing(
    tmp_path: Path, finds_the_new_one: bool, claims_to_lead: bool
) -> None:
    async with AsyncExitStack() as stack:
        nodes = await stack.enter_async_context(cluster())
        old = nodes.leader

        async def serve(name: str, uri: str) -> Caller:
            settings = BackEnd(uri).settings(tmp_path / name, heartbeat_seconds=0.1)
            return await stack.enter_async_context(Caller((await stack.enter_async_context(serving(settings))).address))

        writing = await serve("writing", nodes.uri)
        account_id = (await writing.open(initial_deposit=usd("1"))).account.account_id
        watching = await serve("watching", nodes.uri if finds_the_new_one else old.uri)
        watcher = Watcher(watching)
        watcher.acknowledged.append(time.time())
        running = asyncio.create_task(watcher.run())
        stack.callback(running.cancel)
        await until(lambda: watcher.caught_up)

        nodes.cut_off(old, claims_to_lead=claims_to_lead)
        nodes.elect(nodes.others[0])
        for _ in range(DEPOSITS):
            await until_available(lambda: writing.deposit(account_id, "1"))
            watcher.acknowledged.append(time.time())
            await asyncio.sleep(CUT_OFF_SECONDS / DEPOSITS)
        if not finds_the_new_one:
            assert not watcher.caught_up
            assert watcher.revisions == [1]
            await nodes.rejoin(old)
        await until(lambda: watcher.caught_up and len(watcher.revisions) == 1 + DEPOSITS, 10)
        assert watcher.revisions == [*range(1, 2 + DEPOSITS)]
        assert watcher.stale == []
