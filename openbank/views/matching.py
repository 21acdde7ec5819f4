"""Whether views belong to a log: to be found out before anyone reads them."""

from __future__ import annotations

import logging

from openbank.eventstore.errors import StoreDamaged, StoreRefused
from openbank.eventstore.places import holds
from openbank.eventstore.port import EventStore, LogPosition
from openbank.eventstore.streams import ACCOUNT, split
from openbank.views.port import LogId, Views

_log = logging.getLogger(__name__)


async def match_log(views: Views, store: EventStore) -> None:
    """Views of another store's log of the same bank start over; to be called before anyone reads them.

    Each copy of a log has a store id of its own, a restored backup too; so a log that is behind its own views has lost
    events. Raises StoreRefused for that, and for another bank's views.
    """
    log = LogId(store.bank_id, store.store_id)
    if views.log is None:
        await views.clear(log)
    elif views.log.bank_id != log.bank_id:
        raise StoreRefused(_other_bank(views, log))
    elif views.log != log:
        _rebuild("they are of another log", views)
        await views.clear(log)
    elif not await holds(store, views.place):
        raise StoreRefused(await _loss(store, views.place))
    elif not await _has_event(store, views):
        raise StoreRefused(
            f"the log has another event at position {views.place.position} than the views have seen there: it has"
            f" lost events, and others have taken their place; {store.after_loss}"
        )


async def _has_event(store: EventStore, views: Views) -> bool:
    """Whether the last event that the views have seen is the one in the log, where they keep its id."""
    seen = views.place
    category, aggregate_id = split(seen.stream)
    if category != ACCOUNT:
        return True
    kept = await views.account_events(aggregate_id, seen.revision + 1, 1)
    try:
        stored = await store.read_stream(seen.stream, seen.revision - 1, 1)
    except StoreDamaged:
        return True  # Of this stream alone.
    here = [event for event in kept if event.revision == seen.revision]
    return not here or not stored or stored[0].id == here[0].id


def _other_bank(views: Views, log: LogId) -> str:
    assert views.log is not None
    other = f"these views belong to the bank {views.log.bank_id}, not to {log.bank_id}"
    return other if views.shared else f"{other}: serve the right log, or remove views.db to build views of this one"


async def _loss(store: EventStore, seen: LogPosition) -> str:
    head = await store.head()
    return (
        f"the log ends at position {head.position}, and the views have seen it come to {seen.position}: it has lost"
        f" events; {store.after_loss}"
    )


def _rebuild(reason: str, views: Views) -> None:
    _log.warning("views are rebuilt", extra={"values": {"reason": reason, "position": views.place.position}})
