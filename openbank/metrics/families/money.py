"""Money that is on its way or held."""

from __future__ import annotations

from openbank.metrics.family import Family, MetricType, Samples, one
from openbank.metrics.scrape import Scrape


def _oldest_transfer(now: Scrape) -> Samples:
    if now.in_transit is not None:
        yield (), now.seconds_since(now.in_transit[0].transfer.create_time if now.in_transit else None)


FAMILIES = (
    Family(
        "openbank_transfers_in_transit",
        MetricType.GAUGE,
        "Transfers that are not settled yet, counted up to 1,000.",
        lambda now: one(None if now.in_transit is None else len(now.in_transit)),
    ),
    Family(
        "openbank_transfers_oldest_in_transit_seconds",
        MetricType.GAUGE,
        "How long ago the first of these was sent; 0 if there is none.",
        _oldest_transfer,
    ),
    Family(
        "openbank_holds_due",
        MetricType.GAUGE,
        "Open holds whose time is over, counted up to 1,000; the bank ends them within a second.",
        lambda now: one(now.holds_due),
    ),
)
