"""What an event store measures of its appends."""

from __future__ import annotations

from typing import NamedTuple

from openbank.instruments import Histogram


class CommitStatistics(NamedTuple):
    """A commit is what becomes durable together: several appends in the embedded store, one in EventStoreDB."""

    events: Histogram
    """How many events a commit had."""
    seconds: Histogram
    """How long it took, until it was durable."""
    sync_seconds: Histogram | None
    """How long its sync took; None for a store that syncs elsewhere."""
