"""The views as one person may see them: what belongs to others is as if it were not there.

Queries then miss somebody else's account exactly as they miss one that does not exist: with the same answer, after the
same reads, and with the same wait for the head of the log.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import cast

from openbank.domain.account import Account
from openbank.domain.hold_record import HoldRecord, HoldState
from openbank.domain.person import Person
from openbank.domain.transfers import Transfer, TransferState
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import LogPosition, RecordedEvent
from openbank.eventstore.streams import account_stream, person_stream
from openbank.queries.reader import Reader
from openbank.views.port import Listed, ListedTransfer, LogId, Movement, MovementFilter, Standing, Views


def reader_of(reader: Reader, person_id: str) -> Reader:
    """Reads what belongs to this person. With an empty id nothing does."""
    views = OwnViews(reader.views, person_id)

    def check_aggregate(stream: str) -> None:
        # That an aggregate is quarantined is for its owner to know.
        if stream in views.shown:
            reader.check_aggregate(stream)

    return reader._replace(views=cast(Views, views), check_aggregate=check_aggregate, seal=reader.seal.only())


class OwnViews:
    """The reads of `views.port.Views` that a person may make. It has no others, so that a new one is refused until it
    says here what it shows to whom."""

    def __init__(self, views: Views, person_id: str) -> None:
        self._views = views
        self._person_id = person_id
        self.shown: set[str] = set()
        """The streams of the person's aggregates that were read."""

    @property
    def log(self) -> LogId | None:
        return self._views.log

    @property
    def place(self) -> LogPosition:
        return self._views.place

    async def wait_for(self, position: int) -> None:
        await self._views.wait_for(position)

    async def person(self, person_id: str) -> Versioned[Person] | None:
        found = await self._views.person(person_id)
        if person_id != self._person_id:
            return None
        self.shown.add(person_stream(person_id))
        return found

    async def account(self, account_id: str) -> Versioned[Account] | None:
        found = await self._views.account(account_id)
        return found if found is not None and self._is_own(found) else None

    async def accounts_by_number(self, key: str) -> Sequence[Versioned[Account]]:
        return [account for account in await self._views.accounts_by_number(key) if self._is_own(account)]

    async def accounts_by_owner(self, owner_id: str, after: int, limit: int) -> Sequence[Listed[Account]]:
        found = await self._views.accounts_by_owner(owner_id, after, limit)
        return found if owner_id == self._person_id else ()

    async def account_events(self, account_id: str, before: int, limit: int) -> Sequence[RecordedEvent]:
        if await self.account(account_id) is None:
            return ()
        return await self._views.account_events(account_id, before, limit)

    async def standing(self, account_id: str, revision: int) -> Standing | None:
        if await self.account(account_id) is None:
            return None
        return await self._views.standing(account_id, revision)

    async def standing_at(self, account_id: str, time: int, revision: int) -> Standing | None:
        if await self.account(account_id) is None:
            return None
        return await self._views.standing_at(account_id, time, revision)

    async def entries(self, account_id: str, after: int, through: int, limit: int) -> Sequence[Movement]:
        if await self.account(account_id) is None:
            return ()
        return await self._views.entries(account_id, after, through, limit)

    async def movements(self, filter: MovementFilter, before: int, limit: int) -> Sequence[Movement]:
        """None of a list of all accounts."""
        if await self.account(filter.account_id) is None:
            return ()
        return await self._views.movements(filter, before, limit)

    async def hold(self, hold_id: str) -> Versioned[HoldRecord] | None:
        found = await self._views.hold(hold_id)
        if found is None or await self.account(found.state.account_id) is None:
            return None
        return found

    async def holds(
        self, account_id: str, states: Collection[HoldState], before: int, limit: int
    ) -> Sequence[Listed[HoldRecord]]:
        if await self.account(account_id) is None:
            return ()
        return await self._views.holds(account_id, states, before, limit)

    async def transfer(self, transfer_id: str) -> Transfer | None:
        """Either side may read a transfer."""
        found = await self._views.transfer(transfer_id)
        if found is None:
            return None
        sides = (found.source_account_id, found.destination_account_id)
        own = [await self.account(account_id) is not None for account_id in sides]
        return found if any(own) else None

    async def transfers(
        self, account_id: str, states: Sequence[TransferState], before: int, limit: int
    ) -> Sequence[ListedTransfer]:
        if await self.account(account_id) is None:
            return ()
        return await self._views.transfers(account_id, states, before, limit)

    def _is_own(self, account: Versioned[Account]) -> bool:
        own = account.state.owner_id == self._person_id
        if own:
            self.shown.add(account_stream(account.state.account_id))
        return own
