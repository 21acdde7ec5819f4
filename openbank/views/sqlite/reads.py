"""Reads of the file, on the event loop."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from operator import itemgetter

from openbank.domain.account import Account
from openbank.domain.hold_record import HoldRecord, HoldState
from openbank.domain.person import Person
from openbank.domain.transfers import UNSETTLED, Transfer, TransferState
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import BEGINNING, NO_STREAM, LogPosition, RecordedEvent
from openbank.eventstore.request_index import Indexed
from openbank.eventstore.streams import ACCOUNT, split
from openbank.views.port import (
    MINUTE_MICROSECONDS,
    NO_MINUTE,
    DueHold,
    Listed,
    ListedTransfer,
    Movement,
    MovementFilter,
    Standing,
    ViewsLacking,
)
from openbank.views.sqlite import questions
from openbank.views.sqlite.connections import Connections
from openbank.views.sqlite.kept import KeptAccounts
from openbank.views.sqlite.rows import Row, account_of, event_of, hold_of, person_of, totals_of, transfer_of
from openbank.views.sqlite.transfers import COUNT_FROM, newest_transfers, oldest_transfers
from openbank.views.standings import movement_of, standing_of

_FIND_REQUESTS = """
SELECT revision FROM account_events WHERE account = ? AND request_id IN ({marks}) AND request_id <> x''
"""


class SqliteReads:
    """The questions of `Views`, and a store's `RequestIndex`."""

    def __init__(self, file: Connections) -> None:
        self._file = file
        self._kept = KeptAccounts()

    async def person(self, person_id: str) -> Versioned[Person] | None:
        rows = self._read("SELECT * FROM persons WHERE person_id = ?", person_id)
        return person_of(rows[0]) if rows else None

    async def persons(self, after: int, limit: int) -> Sequence[Listed[Person]]:
        rows = self._read("SELECT * FROM persons WHERE position > ? ORDER BY position LIMIT ?", after, limit)
        return [Listed(row[0], person_of(row)) for row in rows]

    async def account(self, account_id: str) -> Versioned[Account] | None:
        known = self._kept.account(account_id)
        return known if known is not None else self._read_account(account_id)

    async def accounts_by_number(self, key: str) -> Sequence[Versioned[Account]]:
        rows = self._read("SELECT * FROM accounts WHERE number_key = ? ORDER BY position", key)
        return [account_of(row) for row in rows]

    async def accounts_by_owner(self, owner_id: str, after: int, limit: int) -> Sequence[Listed[Account]]:
        page = (owner_id, after, limit)
        accounts, places = self._kept.page(*page)
        if accounts is not None:
            return accounts
        where = "FROM accounts WHERE owner_id = ? AND position > ? ORDER BY position LIMIT ?"
        known = self._kept.account
        if places is None:
            places = [(row[0], row[1]) for row in self._read(f"SELECT position, account_id {where}", *page)]
            if any(known(account_id) is None for _, account_id in places):
                rows = self._read(f"SELECT * {where}", *page)
                return self._kept.keep_page(*page, [Listed(row[0], account_of(row)) for row in rows])
        found = [(position, known(account_id) or self._read_account(account_id)) for position, account_id in places]
        return self._kept.keep_page(*page, [Listed(position, account) for position, account in found if account])

    async def hold(self, hold_id: str) -> Versioned[HoldRecord] | None:
        rows = self._read("SELECT * FROM holds WHERE hold_id = ?", hold_id)
        return hold_of(rows[0]) if rows else None

    async def holds(
        self, account_id: str, states: Collection[HoldState], before: int, limit: int
    ) -> Sequence[Listed[HoldRecord]]:
        rows = [row for state in states for row in self._read(questions.HOLDS, account_id, state.value, before, limit)]
        newest_first = sorted(rows, key=itemgetter(0), reverse=True)
        return [Listed(row[0], hold_of(row)) for row in newest_first[:limit]]

    async def due_holds(self, time: int, after: DueHold, limit: int) -> Sequence[DueHold]:
        return [DueHold(*row) for row in self._read(questions.DUE, time, after.expire_time, after.position, limit)]

    async def account_events(self, account_id: str, before: int, limit: int) -> Sequence[RecordedEvent]:
        return [event_of(row) for row in self._read(questions.EVENTS, account_id, before, limit)]

    async def standing(self, account_id: str, revision: int) -> Standing | None:
        self._check_complete()
        rows = self._read(questions.STANDING, account_id, revision)
        return standing_of(event_of(rows[0]), totals_of(rows[0])) if rows else None

    async def standing_at(self, account_id: str, time: int, revision: int) -> Standing | None:
        self._check_complete()
        # Times rise with revisions. A binary search of a million events takes less than 100 us. An index of times would
        # be one more page to write for each event.
        earlier, later = 0, revision + 1
        while later - earlier > 1:
            middle = (earlier + later) // 2
            rows = self._read(questions.TIME, account_id, middle)
            if not rows or rows[0][0] <= time:
                earlier = middle
            else:
                later = middle
        return await self.standing(account_id, earlier)

    async def entries(self, account_id: str, after: int, through: int, limit: int) -> Sequence[Movement]:
        self._check_complete()
        rows = self._read(questions.ENTRIES, account_id, after, through, limit)
        return [movement_of(event_of(row), totals_of(row)) for row in rows]

    async def movements(self, filter: MovementFilter, before: int, limit: int) -> Sequence[Movement]:
        self._check_complete()
        statement, by = questions.newest_movements(filter)
        return [movement_of(event_of(row), totals_of(row)) for row in self._read(statement, by, before, limit)]

    async def find_requests(self, stream: str, request_ids: Sequence[bytes]) -> Indexed:
        """Exact for accounts. Nothing is known of other streams: they are short, and the store reads them itself."""
        category, account_id = split(stream)
        # The revision first: whatever is committed between the two, every event up to it is there.
        rows = self._read("SELECT position, revision FROM accounts WHERE account_id = ?", account_id)
        if category != ACCOUNT or not rows:
            return Indexed([], NO_STREAM)
        [(account, through)] = rows
        marks = ", ".join("?" * len(request_ids))
        found = self._read(_FIND_REQUESTS.format(marks=marks), account, *request_ids)
        return Indexed([revision for (revision,) in found], through)

    async def transfer(self, transfer_id: str) -> Transfer | None:
        rows = self._read("SELECT * FROM transfers WHERE transfer_id = ? AND position IS NOT NULL", transfer_id)
        return transfer_of(rows[0]).transfer if rows else None

    async def transfers(
        self, account_id: str, states: Sequence[TransferState], before: int, limit: int
    ) -> Sequence[ListedTransfer]:
        statement, values = newest_transfers(account_id, states, before, limit)
        return [transfer_of(row) for row in self._read(statement, *values)]

    async def unsettled_transfers(self, after: int, limit: int) -> Sequence[ListedTransfer]:
        statement, values = oldest_transfers(UNSETTLED, after, limit)
        return [transfer_of(row) for row in self._read(statement, *values)]

    async def unsettled_from(self, account_id: str) -> int:
        return int(self._read(COUNT_FROM, account_id, *UNSETTLED)[0][0])

    async def reversal(self, account_id: str, revision: int) -> int:
        self._check_complete()
        statement = "SELECT reversed_by FROM reversals WHERE account_id = ? AND revision = ?"
        rows = self._read(statement, account_id, revision)
        return int(rows[0][0]) if rows else 0

    async def place_before(self, time: int) -> LogPosition:
        rows = self._read(
            "SELECT position, stream, revision FROM minutes WHERE minute <= ? ORDER BY minute DESC LIMIT 1",
            time // MINUTE_MICROSECONDS,
        )
        return LogPosition(*rows[0]) if rows else BEGINNING

    async def last_minute(self) -> int:
        return int(self._read("SELECT coalesce(max(minute), ?) FROM minutes", NO_MINUTE)[0][0])

    def _check_complete(self) -> None:
        """Raises ViewsLacking."""
        if not self._file.complete:
            raise ViewsLacking("these views are of an earlier format, which had no movements")

    def _read_account(self, account_id: str) -> Versioned[Account] | None:
        rows = self._read("SELECT * FROM accounts WHERE account_id = ?", account_id)
        return self._kept.keep(account_of(rows[0])) if rows else None

    def _read(self, statement: str, *values: object) -> list[Row]:
        return self._file.read(statement, *values)
