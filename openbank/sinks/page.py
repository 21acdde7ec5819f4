"""The next events for a sink: a page of the log, and a page of each aggregate that is being sent again."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

from openbank.codec.events import UndecodableEvent, UnknownEventType
from openbank.eventstore.errors import StreamDamaged
from openbank.eventstore.port import EventStore, LogPosition, LogSlice, RecordedEvent
from openbank.eventstore.streams import split
from openbank.integrity.quarantine import Quarantine
from openbank.publishing.events import SOURCES, cloud_event
from openbank.sinks.delivery import Delivery, Outgoing
from openbank.sinks.port import Parked

AGAIN_EVENTS_MAX = 50
AGAIN_AGGREGATES_MAX = 10
"""The most events of an aggregate, and the most aggregates, that are sent again in one page, which is in memory."""
QUARANTINED = "its events are quarantined: "
"""The prefix of the reason of an aggregate that is parked because it is quarantined."""
UNREADABLE = "this version of the bank cannot read the event: "
"""The prefix of the reason of an aggregate that the sender has parked for another version to send."""


class SinkPage(NamedTuple):
    """All events for the sink in the log up to `through`, except those of aggregates that stay parked."""

    through: LogPosition
    outgoing: list[Outgoing]
    unreadable: Mapping[str, Parked]
    again: Mapping[str, tuple[int, bool]]
    """For each aggregate that is sent again: the last revision on this page, and whether it is the last one of all."""

    def parked_meanwhile(self, parked: Mapping[str, Parked], delivery: Delivery) -> dict[str, Parked]:
        """What is parked during the delivery of the page, while the place in the log is still the one before it."""
        result = dict(parked)
        for stream in self.again:
            if stream in delivery.accepted:
                result[stream] = parked[stream]._replace(revision=delivery.accepted[stream] + 1)
        return {**result, **delivery.refused}

    def parked_afterwards(self, parked: Mapping[str, Parked], delivery: Delivery) -> dict[str, Parked]:
        """What is parked after the delivery of the page, when the place in the log is `through`."""
        result = dict(parked)
        for stream, (revision, complete) in self.again.items():
            result[stream] = parked[stream]._replace(revision=revision + 1)
            if complete:
                del result[stream]
        # A refused event comes before events that were not sent.
        return {**result, **self.unreadable, **delivery.refused}


async def next_page(
    store: EventStore, read: LogSlice, parked: Mapping[str, Parked], now: int, quarantine: Quarantine
) -> SinkPage:
    """Makes a page of entries of the log, without those of parked aggregates. Raises StoreUnavailable."""
    page = SinkPage(read.through, [], {}, {})
    unreadable: dict[str, Parked] = {}
    for event, reason in read.aside:
        if event.stream not in parked and split(event.stream)[0] in SOURCES:
            unreadable.setdefault(event.stream, Parked(event.revision, QUARANTINED + reason, now))
    _add([event for event in read.events if event.stream not in parked], page.outgoing, unreadable, now)
    again: dict[str, tuple[int, bool]] = {}
    for stream in [stream for stream, held in parked.items() if held.retrying][:AGAIN_AGGREGATES_MAX]:
        after = parked[stream].revision - 1
        try:
            there = await store.read_stream(stream, after, AGAIN_EVENTS_MAX)
        except StreamDamaged as error:
            there = ()
            await quarantine.set_aside(LogPosition(0, stream, error.revision), str(error))
            unreadable[stream] = Parked(after + 1, f"{QUARANTINED}{error}", now)
        events = [event for event in there if event.position <= read.through.position]
        aside = quarantine.of(stream)
        if aside and events and events[-1].revision >= aside.revision:
            unreadable[stream] = Parked(max(aside.revision, after + 1), QUARANTINED + aside.reason, now)
            events = [event for event in events if event.revision < aside.revision]
        believed = [event for event in events if not quarantine.is_skipped(stream, event.revision)]
        _add(believed, page.outgoing, unreadable, now)
        complete = len(events) < len(there) or len(there) < AGAIN_EVENTS_MAX
        again[stream] = (events[-1].revision if events else after), complete
    return page._replace(unreadable=unreadable, again=again)


def first_of_others(events: Iterable[RecordedEvent], streams: Container[str], now: int) -> Outgoing | None:
    """The first published event of an aggregate that is not one of these."""
    outgoing: list[Outgoing] = []
    _add([event for event in events if event.stream not in streams], outgoing, {}, now)
    return outgoing[0] if outgoing else None


def _add(events: Iterable[RecordedEvent], outgoing: list[Outgoing], unreadable: dict[str, Parked], now: int) -> None:
    for event in events:
        parked = unreadable.get(event.stream)
        if parked and event.revision >= parked.revision:
            continue
        try:
            published = cloud_event(event)
        except (UnknownEventType, UndecodableEvent) as error:
            # Without the error's own text, which may hold personal data.
            reason = f"{UNREADABLE}{type(error).__name__}, {event.type}"
            unreadable[event.stream] = Parked(event.revision, reason, now)
            continue
        if published is not None:
            outgoing.append(Outgoing(event.stream, event.revision, published))
