"""Questions about reversals."""

from __future__ import annotations

from openbank.eventstore.port import LogPosition
from openbank.queries.reader import Reader, answer


async def reversal_of(reader: Reader, account_id: str, revision: int, at: LogPosition) -> int:
    """The revision of the event that has reversed an account's movement, up to `at` or later; 0 without one.

    Raises ViewBehind, ViewsUnavailable.
    """
    return (await answer(reader, at, lambda: reader.views.reversal(account_id, revision))).value
