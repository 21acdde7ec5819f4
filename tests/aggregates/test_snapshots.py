"""Snapshots: a long account is decided on without reading all of it, and never on what does not match its events."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import is_dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbank.aggregates import history, snapshots
from openbank.codec import events as codec
from openbank.commands import accounts, persons
from openbank.commands.write_side import WriteSide
from openbank.domain import account, movements
from openbank.domain.account import Account
from openbank.domain.account_events import AccountClosed
from openbank.domain.controls import PLAIN, AccountState, Controls, Hold, OpenHolds, Reversals, SpendingLimits, Spent
from openbank.domain.errors import RequestIdReused
from openbank.domain.money import MAX_EXPONENT, MAX_MINOR, Currency, Money
from openbank.domain.movements import Deposit, OpenAccount, Withdraw
from openbank.domain.person import Address, Gender, Person, RegisterPerson, UpdateAddress
from openbank.domain.request import Request
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import NO_STREAM, SNAPSHOT_EVENTS, EventStore, Metadata, NewEvent, RecordedEvent, Snapshot
from openbank.eventstore.sqlite import FILE, SqliteEventStore
from openbank.integrity.quarantine import AggregateQuarantined
from openbank.storage.v1.account_snapshot_pb2 import AccountSnapshot
from tests.examples import JOHN, NOON, usd

STREAM = "account-a-1"
EVENTS = 3 * SNAPSHOT_EVENTS + SNAPSHOT_EVENTS // 2


class CountingStore(SqliteEventStore):
    """Counts the events that it gives."""

    given = 0

    async def read_stream(self, stream: str, after: int = NO_STREAM, limit: int = 1000) -> list[RecordedEvent]:
        events = list(await super().read_stream(stream, after, limit))
        self.given += len(events)
        return events


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[CountingStore]:
    """The log with one long account."""
    store = CountingStore(tmp_path)
    await fill(store, EVENTS)
    await store.snapshot(STREAM)
    store.given = 0
    yield store
    await store.close()


async def fill(store: EventStore, events: int) -> None:
    bank = new_bank(store)
    command = OpenAccount("a-1", "john", "1", usd(100))
    await bank.accounts.execute("a-1", lambda state: (movements.open_account(state, command),), Request())
    await many_deposits(bank, events - 1)


async def many_deposits(bank: WriteSide, count: int) -> None:
    """Not all in one append, so that snapshots come between."""
    for start in range(0, count, 20):
        await asyncio.gather(*(deposit(bank) for _ in range(start, min(start + 20, count))))


def new_bank(store: EventStore) -> WriteSide:
    """That has nothing in memory."""
    return WriteSide(store, lambda: NOON, kept_max=10)


async def deposit(bank: WriteSide, request: Request = Request(), cents: int = 1) -> Versioned[Account]:  # noqa: B008
    return (await accounts.deposit(bank, Deposit("a-1", usd(cents), ""), request)).resource


async def the_fold(store: EventStore) -> Versioned[Account]:
    """The account as its events make it, without any snapshot."""
    now = None
    for event in await store.read_stream(STREAM, limit=100_000):
        if not codec.is_ours(event.type):
            continue
        state = account.apply(now.state if now else None, codec.decode(event.type, event.data, "a-1"))  # type: ignore[arg-type]
        now = Versioned(state, event.revision, now.create_time if now else NOON, event.metadata.record_time)
    assert now
    return now


async def test_a_long_account_is_read_from_its_last_snapshot(store: CountingStore) -> None:
    assert await new_bank(store).accounts.load("a-1") == await the_fold(store)
    store.given = 0
    written = await deposit(new_bank(store))
    assert store.given <= SNAPSHOT_EVENTS + 1
    assert (written.revision, written.state.balance) == (EVENTS + 1, usd(100 + EVENTS))


async def test_an_account_is_read_from_the_snapshot_after_its_closing(store: CountingStore) -> None:
    bank, kept = new_bank(store), await store.snapshot(STREAM)
    assert kept
    await many_deposits(bank, kept.revision + SNAPSHOT_EVENTS - 2 - EVENTS)
    now = await bank.accounts.load("a-1")
    assert now
    await accounts.withdraw(bank, Withdraw("a-1", now.state.balance, ""), Request())
    closed = AccountClosed(usd(0), usd(0), "", NOON)
    await bank.accounts.execute("a-1", lambda _: (closed,), Request())
    last = await store.snapshot(STREAM)
    assert last
    assert last.revision == kept.revision + SNAPSHOT_EVENTS
    assert await new_bank(store).accounts.load("a-1") == await the_fold(store)
    store.given = 0
    await new_bank(store).accounts.load("a-1")
    assert store.given <= SNAPSHOT_EVENTS + 1


async def test_a_request_older_than_the_snapshot_is_known(store: CountingStore) -> None:
    request = Request(uuid4().bytes)
    made = await deposit(new_bank(store), request)
    await many_deposits(new_bank(store), 2 * SNAPSHOT_EVENTS)
    assert await deposit(new_bank(store), request) == made
    with pytest.raises(RequestIdReused):
        await deposit(new_bank(store), request, cents=2)


async def changed(store: SqliteEventStore, change: Callable[[Snapshot], Snapshot]) -> None:
    found = await store.snapshot(STREAM)
    assert found
    store.keep_snapshot(STREAM, change(found))


def of_another_account(snapshot: Snapshot, **fields: int) -> Snapshot:
    message = AccountSnapshot.FromString(snapshot.data)
    message.balance_minor += 1_000_000
    # Which the events that follow would put right.
    message.owner_id = "mallory"
    for name, value in fields.items():
        setattr(message, name, value)
    return snapshot._replace(data=message.SerializeToString())


def of_no_time(snapshot: Snapshot) -> Snapshot:
    message = AccountSnapshot.FromString(snapshot.data)
    message.create_time.seconds = 1 << 62
    return snapshot._replace(data=message.SerializeToString())


@pytest.mark.parametrize(
    "change",
    [
        lambda found: of_another_account(found)._replace(event_id=uuid4().bytes),
        lambda found: of_another_account(found, fold=snapshots.ACCOUNT_FOLD + 1),
        lambda found: of_another_account(found, revision=found.revision - 1),
        lambda found: of_another_account(found)._replace(revision=EVENTS + 1_000),
        lambda found: of_another_account(found)._replace(data=b"no message"),
        of_no_time,
    ],
    ids=["of another event", "of another fold", "of another revision", "ahead of the stream", "of nothing", "no time"],
)
async def test_a_snapshot_that_does_not_match_is_thrown_away(
    store: CountingStore, change: Callable[[Snapshot], Snapshot]
) -> None:
    await changed(store, change)
    assert await new_bank(store).accounts.load("a-1") == await the_fold(store)


async def test_a_snapshot_of_an_event_that_is_not_believed_is_thrown_away(store: CountingStore) -> None:
    forged = NewEvent(uuid4().bytes, "openbank.accounts.v1.MoneyDeposited", b"no message", Metadata(1))
    await store.append(STREAM, EVENTS, [forged])
    found = await store.snapshot(STREAM)
    assert found
    message = AccountSnapshot.FromString(found.data)
    message.revision = EVENTS + 1
    store.keep_snapshot(STREAM, Snapshot(EVENTS + 1, forged.id, message.SerializeToString()))
    with pytest.raises(AggregateQuarantined):
        await new_bank(store).accounts.load("a-1")


async def test_a_snapshot_that_was_damaged_is_thrown_away(store: CountingStore, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE) as file:
        file.execute("UPDATE kept_snapshots SET data = zeroblob(length(data))")
    file.close()
    assert await store.snapshot(STREAM) is None
    assert await new_bank(store).accounts.load("a-1") == await the_fold(store)


async def test_another_programs_events_in_the_stream_do_no_harm(store: CountingStore) -> None:
    for ours in (1, SNAPSHOT_EVENTS, 1):
        head = (await store.read_stream(STREAM, limit=100_000))[-1].revision
        await store.append(STREAM, head, [NewEvent(uuid4().bytes, "audit.Seen", b"whatever", Metadata(NOON))])
        await many_deposits(new_bank(store), ours)
        assert await new_bank(store).accounts.load("a-1") == await the_fold(store)


async def without_snapshots(store: SqliteEventStore, directory: Path, old: str = "") -> CountingStore:
    """The log as a version without snapshots left it, or with a table from before all were kept."""
    await store.close()
    with sqlite3.connect(directory / FILE) as file:
        file.executescript(f"{old} DROP TABLE kept_snapshots;")
    file.close()
    return CountingStore(directory)


ONLY_THE_NEWEST = """
CREATE TABLE snapshots (stream INTEGER PRIMARY KEY, revision INTEGER NOT NULL, event_id BLOB NOT NULL,
    data BLOB NOT NULL, checksum INTEGER NOT NULL) STRICT;
INSERT INTO snapshots SELECT stream, max(revision), event_id, data, checksum FROM kept_snapshots GROUP BY stream;
"""


async def test_a_log_from_before_there_were_snapshots_gets_them(store: CountingStore, tmp_path: Path) -> None:
    again = await without_snapshots(store, tmp_path)
    assert await new_bank(again).accounts.load("a-1") == await the_fold(again)
    assert await again.snapshot(STREAM) is not None
    await again.close()


async def test_the_newest_snapshots_of_an_older_version_are_used(store: CountingStore, tmp_path: Path) -> None:
    again = await without_snapshots(store, tmp_path, ONLY_THE_NEWEST)
    assert await new_bank(again).accounts.load("a-1") == await the_fold(again)
    assert again.given <= EVENTS + SNAPSHOT_EVENTS + 1
    await again.close()


# Replays


async def test_a_replay_at_any_revision_reads_a_few_events(store: CountingStore) -> None:
    requests = [Request(uuid4().bytes) for _ in range(5 * SNAPSHOT_EVENTS)]
    made = await asyncio.gather(*(deposit(new_bank(store), request) for request in requests[:1]))
    bank = new_bank(store)
    made += await asyncio.gather(*(deposit(bank, request) for request in requests[1:]))
    await bank.accounts.load("a-1")
    for request, was in zip(requests, made, strict=True):
        store.given = 0
        assert await deposit(bank, request) == was
        assert store.given <= SNAPSHOT_EVENTS + 1


async def test_an_old_address_update_is_replayed_as_cheaply(store: CountingStore) -> None:
    bank = new_bank(store)
    await persons.register_person(bank, RegisterPerson(JOHN), Request())
    requests = [Request(uuid4().bytes) for _ in range(5 * SNAPSHOT_EVENTS)]
    moves = [UpdateAddress("john", Address(str(number), "b", "c", "d")) for number in range(len(requests))]
    made = [await persons.update_address(bank, *both) for both in zip(moves, requests, strict=True)]
    for again in (bank, new_bank(store)):
        await again.persons.load("john")
        for move, request, was in zip(moves, requests, made, strict=True):
            store.given = 0
            assert await persons.update_address(again, move, request) == was._replace(replayed=True)
            assert store.given <= SNAPSHOT_EVENTS + 1


async def test_replays_on_a_log_from_before_there_were_snapshots_read_it_once_for_all(
    store: CountingStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "PAGE", 2 * SNAPSHOT_EVENTS)
    requests = [Request(uuid4().bytes) for _ in range(20)]
    bank = new_bank(store)
    made = await asyncio.gather(*(deposit(bank, request) for request in requests))
    await many_deposits(bank, 2 * SNAPSHOT_EVENTS)
    again = await without_snapshots(store, tmp_path, ONLY_THE_NEWEST)
    bank = new_bank(again)
    await bank.accounts.load("a-1")
    again.given = 0
    assert await asyncio.gather(*(deposit(bank, request) for request in requests)) == made
    assert again.given < EVENTS + 20 * (SNAPSHOT_EVENTS + 20)
    again.given = 0
    assert await deposit(bank, requests[0]) == made[0]
    assert again.given <= SNAPSHOT_EVENTS + 20
    await again.close()


money = st.builds(
    Money,
    st.builds(Currency, st.sampled_from(["USD", "JPY", "BHD"]), st.integers(0, MAX_EXPONENT)),
    st.integers(0, MAX_MINOR),
)
minor = st.integers(1, MAX_MINOR)
microseconds = st.integers(0, 2**52)
limits = st.one_of(
    st.builds(SpendingLimits, minor, st.none() | minor, st.just("UTC")),
    st.builds(SpendingLimits, st.none(), minor, st.just("Europe/Zurich")),
)


@st.composite
def governed(draw: st.DrawFn) -> Controls:
    holds = draw(
        st.dictionaries(
            st.text("0123456789abcdef-", min_size=1), st.builds(Hold, minor, microseconds, st.integers(1, 2**40))
        )
    )
    return Controls(
        draw(st.sampled_from(AccountState)),
        draw(st.text("aé ")),
        draw(st.none() | microseconds),
        draw(st.integers(0, MAX_MINOR)),
        draw(st.none() | limits),
        draw(st.none() | st.builds(Spent, st.dates(), minor)),
        OpenHolds(holds),
        sum(hold.remaining for hold in holds.values()),
        draw(st.integers(0, 2**31)),
        draw(st.integers(0, 2**40)),
        Reversals(draw(st.dictionaries(st.integers(1, 2**40), st.integers(1, 2**40))), draw(st.integers(0, 2**40))),
    )


controls = st.one_of(st.just(PLAIN), governed())
states = st.builds(Account, st.just("a-1"), st.text("ab1-"), st.text("1 -"), money, controls)


addresses = st.builds(Address, st.text("ab1 "), st.text("ab"), st.text("12"), st.text("U"))
text = st.text("aé ")
persons_ = st.builds(Person, st.just("john"), text, text, text, st.sampled_from(Gender), st.dates(), addresses, text)


@given(st.builds(Versioned, states, st.integers(1, 2**40), st.integers(0, 2**52), st.integers(0, 2**52)))
def test_an_account_is_read_from_its_snapshot_as_it_was(found: Versioned[Account]) -> None:
    assert snapshots.ACCOUNTS.decode(snapshots.ACCOUNTS.encode(found), "a-1") == found


@pytest.mark.parametrize(
    ("fold", "controls"),
    [(1, PLAIN), (3, Controls(overdraft_limit=7)), (4, Controls(reversals=Reversals(MappingProxyType({1: 2}))))],
)
def test_a_snapshot_of_an_earlier_fold_is_read_but_may_lack_reversals(fold: int, controls: Controls) -> None:
    found = Versioned(Account("a-1", "john", "1", usd(5), controls), 3, 1, 2)
    old = AccountSnapshot.FromString(snapshots.ACCOUNTS.encode(found))
    old.fold = fold
    read = snapshots.ACCOUNTS.decode(old.SerializeToString(), "a-1")
    may_lack = replace(controls, reversals=Reversals(controls.reversals.known, before=3))
    assert read == found._replace(state=replace(found.state, controls=may_lack))


@given(st.builds(Versioned, persons_, st.integers(1, 2**40), st.integers(0, 2**52), st.integers(0, 2**52)))
def test_a_person_is_read_from_its_snapshot_as_it_was(found: Versioned[Person]) -> None:
    assert snapshots.PERSONS.decode(snapshots.PERSONS.encode(found), "john") == found


# The versions of the fold

STATES = {
    (
        Account,
        1,
    ): "account_id owner_id account_number balance.currency.code balance.currency.exponent balance.minor state",
    (Account, 2): (
        "account_id owner_id account_number balance.currency.code balance.currency.exponent balance.minor"
        " controls.state controls.freeze_reason controls.close_time controls.overdraft_limit controls.spending"
        " controls.spent controls.holds controls.held controls.holds_placed"
    ),
    (Account, 3): (
        "account_id owner_id account_number balance.currency.code balance.currency.exponent balance.minor"
        " controls.state controls.freeze_reason controls.close_time controls.overdraft_limit controls.spending"
        " controls.spent controls.holds controls.held controls.holds_placed controls.last_hold"
    ),
    (Account, 4): (
        "account_id owner_id account_number balance.currency.code balance.currency.exponent balance.minor"
        " controls.state controls.freeze_reason controls.close_time controls.overdraft_limit controls.spending"
        " controls.spent controls.holds controls.held controls.holds_placed controls.last_hold"
        " controls.reversals.known controls.reversals.before"
    ),
    (Account, 5): (
        "account_id owner_id account_number balance.currency.code balance.currency.exponent balance.minor"
        " controls.state controls.freeze_reason controls.close_time controls.overdraft_limit controls.spending"
        " controls.spent controls.holds controls.held controls.holds_placed controls.last_hold"
        " controls.reversals.known controls.reversals.before"
    ),
    (Person, 1): (
        "person_id first_name last_name nationality gender date_of_birth address.street address.city"
        " address.postal_code address.country email"
    ),
}
"""The fields of what is folded, by version of the fold. Never change a line: snapshots of every version are on
somebody's disk. A state that gets a field gets a new version, and a line here."""


@pytest.mark.parametrize(("state", "fold"), [(Account, snapshots.ACCOUNT_FOLD), (Person, snapshots.PERSON_FOLD)])
def test_a_state_that_changes_its_fields_changes_the_version_of_its_fold(state: type, fold: int) -> None:
    assert " ".join(paths_of(state)) == STATES[state, fold]


def paths_of(kind: Any) -> Iterator[str]:
    for name, type_ in get_type_hints(kind).items():
        if is_dataclass(type_) or hasattr(type_, "_fields"):
            yield from (f"{name}.{path}" for path in paths_of(type_))
        else:
            yield name


def test_the_more_holds_an_account_has_the_fewer_snapshots_are_kept_of_it() -> None:
    interval = snapshots.ACCOUNTS.interval
    plain = Account("a-1", "john", "1", usd(5))
    held = [
        replace(plain, controls=Controls(holds=OpenHolds({str(number): Hold(1, 1, number) for number in range(count)})))
        for count in (10, 1_000)
    ]
    assert interval(plain) == interval(held[0]) == SNAPSHOT_EVENTS
    assert interval(held[1]) == 21 * SNAPSHOT_EVENTS
