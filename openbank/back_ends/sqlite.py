"""The embedded back end: SQLite files in the data directory."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from openbank.back_ends.port import CopyTarget, ServedLog, Work
from openbank.datadir import DataDirectory
from openbank.eventstore import sqlite
from openbank.eventstore.extensions import HasTokenKey
from openbank.eventstore.sqlite import FILE, SqliteEventStore
from openbank.following.lease import Lease, alone
from openbank.sinks.port import SinkRecords
from openbank.sinks.sqlite import SqliteSinkRecords
from openbank.views.rebuild import Rebuilds
from openbank.views.sqlite import SqliteRebuilds, SqliteViews


def open_log(stack: AsyncExitStack, data: Path) -> ServedLog:
    store = SqliteEventStore(data.resolve())
    stack.push_async_callback(store.close)
    return store


class SqliteViewsBackEnd:
    """One process at a time has a data directory, so that no lease is needed."""

    def __init__(self, stack: AsyncExitStack, data: Path, *, index_requests: bool) -> None:
        """`index_requests` is for a log that has no index of request ids of its own."""
        self._directory = data.resolve()
        self.leases: Mapping[str, Lease] = {}
        self._index_requests = index_requests
        self.views = SqliteViews(self._directory, index_requests=index_requests)
        stack.push_async_callback(self.views.close)

    def rebuilds(self) -> Rebuilds:
        return SqliteRebuilds(self._directory, self.views, index_requests=self._index_requests)

    def sink_records(self) -> SinkRecords:
        return SqliteSinkRecords(self._directory)

    def by_one_instance(self, work: Work, name: str, doing: str) -> Work:
        return partial(alone, work)


def accept_loss(data: Path) -> int:
    """The position where the log ends, which is served as it is from now on. Raises OSError, StoreRefused."""
    _check_there(data)
    directory = DataDirectory(data, "accepts a loss")
    try:
        return sqlite.accept_loss(directory.path)
    finally:
        directory.close()


def open_source(stack: AsyncExitStack, data: Path) -> HasTokenKey:
    _check_there(data)
    return open_log(stack, _hold(stack, data))


def open_target(stack: AsyncExitStack, data: Path, bank_id: str) -> CopyTarget:
    store = SqliteEventStore(_hold(stack, data), bank_id=bank_id, copying=True)
    stack.push_async_callback(store.close)
    return store


def _check_there(data: Path) -> None:
    if not (data / FILE).exists():
        raise FileNotFoundError(f"{data / FILE} is not there")


def _hold(stack: AsyncExitStack, data: Path) -> Path:
    directory = DataDirectory(data, "copies the bank")
    stack.callback(directory.close)
    return directory.path
