"""EventStoreDB as the log. `wait_seconds` is how long a server that does not answer is waited for."""

from __future__ import annotations

from contextlib import AsyncExitStack

from openbank.back_ends.port import CopyTarget, IndexedViews
from openbank.eventstore.extensions import HasTokenKey
from openbank.extras import needs

with needs("eventstoredb", "an address that begins with esdb"):
    from openbank.eventstore.eventstoredb import EventStoreDBEventStore


async def open_log(stack: AsyncExitStack, uri: str, wait_seconds: float, views: IndexedViews) -> EventStoreDBEventStore:
    """The store that views which know a bank belong to. They are its index of request ids, too."""
    known = views.log.bank_id if views.log else None
    store = await EventStoreDBEventStore.open(uri, wait_seconds=wait_seconds, known_bank_id=known, request_index=views)
    stack.push_async_callback(store.close)
    return store


async def accept_loss(uri: str, wait_seconds: float) -> int:
    """The position where the log ends, which is served as it is from now on."""
    store = await EventStoreDBEventStore.open(uri, wait_seconds=wait_seconds, make=False)
    try:
        return await store.accept_loss()
    finally:
        await store.close()


async def open_source(stack: AsyncExitStack, uri: str, wait_seconds: float) -> HasTokenKey:
    store = await EventStoreDBEventStore.open(uri, wait_seconds=wait_seconds, make=False)
    stack.push_async_callback(store.close)
    return store


async def open_target(stack: AsyncExitStack, uri: str, bank_id: str, wait_seconds: float) -> CopyTarget:
    store = await EventStoreDBEventStore.open(uri, wait_seconds=wait_seconds, bank_id=bank_id, copying=True)
    stack.push_async_callback(store.close)
    return store
