"""Logs for views to be built from, and what views that are built from them hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from itertools import count
from uuid import UUID

from openbank.codec.events import DomainEvent, decode, encode, is_ours
from openbank.domain import account as accounts
from openbank.domain import person as persons
from openbank.domain.account import Account
from openbank.domain.account_events import AccountEvent, AccountOpened, MoneyDeposited, MoneyWithdrawn
from openbank.domain.fields import account_number_key
from openbank.domain.internal import RequestClaimed
from openbank.domain.money import Currency, Money
from openbank.domain.person import Address, Gender, Person, PersonAddressUpdated, PersonEvent, PersonRegistered
from openbank.domain.statement import entry_of
from openbank.domain.tags import NO_TAGS, Tags
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import EventStore, LogPosition, Metadata, NewEvent, RecordedEvent
from openbank.eventstore.streams import account_stream, person_stream, request_stream, split
from openbank.following.log import Log
from openbank.integrity.checking import Checker
from openbank.integrity.quarantine import Quarantine
from openbank.views.changes import Change
from openbank.views.port import Listed, LogId, Movement, MovementFilter, Standing, Views
from openbank.views.projections import project
from openbank.views.projector import Projector

USD = Currency("USD", 2)
JPY = Currency("JPY", 0)
NOTHING = Money(USD, 0)
LOG = LogId("b0" * 16, "50" * 16)
START = 1_700_000_000_000_000
EVERYTHING = 100_000

ANN = Person(
    "ann",
    "Ann",
    "Ødegård",
    "Norwegian",
    Gender.FEMALE,
    date(1980, 2, 29),
    Address("1 Main Street", "Oslo", "0150", "Norway"),
    "ann@example.com",
)


class History:
    """Writes a bank's events straight into a store's log, and knows the bank that they make."""

    def __init__(self, store: EventStore) -> None:
        self.store = store
        self.persons: dict[str, Listed[Person]] = {}
        self.accounts: dict[str, Listed[Account]] = {}
        self.noted: set[bytes] = set()
        """The ids of events that the bank did not write."""
        self.time_of: Callable[[int], int] = lambda number: START - number
        """The record time of the event with this number. Clocks may run backwards: nothing depends on their order."""
        self._numbers = count(1)

    async def register(self, person_id: str) -> None:
        await self._person(person_id, PersonRegistered(replace(ANN, person_id=person_id)))

    async def move(self, person_id: str, street: str = "2 Side Street") -> None:
        old = self.persons[person_id].resource.state.address
        await self._person(person_id, PersonAddressUpdated(old, replace(old, street=street)))

    async def open(self, account_id: str, owner_id: str, number: str = "", deposit: Money = NOTHING) -> None:
        opened = AccountOpened(account_id, owner_id, number or f"number {account_id}", deposit)
        await self._account(account_id, owner_id, opened)

    async def deposit(self, account_id: str, minor: int = 100, tags: Tags = NO_TAGS) -> None:
        account = self.accounts[account_id].resource.state
        amount = Money(account.currency, minor)
        event = MoneyDeposited(amount, "salary", account.balance.plus(amount), tags=tags)
        await self._account(account_id, account.owner_id, event)

    async def deposit_at(self, account_id: str, revision_before: int, minor: int = 100) -> None:
        """A deposit right after an event that is not the bank's."""
        listed = self.accounts[account_id]
        self.accounts[account_id] = listed._replace(resource=listed.resource._replace(revision=revision_before))
        await self.deposit(account_id, minor)

    async def withdraw(self, account_id: str, minor: int = 100) -> None:
        account = self.accounts[account_id].resource.state
        amount = Money(account.currency, minor)
        event = MoneyWithdrawn(amount, "", account.balance.minus(amount))
        await self._account(account_id, account.owner_id, event)

    async def happen(self, account_id: str, event: AccountEvent) -> None:
        """An event as the domain has decided it."""
        await self._account(account_id, self.accounts[account_id].resource.state.owner_id, event)

    async def claim(self, request_id: str) -> None:
        """What the bank keeps for itself."""
        await self._append(request_stream(request_id), 0, RequestClaimed("RegisterPerson", b"hash", "ann"), "")

    async def note(self, stream: str, type_name: str, data: bytes = b"{}", part: int = 0, parts: int = 1) -> None:
        """An event of any type, as another program or another version would write it."""
        number = next(self._numbers)
        metadata = Metadata(START + number, part=part, parts=parts)
        self.noted.add(number.to_bytes(16))
        revision = len(await self.store.read_stream(stream))
        await self.store.append(stream, revision, [NewEvent(number.to_bytes(16), type_name, data, metadata)])

    async def events(self) -> Sequence[RecordedEvent]:
        return (await self.store.read_log(LogPosition(0), EVERYTHING)).events

    async def events_of(self, account_id: str) -> Sequence[RecordedEvent]:
        events = await self.store.read_stream(account_stream(account_id))
        return [event for event in events if is_ours(event.type) and event.id not in self.noted]

    async def _person(self, person_id: str, event: PersonEvent) -> None:
        known = self.persons.get(person_id)
        revision = known.resource.revision if known else 0
        position, time = await self._append(person_stream(person_id), revision, event, "")
        state = persons.apply(known.resource.state if known else None, event)
        create_time = known.resource.create_time if known else time
        person = Versioned(state, revision + 1, create_time, time)
        self.persons[person_id] = Listed(known.position if known else position, person)

    async def _account(self, account_id: str, owner_id: str, event: AccountEvent) -> None:
        known = self.accounts.get(account_id)
        revision = known.resource.revision if known else 0
        position, time = await self._append(account_stream(account_id), revision, event, owner_id)
        state = accounts.apply(known.resource.state if known else None, event, revision + 1)
        create_time = known.resource.create_time if known else time
        account = Versioned(state, revision + 1, create_time, time)
        self.accounts[account_id] = Listed(known.position if known else position, account)

    async def _append(self, stream: str, revision: int, event: DomainEvent, owner_id: str) -> tuple[int, int]:
        number = next(self._numbers)
        type_name, data = encode(event)
        time = self.time_of(number)
        metadata = Metadata(time, UUID(int=number).bytes, b"hash", f"call-{number}", "cause", owner_id)
        new = NewEvent(number.to_bytes(16), type_name, data, metadata)
        return await self.store.append(stream, revision, [new]), time


def new_projector(
    store: EventStore, log: Log, views: Views, batch_events_max: int = 4_000, quarantine: Quarantine | None = None
) -> Projector:
    """One that follows the log of `store`."""
    quarantine = quarantine or Quarantine(store, lambda: START)
    return Projector(log, views, Checker(store, quarantine, thorough=True), quarantine, batch_events_max)


def changes_of(events: Sequence[RecordedEvent]) -> list[Change]:
    return [
        change for event in events for change in project(event, decode(event.type, event.data, split(event.stream)[1]))
    ]


async def project_events(views: Views, events: Sequence[RecordedEvent]) -> None:
    """As a projector does, for events of persons and accounts."""
    await views.project(changes_of(events), events[-1].place)


async def project_log(views: Views, history: History) -> None:
    await project_events(views, await history.events())


async def assert_holds(views: Views, history: History) -> None:
    """Every read of the views gives what the log says, whole and in order."""
    in_order = sorted(history.persons.values())
    assert await views.persons(0, EVERYTHING) == in_order
    for person in in_order:
        assert await views.person(person.resource.state.person_id) == person.resource
        owner_id = person.resource.state.person_id
        owned = [account for account in history.accounts.values() if account.resource.state.owner_id == owner_id]
        assert await views.accounts_by_owner(owner_id, 0, EVERYTHING) == sorted(owned)
    for account_id, account in history.accounts.items():
        assert await views.account(account_id) == account.resource
        key = _key(account.resource)
        numbered = [one for one in history.accounts.values() if _key(one.resource) == key]
        assert await views.accounts_by_number(key) == [one.resource for one in sorted(numbered)]
        newest_first = list(reversed(await history.events_of(account_id)))
        assert await views.account_events(account_id, EVERYTHING, EVERYTHING) == newest_first
        await assert_standings(views, account_id, await history.events_of(account_id))


async def assert_standings(views: Views, account_id: str, events: Sequence[RecordedEvent]) -> None:
    """The account after each of its events, and its movements, as they are when the events are added up by hand."""
    state: Account | None = None
    movements: list[Movement] = []
    standings: list[Standing] = []
    credits, time = 0, -(2**63)
    for event in events:
        happened = decode(event.type, event.data, account_id)
        assert isinstance(happened, AccountEvent)
        moved = happened.balance_after.minor - (state.balance.minor if state else 0)
        state = accounts.apply(state, happened, event.revision)
        credits, time = credits + max(moved, 0), max(time, event.metadata.record_time)
        if moved:
            entry = entry_of(happened)
            assert entry
            assert entry.amount == Money(state.currency, moved)
            place = account_id, event.position, event.revision, event.id, event.type
            movements.append(Movement(*place, time, state.balance, entry))
        funds = state.balance, state.available
        standings.append(Standing(event.position, event.revision, time, *funds, len(movements), credits))
    for standing, following in zip(standings, [*standings[1:], None], strict=True):
        assert await views.standing(account_id, standing.revision) == standing
        assert await views.standing(account_id, following.revision - 1 if following else EVERYTHING) == standing
        last = next(one for one in reversed(standings) if one.time <= standing.time)
        assert await views.standing_at(account_id, standing.time, EVERYTHING) == last
        assert await views.standing_at(account_id, standing.time, standing.revision) == standing
    assert await views.standing(account_id, standings[0].revision - 1) is None
    assert await views.standing_at(account_id, standings[0].time - 1, EVERYTHING) is None
    assert await views.entries(account_id, 0, EVERYTHING, EVERYTHING) == movements
    assert await views.movements(MovementFilter(account_id), EVERYTHING, EVERYTHING) == movements[::-1]


def _key(account: Versioned[Account]) -> str:
    return account_number_key(account.state.account_number)
