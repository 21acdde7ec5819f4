"""Authentication, and the files that can be replaced while the bank serves."""

from __future__ import annotations

from openbank.metrics.family import Family, MetricType, Samples, each
from openbank.metrics.scrape import Scrape

_REFUSED = ("TOKEN_EXPIRED", "TOKEN_INVALID", "TOKEN_KEYS_UNAVAILABLE", "TOKEN_MISSING")


def _authentications(now: Scrape) -> Samples:
    statistics = now.bank.calls.statistics
    return each({**statistics.admitted, **{reason: statistics.refusals[reason] for reason in _REFUSED}})


def _not_after(now: Scrape) -> Samples:
    if now.bank.tls is not None:
        yield (), now.bank.tls.current.not_after.timestamp()


def _reload_failures(now: Scrape) -> Samples:
    for file, reloaded in (("certificate", now.bank.tls), ("access", now.bank.access)):
        if reloaded is not None:
            yield (file,), reloaded.failures


FAMILIES = (
    Family(
        "openbank_authentications_total",
        MetricType.COUNTER,
        "Calls by what showed who calls (cert, jwt, key, local), or by the reason why nothing did. All 0 without an"
        " access file.",
        _authentications,
        ("outcome",),
    ),
    Family(
        "openbank_jwks_age_seconds",
        MetricType.GAUGE,
        "How long ago the keys of an issuer were fetched. Absent before the first time, and without issuers.",
        lambda now: [] if now.bank.gate is None else each(now.bank.gate.key_ages),
        ("issuer",),
    ),
    Family(
        "openbank_certificate_not_after_seconds",
        MetricType.GAUGE,
        "When the bank's certificate expires, in seconds since 1970 UTC. Absent without TLS.",
        _not_after,
    ),
    Family(
        "openbank_reload_failures_total",
        MetricType.COUNTER,
        "Changes of a file (certificate, access) that could not be used. Absent without the file.",
        _reload_failures,
        ("file",),
    ),
)
