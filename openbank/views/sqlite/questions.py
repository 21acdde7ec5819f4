"""Questions about accounts' events, movements and holds, as statements.

INDEXED BY: a question that its index cannot answer is an error, and not a slow answer.
"""

from __future__ import annotations

from openbank.views.port import MovementFilter
from openbank.views.terms import term

EVENT_COLUMNS = "account_events.*, accounts.account_id, accounts.owner_id"
_BY = f"""
SELECT {EVENT_COLUMNS} FROM accounts CROSS JOIN account_events INDEXED BY {{index}} ON account = accounts.position
WHERE accounts.account_id = ?
"""
_BY_REVISION = _BY.format(index="account_events_by_account")
_MOVEMENTS = _BY.format(index="movements_by_account")

EVENTS = f"{_BY_REVISION} AND account_events.revision < ? ORDER BY account_events.revision DESC LIMIT ?"
STANDING = f"{_BY_REVISION} AND account_events.revision <= ? ORDER BY account_events.revision DESC LIMIT 1"
TIME = STANDING.replace(EVENT_COLUMNS, "account_events.time")
# Every index ends with the position.
ENTRIES = f"""
{_MOVEMENTS} AND moved <> 0 AND account_events.position > ? AND account_events.position <= ?
ORDER BY account_events.position LIMIT ?
"""
_OF_ACCOUNT = f"""
{_MOVEMENTS} AND moved <> 0 AND account_events.position < ? ORDER BY account_events.position DESC LIMIT ?
"""
_OF_TERM = f"""
SELECT {EVENT_COLUMNS} FROM movement_terms CROSS JOIN account_events USING (position)
CROSS JOIN accounts ON accounts.position = account_events.account
WHERE term = ? AND movement_terms.position < ? ORDER BY movement_terms.position DESC LIMIT ?
"""

# By state, so that a list of the few that are open does not pass over all that are closed.
HOLDS = "SELECT * FROM holds WHERE account_id = ? AND state = ? AND position < ? ORDER BY position DESC LIMIT ?"
DUE = """
SELECT expire_time, position, account_id FROM holds
WHERE state = 'OPEN' AND expire_time <= ? AND (expire_time, position) > (?, ?) ORDER BY expire_time, position LIMIT ?
"""


def newest_movements(filter: MovementFilter) -> tuple[str, str | bytes]:
    """The statement, and its first value. The others are a position that comes after, and a limit."""
    if filter == MovementFilter(filter.account_id):
        return _OF_ACCOUNT, filter.account_id
    return _OF_TERM, term(filter)
