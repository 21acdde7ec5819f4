"""Checks reversals against what they reverse: each thing once, all of it, and what the reversal says it is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

from openbank.codec.events import decode, is_ours
from openbank.domain.account_events import (
    AccountEvent,
    DepositReversed,
    HoldCaptured,
    MoneyDeposited,
    MoneyWithdrawn,
    TransferReceived,
    TransferSent,
    WithdrawalReversed,
)
from openbank.eventstore.port import RecordedEvent, show_uuid
from openbank.eventstore.streams import split
from openbank.upkeep.verify.log import VerifiedLog

Reversal = DepositReversed | WithdrawalReversed | TransferSent


class _Taken(NamedTuple):
    revision: int
    """The revision of the reversal."""
    reversal: Reversal


class ReversalAudit:
    """The reversals of a log, taken as they come and compared at its end. Keeps about 500 bytes for each."""

    def __init__(self) -> None:
        self._taken: dict[tuple[str, int], _Taken] = {}
        """By the stream and the revision of what is reversed."""

    def take(self, event: RecordedEvent, happened: AccountEvent) -> str | None:
        """What is wrong with this event, which is believed: None if it reverses nothing, or nothing a second time."""
        if not isinstance(happened, Reversal) or not happened.reversed_revision:
            return None
        first = self._taken.setdefault((event.stream, happened.reversed_revision), _Taken(event.revision, happened))
        if first.revision == event.revision:
            return None
        return f"reverses revision {happened.reversed_revision}, as revision {first.revision} has done"

    async def faults(self, log: VerifiedLog) -> AsyncIterator[str]:
        """Reversals of another event than they say."""
        for (stream, revision), (reversed_by, reversal) in self._taken.items():
            found = await log.event(stream, revision)
            if found is None or not is_ours(found.type) or not _fits(reversal, found):
                yield f"revision {reversed_by} of {stream} says that it reverses revision {revision}, which is another"


def _fits(reversal: Reversal, event: RecordedEvent) -> bool:
    happened = decode(event.type, event.data, split(event.stream)[1])
    match reversal, happened:
        case DepositReversed(), MoneyDeposited():
            named = show_uuid(event.id) == reversal.reversed_event_id
        case WithdrawalReversed(), MoneyWithdrawn() | HoldCaptured():
            named = show_uuid(event.id) == reversal.reversed_event_id
        case TransferSent(), TransferReceived():
            ends = happened.transfer_id, happened.source_account_id
            named = ends == (reversal.reverses_transfer_id, reversal.destination_account_id)
        case _:
            return False
    return named and happened.amount == reversal.amount
