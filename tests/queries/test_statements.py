"""Statements agree with a fold by hand, entry by entry, however they are paged and whatever is written meanwhile."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openbank.codec.events import decode
from openbank.domain.account_events import AccountEvent, OverdraftLimitSet
from openbank.domain.errors import AccountNotFound, Refused, RevisionNotReached
from openbank.domain.fields import Fields
from openbank.domain.money import Money
from openbank.eventstore.port import RecordedEvent
from openbank.queries import statements
from openbank.queries.movements import list_movements, movements_listing
from openbank.queries.paging import PageRequest
from openbank.queries.reader import Reader
from openbank.queries.statements import (
    RevisionPeriod,
    Statement,
    StatementStart,
    TimePeriod,
    get_balance,
    get_statement,
)
from openbank.views.port import MovementFilter, Standing, Views
from openbank.views.sqlite import SqliteViews
from tests.eventstore.memory import MemoryStore
from tests.views.histories import LOG, START, USD, History, project_events

LATER = START + 1_000
"""After all events."""
MOVES = st.lists(st.sampled_from(["deposit", "withdraw", "limit"]), max_size=12)


class Line(NamedTuple):
    revision: int
    amount: int
    balance: int


class Folded(NamedTuple):
    """What a statement is to say."""

    opening: int
    closing: int
    credits: int
    debits: int
    lines: Sequence[Line]


class Bank:
    """Views of a log that grows, and the account 1."""

    def __init__(self, views: Views) -> None:
        self.history = History(MemoryStore())
        # Two events at a time, every third a little before the one that precedes it.
        self.history.time_of = lambda number: START + number // 2 * 10 - number % 3
        self.views = views
        self.reader = Reader(views, self.history.store.head, 5)

    @classmethod
    async def open(cls, directory: Path) -> Bank:
        views = SqliteViews(directory)
        await views.clear(LOG)
        bank = cls(views)
        await bank.history.register("ann")
        await bank.history.open("1", "ann", deposit=Money(USD, 500))
        await bank.write([])
        return bank

    async def write(self, moves: Sequence[str]) -> None:
        for move in moves:
            if move == "limit":
                state = self.history.accounts["1"].resource.state
                limit = state.controls.overdraft_limit
                to, old = Money(USD, limit + 1), Money(USD, limit)
                available = state.available.plus(Money(USD, 1))
                await self.history.happen("1", OverdraftLimitSet(to, old, state.balance, available))
            else:
                await getattr(self.history, move)("1", 7 if move == "withdraw" else 11)
        new = [one for one in await self.history.events() if one.position > self.views.place.position]
        if new:
            await project_events(self.views, new)

    async def statement(
        self, period: TimePeriod | RevisionPeriod, size: int = 1_000, token: str = "", now: int = LATER
    ) -> Statement:
        fields = Fields()
        request = statements.read_statement_request(fields, self.reader, "1", period, size, token)
        fields.check()
        return (await get_statement(self.reader, request, now)).value

    async def events(self) -> Sequence[tuple[int, RecordedEvent, AccountEvent]]:
        """With the running maximum of their times."""
        found, time = [], -(2**62)
        for event in await self.history.events_of("1"):
            time = max(time, event.metadata.record_time)
            happened = decode(event.type, event.data, "1")
            assert isinstance(happened, AccountEvent)
            found.append((time, event, happened))
        return found

    async def folded(self, period: TimePeriod | RevisionPeriod) -> Folded:
        opening, closing, lines = 0, 0, []
        for time, event, happened in await self.events():
            place = time if isinstance(period, TimePeriod) else event.revision
            end = period.end - 1 if isinstance(period, TimePeriod) else period.last
            if place > end:
                break
            moved, closing = happened.balance_after.minor - closing, happened.balance_after.minor
            if place < period[0]:
                opening = closing
            elif moved:
                lines.append(Line(event.revision, moved, closing))
        credits = sum(line.amount for line in lines if line.amount > 0)
        return Folded(opening, closing, credits, credits - (closing - opening), lines)


def minor(standing: Standing | None, name: str) -> int:
    if standing is None:
        return 0
    value = getattr(standing, name)
    return value.minor if isinstance(value, Money) else int(value)


def said(pages: Sequence[Statement]) -> Folded:
    """What the pages of a statement say, which is the same on each."""
    [(opening, closing, _)] = {(page.opening, page.closing, page.complete) for page in pages}
    lines = [
        Line(movement.revision, movement.entry.amount.minor, movement.balance_after.minor)
        for page in pages
        for movement in page.entries
    ]
    assert minor(closing, "entries") - minor(opening, "entries") == len(lines)
    credits, debits = (minor(closing, name) - minor(opening, name) for name in ("credits", "debits"))
    return Folded(minor(opening, "balance"), minor(closing, "balance"), credits, debits, lines)


@given(before=MOVES, between=st.lists(MOVES, min_size=1, max_size=3), data=st.data())
@settings(max_examples=60, deadline=None)
async def test_a_statement_agrees_with_a_fold_by_hand_while_writes_continue(
    before: Sequence[str], between: Sequence[Sequence[str]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        bank = await Bank.open(Path(directory))
        await bank.write(before)
        count = len(await bank.history.events_of("1"))
        first = data.draw(st.integers(1, count + 2), label="from")
        last = data.draw(st.integers(first, count + 3), label="to")
        size = data.draw(st.integers(1, 4), label="page size")
        wanted = await bank.folded(RevisionPeriod(first, last))
        pages = [await bank.statement(RevisionPeriod(first, last), size)]
        for moves in between:
            await bank.write(moves)
            if pages[-1].next_page_token:
                pages.append(await bank.statement(RevisionPeriod(first, last), size, pages[-1].next_page_token))
        while pages[-1].next_page_token:
            pages.append(await bank.statement(RevisionPeriod(first, last), size, pages[-1].next_page_token))
        assert said(pages) == wanted
        assert pages[0].complete is (last <= count)
        await bank.views.close()


@given(moves=MOVES, data=st.data())
@settings(max_examples=60, deadline=None)
async def test_periods_join_wherever_time_or_revisions_are_cut(moves: Sequence[str], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        bank = await Bank.open(Path(directory))
        await bank.write(moves)
        times = sorted({time for time, *_ in await bank.events()})
        near = st.sampled_from([time + off for time in times for off in (-1, 0, 1)])
        cuts = sorted(data.draw(st.sets(near, min_size=1, max_size=4), label="cuts"))
        edges = [times[0] - 5, *cuts, times[-1] + 5]
        if data.draw(st.booleans(), label="by revision"):
            edges = [1, *sorted(data.draw(st.sets(st.integers(2, 12), max_size=4), label="revisions")), 20]
            periods: list[TimePeriod | RevisionPeriod] = [RevisionPeriod(a, b - 1) for a, b in pairwise(edges)]
        else:
            periods = [TimePeriod(a, b) for a, b in pairwise(edges) if a < b]
        parts = [said([await bank.statement(period)]) for period in periods]
        assert parts == [await bank.folded(period) for period in periods]
        for one, following in pairwise(parts):
            assert one.closing == following.opening
        whole = said([await bank.statement(RevisionPeriod(1, 99))])
        assert [line for part in parts for line in part.lines] == whole.lines
        assert sum(part.credits for part in parts) == whole.credits
        await bank.views.close()


@given(moves=MOVES)
@settings(max_examples=30, deadline=None)
async def test_a_balance_is_that_of_the_fold_at_every_revision_and_time(moves: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        bank = await Bank.open(Path(directory))
        await bank.write(moves)
        events = await bank.events()
        for _, event, happened in events:
            found = (await get_balance(bank.reader, "1", revision=event.revision)).value.standing
            assert found
            assert (found.revision, found.balance, found.available) == (
                event.revision,
                happened.balance_after,
                happened.available_after,
            )
        for moment in {time + off for time, *_ in events for off in (-1, 0, 1)}:
            found = (await get_balance(bank.reader, "1", time=moment)).value.standing
            assert minor(found, "revision") == max(
                (event.revision for time, event, _ in events if time <= moment), default=0
            )
        await bank.views.close()


async def test_views_that_lag_are_waited_for_before_a_statement_is_complete(tmp_path: Path) -> None:
    bank = await Bank.open(tmp_path)
    await bank.history.deposit("1", 1)
    period, settled = TimePeriod(START, LATER), LATER + statements.SETTLED_MICROSECONDS
    lagging = bank.reader._replace(wait_seconds=0)
    for now in (settled, settled - 1):
        request = statements.read_statement_request(Fields(), lagging, "1", period, 10, "")
        with pytest.raises(Refused) as behind:
            await get_statement(lagging, request, now)
        assert behind.value.reason == "VIEW_BEHIND"
    await bank.write([])
    assert (await bank.statement(period, now=settled)).complete
    assert not (await bank.statement(period, now=settled - 1)).complete
    assert len((await bank.statement(period, now=settled)).entries) == 2
    await bank.views.close()


async def test_a_forged_token_does_no_harm(tmp_path: Path) -> None:
    bank = await Bank.open(tmp_path)
    await bank.write(["deposit"] * 3)
    request = statements.read_statement_request(Fields(), bank.reader, "1", RevisionPeriod(1, 9), 10, "")
    for values in ((0, 0, 9, 1, 0), (-1, -1, -1, -1, 7), (0, 0, 0, 2**63 - 1, 1), (2**63 - 1, 0, 1, 1, 1)):
        forged = request._replace(start=StatementStart(*values))
        assert (await get_statement(bank.reader, forged, LATER)).value.entries is not None
    await bank.views.close()


async def test_an_account_in_quarantine_and_one_that_is_not_there_have_no_statement(tmp_path: Path) -> None:
    bank = await Bank.open(tmp_path)

    class Quarantined(Refused):
        reason = "AGGREGATE_QUARANTINED"

    def refuse(stream: str) -> None:
        if stream == "account-1":
            raise Quarantined(stream)

    reader = bank.reader._replace(check_aggregate=refuse)
    for account_id, error in (("1", Quarantined), ("2", AccountNotFound)):
        request = statements.read_statement_request(Fields(), reader, account_id, RevisionPeriod(1, 9), 10, "")
        filter = MovementFilter(account_id)
        page = PageRequest(movements_listing(reader, filter), 10, None)
        for call in (
            get_statement(reader, request, LATER),
            get_balance(reader, account_id, revision=1),
            get_balance(reader, account_id, time=START),
            list_movements(reader, filter, page),
        ):
            with pytest.raises(error):
                await call
    with pytest.raises(RevisionNotReached):
        await get_balance(bank.reader, "1", revision=2)
    await bank.views.close()
