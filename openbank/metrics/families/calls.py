"""Calls, and the process that serves them."""

from __future__ import annotations

import platform
from importlib.metadata import version

from openbank.metrics.family import Family, MetricType, Samples, each, one
from openbank.metrics.scrape import Scrape
from openbank.rpc.health import COMMANDS, FEEDS, QUERIES, SERVING


def _durations(now: Scrape) -> Samples:
    for method, durations in sorted(now.bank.calls.statistics.durations.items()):
        for code, histogram in sorted(durations.items()):
            yield (method, code), histogram


def _serving(now: Scrape) -> Samples:
    for part in (COMMANDS, QUERIES, FEEDS):
        yield (part.rpartition(".")[2],), now.bank.health.status(part) == SERVING


FAMILIES = (
    Family(
        "rpc_server_call_duration_seconds",
        MetricType.HISTOGRAM,
        "How long calls took, from the request to the last response; for a watch, how long it lasted. Calls of methods"
        " that no service has count as _OTHER, with no duration. Health and reflection do not count.",
        _durations,
        ("rpc_method", "rpc_response_status_code"),
    ),
    Family(
        "openbank_calls_in_flight",
        MetricType.GAUGE,
        "Calls under way: commands, queries, and queries that wait for the views (waiting).",
        lambda now: each(
            {
                "commands": now.bank.calls.commands.count,
                "queries": now.bank.calls.queries.count,
                "waiting": now.bank.calls.waiting.count,
            }
        ),
        ("group",),
    ),
    Family(
        "openbank_refusals_total",
        MetricType.COUNTER,
        "Calls, and commands of a batch, that were refused, by the reason that the caller got.",
        lambda now: each(now.bank.calls.statistics.refusals),
        ("reason",),
    ),
    Family(
        "openbank_serving",
        MetricType.GAUGE,
        "1 while a side of the bank is served (commands, queries, feeds), else 0; as the health service says.",
        _serving,
        ("side",),
    ),
    Family(
        "openbank_event_loop_lag_seconds",
        MetricType.HISTOGRAM,
        "How late the event loop was, measured ten times a second.",
        lambda now: one(now.loop_lag),
    ),
    Family(
        "openbank_build_info",
        MetricType.GAUGE,
        "1, with the versions of the bank and of Python.",
        lambda _: [((version("openbank"), platform.python_version()), 1)],
        ("version", "python"),
    ),
)
