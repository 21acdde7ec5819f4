"""The log, the aggregates that write it, and the stores."""

from __future__ import annotations

from openbank.codec.events import TYPES
from openbank.metrics.family import Family, MetricType, each, one

FAMILIES = (
    Family(
        "openbank_log_position",
        MetricType.GAUGE,
        "The position of the log's end: events in the embedded store, bytes in EventStoreDB.",
        lambda now: one(now.bank.tail.head.position),
    ),
    Family(
        "openbank_events_appended_total",
        MetricType.COUNTER,
        "Events that this instance has appended.",
        lambda now: each({type: now.bank.write_side.statistics.events[type] for type in TYPES}),
        ("type",),
    ),
    Family(
        "openbank_commit_size_events",
        MetricType.HISTOGRAM,
        "How many events became durable together.",
        lambda now: one(now.bank.commits.events),
    ),
    Family(
        "openbank_commit_duration_seconds",
        MetricType.HISTOGRAM,
        "How long a commit took until it was durable; with EventStoreDB, how long an append took.",
        lambda now: one(now.bank.commits.seconds),
    ),
    Family(
        "openbank_sync_duration_seconds",
        MetricType.HISTOGRAM,
        "How long the disk took to make a commit durable. Embedded store only.",
        lambda now: one(now.bank.commits.sync_seconds),
    ),
    Family(
        "openbank_append_conflicts_total",
        MetricType.COUNTER,
        "Appends that found events of another writer in their place, and were decided again.",
        lambda now: one(now.bank.write_side.statistics.conflicts),
    ),
    Family(
        "openbank_replayed_requests_total",
        MetricType.COUNTER,
        "Requests that were answered with the events of an earlier call with the same request_id.",
        lambda now: one(now.bank.write_side.statistics.replayed),
    ),
    Family(
        "openbank_unknown_outcomes_total",
        MetricType.COUNTER,
        "Appends whose outcome could not be found out.",
        lambda now: one(now.bank.write_side.statistics.unknown),
    ),
    Family(
        "openbank_quarantined_aggregates",
        MetricType.GAUGE,
        "Aggregates that are quarantined.",
        lambda now: one(len(now.bank.quarantine.aside)),
    ),
    Family(
        "openbank_aggregates_cached",
        MetricType.GAUGE,
        "Aggregates kept in memory to decide on.",
        lambda now: each(
            {
                "persons": len(now.bank.write_side.persons),
                "accounts": len(now.bank.write_side.accounts),
                "requests": len(now.bank.write_side.requests),
                "numbers": len(now.bank.write_side.numbers),
            }
        ),
        ("kind",),
    ),
    Family(
        "openbank_store_up",
        MetricType.GAUGE,
        "1 while the log can be followed (events), or the views can be reached (views), else 0.",
        lambda now: each({"events": now.bank.tail.available, "views": now.bank.views.available}),
        ("store",),
    ),
    Family(
        "openbank_store_reconnects_total",
        MetricType.COUNTER,
        "How often the log was followed again after an interruption.",
        lambda now: one(max(0, now.bank.tail.opened - 1)),
    ),
    Family(
        "openbank_lease_held",
        MetricType.GAUGE,
        "1 on the instance that does this work for all, else 0. Absent where no other instance can.",
        lambda now: each({name: lease.held for name, lease in now.bank.leases.items()}),
        ("lease",),
    ),
    Family(
        "openbank_lease_changes_total",
        MetricType.COUNTER,
        "How often this instance has taken or lost the lease.",
        lambda now: each({name: lease.changes for name, lease in now.bank.leases.items()}),
        ("lease",),
    ),
)
