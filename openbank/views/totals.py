"""Running totals of an account: what its movements up to each of its events add up to.

Every event of an account keeps them, so that the totals of a period are the difference of two rows, however long the
period is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

from openbank.domain.account import Account
from openbank.domain.versioned import Versioned
from openbank.views.changes import AccountEventRecorded

INTEGER_MAX = (1 << 63) - 1

_POSITION = attrgetter("event.position")


class Totals(NamedTuple):
    """What an account's events up to a revision add up to. Debits are the credits less the balance."""

    revision: int
    time: int
    """The latest record time of these events, in microseconds since 1970 UTC. It never runs backwards, as the record
    times of earlier versions may."""
    entries: int
    """How many events moved the posted balance."""
    credits: int
    """All that was paid in, in minor units. It may exceed 64 bits."""

    def after(self, change: AccountEventRecorded) -> Totals:
        """The totals with the event that follows."""
        _, event, moved, _ = change
        _, time, entries, credits = self
        if event.metadata.record_time > time:
            time = event.metadata.record_time
        if moved:
            entries += 1
        if moved > 0:
            credits += moved
        return Totals(event.revision, time, entries, credits)


BEFORE_OPENING = Totals(0, -INTEGER_MAX, 0, 0)


def totals_of_opening(account: Versioned[Account]) -> Totals:
    balance = account.state.balance.minor
    return Totals(account.revision, account.create_time, int(balance != 0), balance)


Added = Sequence[tuple[AccountEventRecorded, Totals]]
"""Events that the views do not have yet, each with the totals after it."""


def add_up(events: Sequence[AccountEventRecorded], known: Mapping[str, Totals]) -> Added:
    """The events that the views do not have yet.

    `known` are the totals of the accounts in the views, which have all their events up to that revision.
    """
    latest = dict(known)
    added = []
    for change in sorted(events, key=_POSITION):
        before = latest.get(change.account_id, BEFORE_OPENING)
        if change.event.revision > before.revision:
            latest[change.account_id] = totals = before.after(change)
            added.append((change, totals))
    return added


def gaps(events: Sequence[AccountEventRecorded], known: Mapping[str, Totals]) -> Sequence[str]:
    """The accounts whose first new event does not follow the last one in the views."""
    first: dict[str, int] = {}
    for account_id, event, *_ in events:
        if event.revision > known.get(account_id, BEFORE_OPENING).revision:
            first[account_id] = min(first.get(account_id, event.revision), event.revision)
    return [
        account_id
        for account_id, revision in first.items()
        if revision > known.get(account_id, BEFORE_OPENING).revision + 1
    ]


def stored_credits(credits: int) -> int | str:
    """As databases store it, whose integers have 64 bits: beyond that it is text."""
    return credits if credits <= INTEGER_MAX else str(credits)
