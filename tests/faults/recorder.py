"""A client that follows a feed through everything that happens to the bank."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpc.aio import AioRpcError

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.persons.v1 import persons_service_pb2 as persons
from tests.callers import Caller
from tests.faults.told import Broken, Told, understand

PAUSE_SECONDS = 0.1


class Recorder:
    """What it was given, in order: event ids."""

    def __init__(self, caller: Callable[[], Caller]) -> None:
        self.events: list[str] = []
        self.resumed = 0
        self.complete: dict[int, int] = {}
        """By how many events there were: the latest time as of which these were said to be all, in microseconds."""
        self._caller = caller
        self._token = ""

    async def run(self) -> None:
        while True:
            before = self._token
            try:
                async for response in self._watch(self._caller()):
                    self.events += [event.event_id for event in response.events]
                    self._token = response.resume_token
                    if response.caught_up:
                        count = len(self.events)
                        as_of = response.as_of_time.ToMicroseconds()
                        self.complete[count] = max(as_of, self.complete.get(count, 0))
                raise Broken("a feed has ended that was not asked to")
            except AioRpcError as error:
                if understand(error)[0] is Told.REFUSED:
                    raise Broken(f"a feed was refused: {error.details()}") from None
            self.resumed += self._token != before
            await asyncio.sleep(PAUSE_SECONDS)

    def _watch(self, caller: Caller) -> Any:
        raise NotImplementedError

    def _start(self) -> dict[str, Any]:
        return {"resume_token": self._token} if self._token else {"beginning": Empty()}


class AccountEvents(Recorder):
    def _watch(self, caller: Caller) -> Any:
        return caller.accounts.WatchAccountEvents(accounts.WatchAccountEventsRequest(**self._start()))


class PersonEvents(Recorder):
    def _watch(self, caller: Caller) -> Any:
        return caller.persons.WatchPersonEvents(persons.WatchPersonEventsRequest(**self._start()))
