"""What follows the log: views, watches and sinks."""

from __future__ import annotations

from openbank.following.behind import Behind
from openbank.metrics.family import Family, MetricType, Samples, each, one
from openbank.metrics.scrape import Scrape
from openbank.sinks.transport import Accepted, Later, Rejected

_OUTCOMES = {"accepted": Accepted, "rejected": Rejected, "failed": Later}


def _events(behind: Behind | None) -> Samples:
    return [] if behind is None else one(behind.events)


def _seconds(now: Scrape, behind: Behind | None) -> Samples:
    return [] if behind is None else one(now.seconds_since(behind.since))


def _rebuild_ratio(now: Scrape) -> Samples:
    filling, serving = now.bank.rebuild.filling(), now.bank.views.place.position
    if filling is None or not filling.record.running or not serving:
        return one(now.bank.progress.ratio)
    return one(min(1.0, filling.record.place.position / serving))


def _deliveries(now: Scrape) -> Samples:
    for name, sender in now.bank.senders.items():
        for outcome, answer in _OUTCOMES.items():
            yield (name, outcome), sender.outcomes[answer]


def _oldest_parked(now: Scrape) -> Samples:
    for sink in now.sinks or ():
        since = min((held.time for held in sink.record.parked.values()), default=None)
        yield (sink.address.name,), now.seconds_since(since)


FAMILIES = (
    Family(
        "openbank_view_lag_events",
        MetricType.GAUGE,
        "Events of the log that the views do not have yet, counted up to 1,000.",
        lambda now: _events(now.views_behind),
    ),
    Family(
        "openbank_view_lag_seconds",
        MetricType.GAUGE,
        "How long ago the first event was recorded that the views do not have yet; 0 if they have all.",
        lambda now: _seconds(now, now.views_behind),
    ),
    Family(
        "openbank_view_wait_duration_seconds",
        MetricType.HISTOGRAM,
        "How long queries waited for the views, of those that had to.",
        lambda now: one(now.bank.view_waits),
    ),
    Family(
        "openbank_view_rebuild_ratio",
        MetricType.GAUGE,
        "How much of the log the views have while they catch up or are rebuilt beside those that serve, from 0 to 1; 1"
        " when neither is so.",
        _rebuild_ratio,
    ),
    Family("openbank_watches", MetricType.GAUGE, "Watches under way.", lambda now: one(now.bank.feed.watches)),
    Family(
        "openbank_watch_lag_events",
        MetricType.GAUGE,
        "Events of the log after the watch that is furthest behind, counted up to 1,000.",
        lambda now: _events(now.watches_behind),
    ),
    Family(
        "openbank_watch_lag_seconds",
        MetricType.GAUGE,
        "How long ago the first event was recorded that the watch furthest behind has not passed; 0 if there is none.",
        lambda now: _seconds(now, now.watches_behind),
    ),
    Family(
        "openbank_watch_ends_total",
        MetricType.COUNTER,
        "Watches that have ended: CAUGHT_UP (as asked for), CLIENT_LEFT, or the reason of the error.",
        lambda now: each(now.bank.calls.statistics.watch_ends),
        ("cause",),
    ),
    Family(
        "openbank_ring_misses_total",
        MetricType.COUNTER,
        "Reads of the log that memory could not answer.",
        lambda now: one(now.bank.tail.misses),
    ),
    Family(
        "openbank_sink_lag_events",
        MetricType.GAUGE,
        "Events that wait for the sink and are not parked, counted up to 1,000.",
        lambda now: [((sink.address.name,), sink.lag_events) for sink in now.sinks or ()],
        ("sink",),
    ),
    Family(
        "openbank_sink_lag_seconds",
        MetricType.GAUGE,
        "How long ago the first event was recorded that waits for the sink and is not parked; 0 if none does.",
        lambda now: [((sink.address.name,), sink.lag_microseconds / 1_000_000) for sink in now.sinks or ()],
        ("sink",),
    ),
    Family(
        "openbank_sink_parked",
        MetricType.GAUGE,
        "Aggregates whose events are held back from the sink.",
        lambda now: [((sink.address.name,), len(sink.record.parked)) for sink in now.sinks or ()],
        ("sink",),
    ),
    Family(
        "openbank_sink_oldest_parked_seconds",
        MetricType.GAUGE,
        "How long the first of these has been parked; 0 if none is.",
        _oldest_parked,
        ("sink",),
    ),
    Family(
        "openbank_sink_deliveries_total",
        MetricType.COUNTER,
        "Messages that this instance has sent to the sink, by its answer: accepted, rejected, or failed, which are sent"
        " again.",
        _deliveries,
        ("sink", "outcome"),
    ),
)
