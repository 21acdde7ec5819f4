"""What is counted of all calls."""

from __future__ import annotations

from collections import Counter

from openbank.common.v1.errors_pb2 import ErrorReason
from openbank.instruments import Histogram
from openbank.rpc.errors import REASON

OTHER = "_OTHER"
"""Stands for all methods that no service of the bank has."""
REASONS = [name.removeprefix(REASON) for name in ErrorReason.keys()[1:]]
"""All but the first, which is none."""
CREDENTIALS = ("cert", "jwt", "key", "local")
"""What the names of callers begin with."""
CAUGHT_UP = "CAUGHT_UP"
CLIENT_LEFT = "CLIENT_LEFT"
"""Causes of a watch's end that are no reasons of an error."""
WATCH_ENDS = (
    CAUGHT_UP,
    CLIENT_LEFT,
    "INTERNAL",
    "LOG_MISMATCH",
    "NEWER_VERSION_NEEDED",
    "PERMISSION_MISSING",
    "POSITION_OUT_OF_RANGE",
    "RATE_LIMITED",
    "SERVER_DRAINING",
    "SLOW_CONSUMER",
    "STORE_UNAVAILABLE",
    "TOKEN_EXPIRED",
    "TOKEN_INVALID",
    "TOKEN_MISSING",
    "TOO_MANY_WATCHES",
)


class Durations(dict[str, Histogram]):
    """How long the calls of one method took, in seconds, by the name of their status code."""

    def __missing__(self, code: str) -> Histogram:
        histogram = self[code] = Histogram()
        return histogram


class CallStatistics:
    """The keys are methods, codes and reasons of the contract, never what a caller sent.

    All that can be counted begins at 0: of what appears with its first value, a rate would miss that one.
    """

    def __init__(self) -> None:
        self.durations: dict[str, Durations] = {}
        """By the full name of the method."""
        self.refusals = Counter(dict.fromkeys(REASONS, 0))
        """By reason."""
        self.admitted = Counter(dict.fromkeys(CREDENTIALS, 0))
        """Calls whose caller is known, by what showed it."""
        self.watch_ends = Counter(dict.fromkeys(WATCH_ENDS, 0))
        """By cause."""

    def durations_of(self, method: str, usual_code: str = "OK") -> Durations:
        return self.durations.setdefault(method, Durations({usual_code: Histogram()}))
