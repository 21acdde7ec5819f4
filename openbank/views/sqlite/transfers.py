"""Lists of transfers: each part is a range of one index, and the parts are merged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openbank.domain.transfers import TransferState

COUNT_FROM = "SELECT count(*) FROM transfers WHERE source = ? AND state IN (?, ?) AND position IS NOT NULL"


def newest_transfers(
    account_id: str, states: Sequence[TransferState], before: int, limit: int
) -> tuple[str, Sequence[object]]:
    """The statement and its values."""
    sides = ("source = ? AND ", "destination = ? AND ") if account_id else ("",)
    of = (account_id,) if account_id else ()
    parts = [(f"{side}state = ? AND position < ?", (*of, state.value, before)) for side in sides for state in states]
    return _merged(parts, "DESC", limit)


def oldest_transfers(states: Sequence[TransferState], after: int, limit: int) -> tuple[str, Sequence[object]]:
    return _merged([("state = ? AND position > ?", (state.value, after)) for state in states], "ASC", limit)


def _merged(parts: Sequence[tuple[str, tuple[Any, ...]]], order: str, limit: int) -> tuple[str, Sequence[object]]:
    each = [
        f"SELECT * FROM (SELECT * FROM transfers WHERE {where} ORDER BY position {order} LIMIT ?)" for where, _ in parts
    ]
    values = [value for _, some in parts for value in (*some, limit)]
    return (f"{' UNION ALL '.join(each)} ORDER BY position {order} LIMIT ?", (*values, limit))
