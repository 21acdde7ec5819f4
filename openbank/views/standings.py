"""From a row of an account's event to what statements and balances say."""

from __future__ import annotations

from openbank.codec.events import UnknownEventType, decode
from openbank.domain.account_events import AccountEvent
from openbank.domain.statement import entry_of
from openbank.eventstore.errors import NewerVersionNeeded
from openbank.eventstore.port import RecordedEvent
from openbank.eventstore.streams import split
from openbank.views.port import Movement, Standing
from openbank.views.totals import Totals


def standing_of(event: RecordedEvent, totals: Totals) -> Standing:
    """Raises NewerVersionNeeded: instances of several versions may share views."""
    happened = _decoded(event)
    funds = happened.balance_after, happened.available_after
    return Standing(event.position, event.revision, totals.time, *funds, totals.entries, totals.credits)


def movement_of(event: RecordedEvent, totals: Totals) -> Movement:
    """The movement that an event is which moved the balance. Raises NewerVersionNeeded."""
    happened = _decoded(event)
    entry = entry_of(happened)
    assert entry is not None
    account_id = split(event.stream)[1]
    return Movement(
        account_id, event.position, event.revision, event.id, event.type, totals.time, happened.balance_after, entry
    )


def _decoded(event: RecordedEvent) -> AccountEvent:
    try:
        happened = decode(event.type, event.data, split(event.stream)[1])
    except UnknownEventType:
        raise NewerVersionNeeded(event.stream, event.revision, event.type) from None
    assert isinstance(happened, AccountEvent)
    return happened
