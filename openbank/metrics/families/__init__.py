"""Every metric, one row each. `tests/metrics` holds dashboards and alerts to them."""

from __future__ import annotations

from openbank.metrics.families import access, calls, followers, log, money

FAMILIES = (*calls.FAMILIES, *log.FAMILIES, *followers.FAMILIES, *money.FAMILIES, *access.FAMILIES)
