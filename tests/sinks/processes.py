"""Receivers in processes of their own, to kill, and what they have written down."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from google.protobuf.empty_pb2 import Empty

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.publishing.events import STORED_TYPES
from tests.callers import Caller
from tests.servers import ServerProcess
from tests.stand_ins.process import Restartable


class Received(NamedTuple):
    aggregate: str
    revision: int
    id: str


class Recorder(Restartable):
    """A receiver that keeps a record, which outlives it."""

    def __init__(self, record: Path) -> None:
        super().__init__("127.0.0.1:0")
        self.record = record

    @property
    def received(self) -> list[Received]:
        """In the order of arrival. A line that a kill has cut short was never confirmed."""
        text = self.record.read_text() if self.record.exists() else ""
        lines = [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [Received(aggregate, int(sequence), id) for aggregate, sequence, id in lines]


class HttpReceiver(Recorder):
    scheme = "http"

    def refuse(self, *ids: str) -> None:
        self.record.with_suffix(".poison").write_text(" ".join(ids))

    def fail(self, *ids: str) -> None:
        self.record.with_suffix(".failing").write_text(" ".join(ids))

    def command(self) -> list[str]:
        module = ["-m", "tests.sinks.http_receiver"]
        return [sys.executable, *module, "--listen", self.address, "--record", str(self.record)]


class NatsConsumer(Recorder):
    def __init__(self, record: Path, server: str) -> None:
        super().__init__(record)
        self._server = server

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.sinks.nats_consumer", self._server, "--record", str(self.record)]


@asynccontextmanager
async def serving(data: Path, *flags: str) -> AsyncIterator[ServerProcess]:
    """A bank in a process of its own, which is gone afterwards whatever happens."""
    bank = ServerProcess(data, *flags)
    await bank.start()
    try:
        yield bank
    finally:
        await bank.kill()


async def recorded(bank: Caller, token: str = "") -> set[Received]:
    """Every event of the bank that is published, by its feeds: at least those up to a write that gave this token."""
    if token:
        # An instance that has not followed the log so far lets this watch wait.
        reached = accounts.WatchAccountEventsRequest(resume_token=token, stop_when_caught_up=True)
        async for _ in bank.accounts.WatchAccountEvents(reached):
            pass
    by_account = bank.accounts.WatchAccountEvents(
        accounts.WatchAccountEventsRequest(beginning=Empty(), stop_when_caught_up=True)
    )
    by_person = bank.persons.WatchPersonEvents(
        persons.WatchPersonEventsRequest(beginning=Empty(), stop_when_caught_up=True)
    )
    found = [("account", one.account_id, one) async for response in by_account for one in response.events]
    found += [("person", one.person_id, one) async for response in by_person for one in response.events]
    return {Received(f"{kind}-{id}", one.revision, one.event_id) for kind, id, one in found if _is_published(one)}


def _is_published(event: Any) -> bool:
    payload = getattr(event, event.WhichOneof("payload"))
    return payload.DESCRIPTOR.full_name in STORED_TYPES.values()


async def arrived(receiver: Recorder, expected: set[Received], seconds_max: float = 60.0) -> None:
    """Until it has them all."""
    try:
        async with asyncio.timeout(seconds_max):
            while not expected <= set(receiver.received):  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.05)
    except TimeoutError:
        missing = expected - set(receiver.received)
        raise AssertionError(f"{len(missing)} of {len(expected)} events are missing: {sorted(missing)[:3]}") from None


def assert_in_order(received: list[Received]) -> None:
    """An event may come again, but none for the first time after one that follows it. Revisions that are not published
    are left out."""
    last: dict[str, int] = {}
    for one in dict.fromkeys(received):
        assert one.revision > last.get(one.aggregate, 0), f"{one} came after {last[one.aggregate]}"
        last[one.aggregate] = one.revision
