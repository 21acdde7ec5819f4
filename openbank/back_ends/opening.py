"""Which back end a setting or an address names."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from openbank.back_ends import sqlite
from openbank.back_ends.port import CopyTarget, Stores, ViewsBackEnd
from openbank.config import Settings, is_embedded
from openbank.eventstore.extensions import HasTokenKey


async def open_stores(stack: AsyncExitStack, settings: Settings) -> Stores:
    """The log, and the views. Raises StoreDamaged, StoreRefused, StoreUnavailable, ViewsUnavailable."""
    if is_embedded(settings.event_store):
        # The log first: views without a log are what is left of a bank that has lost it.
        log = sqlite.open_log(stack, settings.data)
        return Stores(log, await _open_views(stack, settings), _nothing)
    from openbank.back_ends import eventstoredb

    views = await _open_views(stack, settings)
    uri, wait = settings.event_store, settings.store_wait_seconds
    store = await eventstoredb.open_log(stack, uri, wait, views.views)
    return Stores(store, views, partial(store.be_patient, 0))


def _nothing() -> None:
    """An embedded log is there at once."""


async def _open_views(stack: AsyncExitStack, settings: Settings) -> ViewsBackEnd:
    if is_embedded(settings.views):
        index_requests = not is_embedded(settings.event_store)
        return sqlite.SqliteViewsBackEnd(stack, settings.data, index_requests=index_requests)
    # Late: its driver takes as long to load as nearly all of the bank, and 9 MB.
    from openbank.back_ends.mongodb import MongoViewsBackEnd

    return await MongoViewsBackEnd.open(stack, settings.views, settings.store_wait_seconds)


async def accept_loss(settings: Settings) -> int:
    """Serves a log that has lost events as it is; the position where it ends."""
    if is_embedded(settings.event_store):
        return sqlite.accept_loss(settings.data)
    from openbank.back_ends import eventstoredb

    return await eventstoredb.accept_loss(settings.event_store, settings.store_wait_seconds)


async def open_source(stack: AsyncExitStack, address: str | Path, wait_seconds: float) -> HasTokenKey:
    """A log to copy, in a data directory or at an address of EventStoreDB."""
    if isinstance(address, Path):
        return sqlite.open_source(stack, address)
    from openbank.back_ends import eventstoredb

    return await eventstoredb.open_source(stack, address, wait_seconds)


async def open_target(stack: AsyncExitStack, address: str | Path, bank_id: str, wait_seconds: float) -> CopyTarget:
    """Where a log of the bank `bank_id` is to be copied to."""
    if isinstance(address, Path):
        return sqlite.open_target(stack, address, bank_id)
    from openbank.back_ends import eventstoredb

    return await eventstoredb.open_target(stack, address, bank_id, wait_seconds)
