"""What a bank has told somebody, each as what must then be in its log, whatever happens to the power."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from openbank.codec import events as codec
from openbank.domain.account_events import AccountOpened, MoneyDeposited, MoneyWithdrawn
from openbank.eventstore.port import RecordedEvent
from openbank.eventstore.streams import ACCOUNT, account_stream, split
from tests.faults.ledger import Ledger
from tests.faults.told import Broken

Promise = tuple[str, ...]
"""Its kind, and of what: texts, as they stand in the journal."""


def event(event_id: str) -> Promise:
    """An event was acknowledged, or shown by a feed or a list."""
    return ("event", event_id)


def revision(account_id: str, reached: int) -> Promise:
    """An account was shown as of this revision, or an answer rested on that."""
    return ("revision", account_stream(account_id), str(reached))


def balance(account_id: str, minor: int) -> Promise:
    """A refusal rested on this balance."""
    return ("balance", account_stream(account_id), str(minor))


def check(promises: Iterable[Sequence[str]], log: Sequence[RecordedEvent]) -> None:
    """Raises Broken for a promise that the log does not hold, and for a log that cannot be."""
    Ledger(log)
    kept = {promise for recorded in log for promise in _kept(recorded)}
    for promise in promises:
        if tuple(promise) not in kept:
            raise Broken(f"after {len(log)} events there is no {' '.join(promise)}, which had been acknowledged")


def _kept(recorded: RecordedEvent) -> Iterable[Promise]:
    yield event(str(UUID(bytes=recorded.id)))
    category, account_id = split(recorded.stream)
    if category == ACCOUNT:
        yield revision(account_id, recorded.revision)
        happened = codec.decode(recorded.type, recorded.data, account_id)
        if isinstance(happened, AccountOpened | MoneyDeposited | MoneyWithdrawn):
            yield balance(account_id, happened.balance_after.minor)
