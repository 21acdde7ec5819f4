"""What is known of a bank: readings of its metrics, and the balances of accounts. Threads write it, one reads it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from openbank.cli.top.metrics import MetricsReading

REFUSALS = "openbank_refusals_total"


@dataclass(frozen=True, slots=True)
class AccountLine:
    """An account as it was last seen; empty before that."""

    balance: str = ""
    available: str = ""
    state: str = ""
    revision: int = 0
    trouble: str = ""
    """Why it cannot be watched."""


@dataclass(frozen=True, slots=True)
class Refusals:
    """The refusals for one reason."""

    total: float
    last_at: float
    """When the last one was seen, in seconds of the monotonic clock."""


@dataclass(frozen=True, slots=True)
class TopState:
    target: str
    now: MetricsReading | None = None
    before: MetricsReading | None = None
    trouble: str = ""
    """Why there are no new metrics."""
    trouble_at: float = 0.0
    watch_trouble: str = ""
    """Why accounts are not followed at the moment."""
    refusals: Mapping[str, Refusals] = field(default_factory=dict)
    """Those that were seen to grow, by reason."""
    accounts: Mapping[str, AccountLine] = field(default_factory=dict)

    def read(self, reading: MetricsReading) -> TopState:
        """With new metrics."""
        return replace(self, now=reading, before=self.now, trouble="", refusals=self._refusals_after(reading))

    def failed(self, why: str) -> TopState:
        """Without, for now. The last reading stays: it says how things were."""
        return replace(self, trouble=why, trouble_at=self.trouble_at if self.trouble else time.monotonic())

    def saw(self, account_id: str, line: AccountLine) -> TopState:
        """An account has changed. What is older than what is known is left out."""
        if line.revision < self.accounts.get(account_id, AccountLine()).revision:
            return self
        return replace(self, accounts={**self.accounts, account_id: line})

    def _refusals_after(self, reading: MetricsReading) -> Mapping[str, Refusals]:
        known = dict(self.refusals)
        before = dict(self.now.by_label(REFUSALS, "reason")) if self.now else None
        for reason, total in reading.by_label(REFUSALS, "reason"):
            # A restart sets counters back. At first all that there were are shown, as old.
            if before is None and total:
                known[reason] = Refusals(total, 0.0)
            elif before is not None and total and total != before.get(reason, 0.0):
                known[reason] = Refusals(total, reading.at)
        return known


class SharedState:
    """The state, for several threads."""

    def __init__(self, target: str, accounts: Sequence[str]) -> None:
        self._lock = threading.Lock()
        self._state = TopState(target, accounts={one: AccountLine() for one in accounts})
        self.fault: Exception | None = None
        """What has ended a thread, which nobody has foreseen."""

    @property
    def state(self) -> TopState:
        return self._state

    def read(self, reading: MetricsReading) -> None:
        with self._lock:
            self._state = self._state.read(reading)

    def failed(self, why: str) -> None:
        with self._lock:
            self._state = self._state.failed(why)

    def saw(self, account_id: str, line: AccountLine) -> None:
        with self._lock:
            self._state = self._state.saw(account_id, line)

    def watching(self, trouble: str) -> None:
        with self._lock:
            self._state = replace(self._state, watch_trouble=trouble)
