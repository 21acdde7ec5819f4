"""The stand-in in a process of its own, and banks on it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import servers, stored
from benchmarks.eventstoredb import history
from benchmarks.servers import ServerProcess
from tests.stand_ins.process import EventStoreDBProcess

PROJECTED_SECONDS_MAX = 600


class Store:
    """A stand-in with a log that was written before."""

    def __init__(self, scratch: Path, name: str, accounts: Sequence[int]) -> None:
        """`accounts` has the number of events of each."""
        scratch.mkdir(exist_ok=True)
        self._data = scratch / f"{name}, views"
        file = scratch / f"{name}.db"
        self.events = sum(accounts)
        self._last = history.write(file, accounts)
        self.server = EventStoreDBProcess(file)

    @contextmanager
    def bank(self, *flags: str) -> Iterator[ServerProcess]:
        """With the whole log in its views, which it keeps for the next."""
        with servers.bank(self._data, flags=("--event-store", self.server.uri, *flags)) as bank:
            self._wait_for_views()
            yield bank

    def _wait_for_views(self) -> None:
        end = time.perf_counter() + PROJECTED_SECONDS_MAX
        while stored.projected(self._data) < self._last:
            if time.perf_counter() > end:
                raise SystemExit(f"the views are not there within {PROJECTED_SECONDS_MAX} seconds")
            time.sleep(0.05)

    def forget_views(self) -> None:
        for file in self._data.glob("views.db*"):
            file.unlink()

    def __enter__(self) -> Store:
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()
