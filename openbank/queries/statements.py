"""An account's balance at any time, and statements of any period of it.

Each event of an account has running totals in the views, so balances and totals are differences of two rows.
`at` is a position that the answer must have seen, None where any recent one will do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from openbank.domain.account import Account
from openbank.domain.errors import AccountNotFound, RevisionNotReached
from openbank.domain.fields import Fields
from openbank.eventstore.port import LogPosition
from openbank.eventstore.streams import account_stream
from openbank.queries.paging import Listing, page_token, read_in_slices, read_page_size, read_token
from openbank.queries.reader import Answer, Reader, answer
from openbank.views.port import Movement, Standing

SETTLED_MICROSECONDS = 300_000_000
"""How long after a time no event gets an earlier one: clocks may differ, and appends may be late, by this much."""


class TimePeriod(NamedTuple):
    """From `start` on and before `end`, in microseconds since 1970 UTC."""

    start: int
    end: int


class RevisionPeriod(NamedTuple):
    """From the first through the last."""

    first: int
    last: int


class StatementStart(NamedTuple):
    """Where a page begins, and what the first page has fixed."""

    after: int
    """The position of the entry before it."""
    position: int
    """How far the views were."""
    opening: int
    """The revision before the period."""
    closing: int
    """The last revision of the period."""
    complete: int


class StatementRequest(NamedTuple):
    """Which page of which statement: from the beginning without a start."""

    account_id: str
    period: TimePeriod | RevisionPeriod
    listing: Listing
    size: int
    start: StatementStart | None


class Statement(NamedTuple):
    """`opening` and `closing` are the account before and after the period; None before the account was opened."""

    account: Account
    opening: Standing | None
    closing: Standing | None
    complete: bool
    entries: Sequence[Movement]
    next_page_token: str


class Balance(NamedTuple):
    """`standing` is None for a time before the account was opened."""

    account: Account
    standing: Standing | None


class _Fixed(NamedTuple):
    """What the first page fixes."""

    account: Account
    opening: Standing | None
    closing: Standing | None
    complete: bool


def read_statement_request(
    fields: Fields, reader: Reader, account_id: str, period: TimePeriod | RevisionPeriod, size: int, token: str
) -> StatementRequest:
    """Violations go to `fields`: INVALID_PAGE_SIZE, INVALID_PAGE_TOKEN."""
    words = account_id, type(period).__name__, *map(str, period)
    listing = Listing("statement", " ".join(words), reader.views.log, reader.seal)
    size = read_page_size(fields, size)
    start = read_token(fields, listing, token, len(StatementStart._fields))
    return StatementRequest(account_id, period, listing, size, StatementStart(*start) if start else None)


async def get_statement(
    reader: Reader, request: StatementRequest, now: int, at: LogPosition | None = None
) -> Answer[Statement]:
    """A page of a statement. `now` is the time of the call by this instance's clock, in microseconds since 1970 UTC.

    Raises AccountNotFound, AggregateQuarantined, ViewBehind.
    """
    start, period = request.start, request.period
    if start and (at is None or at.position < start.position):
        at = LogPosition(start.position)
    found = await answer(reader, at, lambda: _fixed(reader, request))
    if found.value and not (start or found.value.complete):
        # The log may have more events of the period than the views. Once they have them all, the time may say that no
        # more will come.
        settled = isinstance(period, TimePeriod) and period.end + SETTLED_MICROSECONDS <= now
        at = await _at_head(reader, at)
        found = await answer(reader, at, lambda: _fixed(reader, request))
        settled_now = found.value and found.value._replace(complete=found.value.complete or settled)
        found = found._replace(value=settled_now)
    reader.check_aggregate(account_stream(request.account_id))
    if found.value is None:
        raise AccountNotFound(request.account_id)
    return Answer(await _page(reader, request, found.value, found.place.position), found.place)


async def _at_head(reader: Reader, at: LogPosition | None) -> LogPosition:
    head = await reader.head()
    return head if at is None or at.position < head.position else at


async def _fixed(reader: Reader, request: StatementRequest) -> _Fixed | None:
    """The account's revision comes first: every event up to it is there, and others may not be yet."""
    views, id, start, period = reader.views, request.account_id, request.start, request.period
    account = await views.account(id)
    if account is None:
        return None
    last = account.revision
    if start:
        opening, closing = await views.standing(id, start.opening), await views.standing(id, start.closing)
        return _Fixed(account.state, opening, closing, bool(start.complete))
    if isinstance(period, TimePeriod):
        opening = await views.standing_at(id, period.start - 1, last)
        closing = await views.standing_at(id, period.end - 1, last)
        return _Fixed(account.state, opening, closing, _revision(closing) < last)
    opening = await views.standing(id, min(period.first - 1, last))
    closing = await views.standing(id, min(period.last, last))
    return _Fixed(account.state, opening, closing, period.last <= last)


async def _page(reader: Reader, request: StatementRequest, fixed: _Fixed, position: int) -> Statement:
    """The page of a period, whose events never change."""
    through = _position(fixed.closing)
    movements = await read_in_slices(
        reader,
        request.start.after if request.start else _position(fixed.opening),
        request.size + 1,
        lambda after, limit: reader.views.entries(request.account_id, after, through, limit),
        lambda movement: movement.position,
    )
    entries, token = movements[: request.size], ""
    if len(movements) > request.size:
        period = _revision(fixed.opening), _revision(fixed.closing), int(fixed.complete)
        token = page_token(request.listing, StatementStart(entries[-1].position, max(position, through), *period))
    return Statement(*fixed, entries, token)


async def get_balance(
    reader: Reader, account_id: str, *, time: int | None = None, revision: int = 0, at: LogPosition | None = None
) -> Answer[Balance]:
    """An account after all events up to `time` (in microseconds since 1970 UTC), or else after those up to `revision`.

    Raises AccountNotFound, AggregateQuarantined, RevisionNotReached, ViewBehind.
    """
    views, last = reader.views, 0

    async def read() -> Balance | None:
        nonlocal last
        account = await views.account(account_id)
        if account is None:
            return None
        last = account.revision
        if time is None:
            return Balance(account.state, await views.standing(account_id, min(revision, last)))
        return Balance(account.state, await views.standing_at(account_id, time, last))

    found = await answer(reader, at, read)
    reached = found.value and _revision(found.value.standing)
    if reached == last if time is not None else revision > last:
        # There may be later events, which the views do not have yet.
        found = await answer(reader, await _at_head(reader, at), read)
    reader.check_aggregate(account_stream(account_id))
    if found.value is None:
        raise AccountNotFound(account_id)
    if time is None and revision > last:
        raise RevisionNotReached(account_id, revision, last)
    return Answer(found.value, found.place)


def _revision(standing: Standing | None) -> int:
    return standing.revision if standing else 0


def _position(standing: Standing | None) -> int:
    return standing.position if standing else 0
