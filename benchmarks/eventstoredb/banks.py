"""The stand-in in a process of its own, and banks on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import servers, stored
from benchmarks.eventstoredb import history
from benchmarks.servers import ServerProcess
from tests.stand_ins.process import EventStoreDBProcess


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
            stored.wait_until_projected(self._data, self._last)
            yield bank

    def forget_views(self) -> None:
        for file in self._data.glob("views.db*"):
            file.unlink()

    def __enter__(self) -> Store:
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.stop()
