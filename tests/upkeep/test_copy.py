"""A bank moves to another event store: everything is there, in order, once, and what clients hold is still good."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from esdbclient import AsyncEventStoreDBClient
from google.protobuf.empty_pb2 import Empty

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import CANNOT_COPY, Copied, serving
from openbank.app import copy as copy_bank
from openbank.back_ends.port import CopyTarget
from openbank.codec import events as codec
from openbank.config import Settings
from openbank.datadir import DataDirectoryInUse
from openbank.eventstore.errors import StoreRefused, StoreUnavailable
from openbank.eventstore.eventstoredb import EventStoreDBEventStore
from openbank.eventstore.port import (
    BEGINNING,
    EventStore,
    LogPosition,
    Metadata,
    NewEvent,
    RecordedEvent,
    StoredPayload,
)
from openbank.eventstore.quarantine_record import QuarantineRecord, SetAside, decode_record, encode_record
from openbank.eventstore.seal import TokenKey
from openbank.eventstore.sqlite import SqliteEventStore
from openbank.eventstore.token import InvalidToken, Tokens
from openbank.integrity.quarantine import Quarantine
from openbank.integrity.trail import UNKNOWN_TYPE
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.upkeep import batches, copy
from openbank.upkeep.copy import CopyRefused, copy_log
from tests.callers import Caller, john_doe, opening, refused, request_id, usd
from tests.eventstore.conformance import TIME, payload, some_event, some_events, whole_log
from tests.eventstore.corpus.__main__ import EXAMPLES
from tests.eventstore.interposed import InterposedStore
from tests.eventstore.memory import MemoryStore
from tests.servers import ServerProcess, run_openbank
from tests.stand_ins.eventstoredb.server import EventStoreDB
from tests.stand_ins.process import EventStoreDBProcess, eventstoredb

OpenTarget = Callable[[], Awaitable[SqliteEventStore | EventStoreDBEventStore]]


def quiet(_: Copied) -> None:
    pass


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[SqliteEventStore]:
    store = SqliteEventStore(_made(tmp_path / "source"))
    yield store
    await store.close()


@pytest.fixture
async def server() -> AsyncIterator[EventStoreDB]:
    async with eventstoredb() as server:
        yield server


@pytest.fixture(params=["EventStoreDB", "SQLite"])
async def open_target(
    request: pytest.FixtureRequest, source: EventStore, server: EventStoreDB, tmp_path: Path
) -> AsyncIterator[OpenTarget]:
    """Opens the same store each time, as a copy of the source's bank, and closes what was opened before."""
    opened: list[SqliteEventStore | EventStoreDBEventStore] = []

    async def open_target() -> SqliteEventStore | EventStoreDBEventStore:
        while opened:
            await opened.pop().close()
        if request.param == "SQLite":
            opened.append(SqliteEventStore(_made(tmp_path / "target"), bank_id=source.bank_id, copying=True))
        else:
            opened.append(await EventStoreDBEventStore.open(server.uri, bank_id=source.bank_id, copying=True))
        return opened[0]

    yield open_target
    while opened:
        await opened.pop().close()


@pytest.fixture
async def target(open_target: OpenTarget) -> SqliteEventStore | EventStoreDBEventStore:
    return await open_target()


class TestACopy:
    async def test_has_every_event_as_it_is_in_the_order_of_the_log(
        self, source: EventStore, target: EventStore
    ) -> None:
        await write_something_of_everything(source)
        await write_at_random(source, appends=300, seed=1)
        copied = await copy_log(source, target, quiet)
        events = await assert_same(source, target)
        assert copied == Copied(len(events), len(events), 1.0)

    async def test_has_the_same_bank_id_and_its_own_store_id(self, source: EventStore, target: EventStore) -> None:
        assert target.bank_id == source.bank_id
        assert target.store_id != source.store_id

    async def test_a_copy_of_nothing_is_nothing(self, source: EventStore, target: EventStore) -> None:
        assert await copy_log(source, target, quiet) == Copied()

    async def test_skips_only_events_that_it_has(self, source: EventStore, target: EventStore) -> None:
        """Another one, that it writes itself one day, may get the revision of one that it does not have."""
        await write_something_of_everything(source)
        log = await whole_log(source)
        quarantine = Quarantine(source, lambda: TIME)
        for place in (log[2].place, LogPosition(1 << 40, "account-later", 7)):
            await quarantine.set_aside(place, "it does not follow")
            await quarantine.skip(place.stream, place.revision)
        await copy_log(source, target, quiet)
        copied = Quarantine(target, lambda: 0)
        await copied.load()
        assert copied.is_skipped(log[2].stream, log[2].revision)
        assert not copied.skipped("account-later")

    async def test_knows_the_requests_that_the_source_knew(self, source: EventStore, target: EventStore) -> None:
        request = b"r" * 16
        await source.append("account-1", 0, some_events(3))
        await source.append("account-1", 3, some_events(2, request_id=request, request_hash=b"h"))
        await copy_log(source, target, quiet)
        found = await target.find_requests("account-1", [request])
        assert [(event.revision, event.metadata.request_hash) for event in found] == [(4, b"h"), (5, b"h")]

    async def test_continues_with_later_events(self, source: EventStore, target: EventStore) -> None:
        await write_at_random(source, appends=20, seed=2)
        first = await copy_log(source, target, quiet)
        await write_at_random(source, appends=20, seed=3)
        second = await copy_log(source, target, quiet)
        assert second.appended == second.events - first.events > 0
        assert (await copy_log(source, target, quiet)).appended == 0
        await assert_same(source, target)

    @pytest.mark.parametrize("page", [1, 2, 7])
    async def test_is_the_same_however_the_log_is_cut(
        self, source: EventStore, target: EventStore, page: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(copy, "PAGE", page)
        monkeypatch.setattr(batches, "BATCH_EVENTS_MAX", 3)
        await write_at_random(source, appends=30, seed=page)
        await copy_log(source, target, quiet)
        await assert_same(source, target)
        assert (await copy_log(source, target, quiet)).appended == 0

    async def test_reports_its_progress(
        self, source: EventStore, target: EventStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(copy, "PAGE", 10)
        await source.append("account-1", 0, [some_event() for _ in range(25)])
        told: list[Copied] = []
        await copy_log(source, target, told.append)
        assert told == [Copied(10, 10, 0.4), Copied(20, 20, 0.8), Copied(25, 25, 1.0)]

    async def test_ignores_other_programs(self, source: EventStore, target: EventStore, server: EventStoreDB) -> None:
        await write_at_random(source, appends=5, seed=5)
        await target.append("account-of-another", 0, [some_event()._replace(type="theirs")])
        await copy_log(source, target, quiet)
        await target.append("account-of-another", 1, [some_event()._replace(type="theirs")])
        assert (await copy_log(source, target, quiet)).appended == 0
        await assert_same(source, target)

    async def test_a_copy_of_a_bank_that_is_being_written_to_is_a_beginning_of_its_log(
        self, source: EventStore, server: EventStoreDB
    ) -> None:
        """What makes a backup of EventStoreDB."""
        served = await EventStoreDBEventStore.open(server.uri, bank_id=source.bank_id)
        await write_at_random(served, appends=50, seed=12)
        writing = asyncio.create_task(write_at_random(served, appends=200, seed=13))
        for _ in range(3):
            await copy_log(served, source, quiet)
            events = await whole_log(source)
            assert without_positions(await whole_log(served))[: len(events)] == without_positions(events)
        await writing
        await copy_log(served, source, quiet)
        await assert_same(served, source)
        await served.close()

    async def test_keeps_a_payload_that_this_version_does_not_know(
        self, source: EventStore, target: EventStore
    ) -> None:
        await source.append("account-1", 0, [some_event(b"\xff\x00")._replace(type="openbank.accounts.v9.Whatever")])
        await copy_log(source, target, quiet)
        await assert_same(source, target)


class TestAppends:
    async def test_consecutive_events_of_a_stream_are_one_append(self, source: EventStore) -> None:
        for revision in range(5):
            await source.append("account-1", revision, some_events())
        await source.append("account-2", 0, some_events())
        await source.append("account-1", 5, some_events())
        target = InterposedStore(empty_copy_of(source))
        await copy_log(source, target, quiet)
        asked = [(append.stream, append.expected_revision, len(append.events)) for append in target.asked]
        assert asked == [("account-1", 0, 5), ("account-2", 0, 1), ("account-1", 5, 1)]

    async def test_a_command_is_never_split(self, source: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(batches, "BATCH_EVENTS_MAX", 4)
        for number in range(3):
            await source.append("account-1", 3 * number, some_events(3))
        await source.append("account-1", 9, some_events(6))
        target = InterposedStore(empty_copy_of(source))
        await copy_log(source, target, quiet)
        assert [len(append.events) for append in target.asked] == [3, 3, 3, 6]

    async def test_no_append_is_too_large_for_a_store(self, source: EventStore, target: EventStore) -> None:
        """In JSON, a control character takes six bytes."""
        data = payload("\x01" * 100_000)
        for number in range(4):
            await source.append("account-1", number, [some_event(data)])
        await copy_log(source, target, quiet)
        await assert_same(source, target)


class TestWhatThisVersionDoesNotKnow:
    """A newer version may have written fields, values and types that this one has no names for."""

    NEWER = b'{"amount": {"currency_code": "USD", "units": "1"},  "surprise": [1, {"x": null}]}'
    ABOUT = b'{"recordTime": "2026-11-23T15:25:00.000000Z", "ownerId": "ann", "tenant": "x", "$schema": 1}'

    @pytest.fixture
    async def origin(self, server: EventStoreDB) -> AsyncIterator[EventStoreDBEventStore]:
        store = await EventStoreDBEventStore.open(server.uri)
        yield store
        await store.close()

    def newer(self, data: bytes = NEWER, metadata: bytes | None = None, type: str = "") -> NewEvent:
        event = some_event(StoredPayload.of(data, is_json=True, metadata=metadata))
        return event._replace(type=type or event.type)

    async def test_between_stores_of_one_format_every_byte_is_kept(self, origin: EventStoreDBEventStore) -> None:
        await origin.append("account-1", 0, [some_event(), self.newer(), self.newer(metadata=self.ABOUT)])
        await origin.append("account-2", 0, [self.newer(type="openbank.accounts.v2.Unheard")])
        await origin.append("account-2", 1, [self.newer(b"not even json")])
        async with eventstoredb() as other:
            target = await EventStoreDBEventStore.open(other.uri, bank_id=origin.bank_id, copying=True)
            copied = await copy_log(origin, target, quiet)
            assert copied.appended == copied.events == 5
            assert (await copy_log(origin, target, quiet)).appended == 0
            here, there = [(await one.read_log_as_stored(BEGINNING, 100)).events for one in (origin, target)]
            for event, other_event in zip(here, there, strict=True):
                assert event[1:] == other_event[1:]
                assert isinstance(event.data, StoredPayload)
                assert isinstance(other_event.data, StoredPayload)
                assert vars(event.data) == vars(other_event.data)
            assert vars(here[2].data)["metadata"] == self.ABOUT
            await target.close()

    @pytest.mark.parametrize(
        ("changes", "complaint"),
        [
            ({}, "a payload"),
            ({"data": b'{"amount": {"currency_code": "USD", "units": "1", "new": ""}}'}, "a payload"),
            ({"data": b'{"gender": "UNHEARD"}', "type": "openbank.persons.v1.PersonRegistered"}, "a payload"),
            ({"data": b"{}", "type": "openbank.accounts.v2.Unheard"}, "a payload"),
            ({"data": b"{", "type": "openbank.accounts.v1.MoneyDeposited"}, "a payload"),
            ({"data": b"{}", "metadata": ABOUT}, "metadata"),
            ({"data": b"{}", "metadata": b'["recordTime"]'}, "metadata"),
            ({"data": b"{}", "metadata": b'{"recordTime":"yesterday"}'}, "metadata"),
        ],
    )
    async def test_to_the_embedded_store_it_is_refused_and_not_dropped(
        self, origin: EventStoreDBEventStore, changes: dict[str, Any], complaint: str, tmp_path: Path
    ) -> None:
        await origin.append("account-1", 0, [some_event()])
        await origin.append("account-1", 1, [self.newer(**changes)])
        target = SqliteEventStore(_made(tmp_path / "embedded"), bank_id=origin.bank_id, copying=True)
        with pytest.raises(
            CopyRefused, match=f"the source's revision 2 of account-1 .* has {complaint} that this version"
        ):
            await copy_log(origin, target, quiet)
        await target.close()

    async def test_json_in_another_form_with_the_same_meaning_is_copied(
        self, origin: EventStoreDBEventStore, tmp_path: Path
    ) -> None:
        """By hand, say, or by an importer: spaces, camel case, names of EventStoreDB's own in the metadata."""
        data = b'{ "amount": {"currencyCode":"USD", "units": 1} }'
        about = b'{ "recordTime": "2026-11-23T15:25:00.000000Z", "$schema": {} }'
        await origin.append("account-1", 0, [self.newer(data, about)])
        target = SqliteEventStore(_made(tmp_path / "embedded"), bank_id=origin.bank_id, copying=True)
        assert (await copy_log(origin, target, quiet)).appended == 1
        await assert_same(origin, target)
        await target.close()

    async def test_from_the_embedded_store_what_json_would_lose_stays_binary(
        self, source: SqliteEventStore, server: EventStoreDB, tmp_path: Path
    ) -> None:
        unknown = payload("Salary") + b"\xfa\x3f\x01x"
        await source.append("account-1", 0, [some_event(), some_event(unknown)])
        target = await EventStoreDBEventStore.open(server.uri, bank_id=source.bank_id, copying=True)
        await copy_log(source, target, quiet)
        await assert_same(source, target)
        assert (await target.read_stream("account-1"))[1].data == unknown
        back = SqliteEventStore(_made(tmp_path / "back"), bank_id=source.bank_id, copying=True)
        await copy_log(target, back, quiet)
        await assert_same(source, back)
        await target.close()
        await back.close()

    async def test_an_event_that_lost_an_unknown_field_is_not_the_same(self, origin: EventStoreDBEventStore) -> None:
        event = self.newer()
        await origin.append("account-1", 0, [event])
        async with eventstoredb() as other:
            target = await EventStoreDBEventStore.open(other.uri, bank_id=origin.bank_id, copying=True)
            known = codec.from_json(event.type, self.NEWER)
            await target.append("account-1", 0, [event._replace(data=known)])
            with pytest.raises(CopyRefused, match="not the same in the target: data differ"):
                await copy_log(origin, target, quiet)
            await target.close()


class TestWhatServingTolerates:
    @pytest.fixture
    async def origin(self, server: EventStoreDB) -> AsyncIterator[EventStoreDBEventStore]:
        store = await EventStoreDBEventStore.open(server.uri)
        yield store
        await store.close()

    @pytest.fixture(params=["EventStoreDB", "SQLite"])
    async def copy_of(
        self, request: pytest.FixtureRequest, origin: EventStoreDBEventStore, tmp_path: Path
    ) -> AsyncIterator[SqliteEventStore | EventStoreDBEventStore]:
        copy: SqliteEventStore | EventStoreDBEventStore
        async with eventstoredb() as other:
            if request.param == "SQLite":
                copy = SqliteEventStore(_made(tmp_path / "copy"), bank_id=origin.bank_id, copying=True)
            else:
                copy = await EventStoreDBEventStore.open(other.uri, bank_id=origin.bank_id, copying=True)
            yield copy
            await copy.close()

    async def test_events_of_other_programs_between_those_of_the_bank_keep_their_place(
        self, origin: EventStoreDBEventStore, copy_of: SqliteEventStore | EventStoreDBEventStore
    ) -> None:
        theirs = StoredPayload.of(b'{"x": 1}', is_json=True, metadata=b'{"y": 2}')
        bare = StoredPayload.of(b"\xff\x00", is_json=False, metadata=b"")
        await origin.append("account-1", 0, [some_event()])
        for revision in range(1, 5):
            event = some_event(theirs if revision % 2 else bare)._replace(type="theirs")
            await origin.append("account-1", revision, [event])
        await origin.append("account-1", 5, some_events(2))
        await origin.append("account-1", 7, [some_event()._replace(type="theirs")])
        await origin.append("account-2", 0, [some_event()._replace(type="theirs")])
        await copy_log(origin, copy_of, quiet)
        copied = await copy_of.read_stream("account-1")
        assert [event.revision for event in copied] == list(range(1, 8))
        assert [event[2:6] for event in copied] == [event[2:6] for event in await origin.read_stream("account-1", 0, 7)]
        if isinstance(copy_of, EventStoreDBEventStore):
            stores = (origin, copy_of)
            one, other = [(await store.read_log_as_stored(BEGINNING, 100)).events[:7] for store in stores]
            for before, same in zip(one, other, strict=True):
                assert isinstance(before.data, StoredPayload)
                assert isinstance(same.data, StoredPayload)
                assert (before.data.metadata, before.data.is_json) == (same.data.metadata, same.data.is_json)
        assert (await copy_log(origin, copy_of, quiet)).appended == 0

    async def test_quarantined_and_skipped_events_stay_so(
        self, origin: EventStoreDBEventStore, copy_of: SqliteEventStore | EventStoreDBEventStore
    ) -> None:
        await origin.append("account-2", 0, some_events(2))
        await origin.append("account-1", 0, some_events(3))
        there = (await origin.read_stream("account-1", 1, 1))[0].position
        aside = SetAside(2, there, "it cannot be", TIME)
        record = QuarantineRecord({"account-1": aside}, {"account-2": frozenset({2})})
        assert await origin.save_quarantine(encode_record(record), 0)
        await copy_log(origin, copy_of, quiet)
        kept = await copy_of.quarantine()
        here = (await copy_of.read_stream("account-1", 1, 1))[0].position
        assert decode_record(kept.data) == record._replace(aside={"account-1": aside._replace(position=here)})
        await copy_log(origin, copy_of, quiet)
        assert (await copy_of.quarantine()).version == kept.version

    @pytest.mark.parametrize("skipped", [True, False])
    async def test_a_payload_that_is_not_believed_does_not_stop_a_copy(
        self, origin: EventStoreDBEventStore, copy_of: SqliteEventStore | EventStoreDBEventStore, skipped: bool
    ) -> None:
        rubbish = b"this is no JSON"
        await origin.append("account-1", 0, [some_event()])
        event = some_event(StoredPayload.of(rubbish, is_json=True, metadata=b'{"tenant": "x"}'))
        await origin.append("account-1", 1, [event])
        position = (await origin.head()).position
        aside = {} if skipped else {"account-1": SetAside(2, position, "its payload is not one of its type", TIME)}
        record = QuarantineRecord(aside, {"account-1": frozenset({2})} if skipped else {})
        await origin.save_quarantine(encode_record(record), 0)
        await copy_log(origin, copy_of, quiet)
        assert (await copy_of.read_stream("account-1"))[1].data == rubbish

    async def test_a_type_that_a_newer_version_knows_is_still_not_dropped(
        self, origin: EventStoreDBEventStore, tmp_path: Path
    ) -> None:
        event = some_event(StoredPayload.of(b'{"new": 1}', is_json=True))._replace(type="openbank.accounts.v9.New")
        await origin.append("account-1", 0, [some_event()])
        await origin.append("account-1", 1, [event])
        aside = SetAside(2, (await origin.head()).position, UNKNOWN_TYPE, TIME)
        await origin.save_quarantine(encode_record(QuarantineRecord({"account-1": aside})), 0)
        target = SqliteEventStore(_made(tmp_path / "embedded"), bank_id=origin.bank_id, copying=True)
        with pytest.raises(CopyRefused, match="copy with the version that wrote it"):
            await copy_log(origin, target, quiet)
        await target.close()

    async def test_a_stream_of_the_source_that_has_lost_events_is_the_sources_fault(
        self, origin: EventStoreDBEventStore, server: EventStoreDB, tmp_path: Path
    ) -> None:
        await origin.append("account-1", 0, some_events(3))
        await write_at_random(origin, appends=3, seed=3)
        await origin.append("account-1", 3, some_events(2))
        client = AsyncEventStoreDBClient(server.uri)
        await client.connect()
        await client.set_stream_metadata("account-1", metadata={"$tb": 3})
        await client.close()
        server.log.scavenge()
        target = SqliteEventStore(_made(tmp_path / "embedded"), bank_id=origin.bank_id, copying=True)
        with pytest.raises(CopyRefused, match="the source's stream account-1 has no event with revision 1 any more"):
            await copy_log(origin, target, quiet)
        await target.close()


class TestInterrupted:
    @pytest.mark.parametrize("made", [False, True])
    async def test_a_copy_interrupted_at_any_append_continues(
        self, source: EventStore, open_target: OpenTarget, made: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(copy, "PAGE", 5)
        monkeypatch.setattr(batches, "BATCH_EVENTS_MAX", 3)
        await write_at_random(source, appends=12, seed=7)
        interruptions, appended = 0, 0
        while True:
            target = InterposedStore(await open_target())
            target.die(at=2, made=made, silently=False)
            try:
                appended += (await copy_log(source, target, quiet)).appended
                break
            except CANNOT_COPY:
                interruptions += 1
        assert interruptions > 3
        await assert_same(source, target._store)

    async def test_a_copy_continues_after_kills_of_itself_and_of_the_server(
        self, source: SqliteEventStore, tmp_path: Path
    ) -> None:
        await write_at_random(source, appends=600, seed=8)
        events = await whole_log(source)
        at_random = random.Random(8)
        kills, seen = 0, BEGINNING
        with EventStoreDBProcess(tmp_path / "log.db") as server:
            target = await EventStoreDBEventStore.open(server.uri, bank_id=source.bank_id, copying=True)
            await source.close()
            command = ("copy", "--from", str(tmp_path / "source"), "--to", server.uri)
            while True:
                copying = await start_openbank(*command)
                seen = await grown(target, seen, at_random.randint(100, 400), copying)
                if copying.returncode is not None:
                    break
                copying.kill()
                await copying.wait()
                kills += 1
                server.kill()
                server.start()
            assert copying.returncode == 0
            assert kills > 1
            assert without_positions(await whole_log(target)) == without_positions(events)
            await target.close()

    async def test_an_unfinished_copy_cannot_be_served(
        self, source: EventStore, open_target: OpenTarget, server: EventStoreDB, tmp_path: Path
    ) -> None:
        target = await open_target()

        async def serve() -> None:
            if isinstance(target, SqliteEventStore):
                await SqliteEventStore(tmp_path / "target").close()
            else:
                await (await EventStoreDBEventStore.open(server.uri)).close()

        await target.close()
        with pytest.raises(StoreRefused, match="has not finished"):
            await serve()
        target = await open_target()
        await copy_log(source, target, quiet)
        await target.copied()
        await target.close()
        await serve()
        # And copying again, by mistake, does not take that from it.
        await (await open_target()).close()
        await serve()


class TestRefusals:
    async def test_a_store_of_another_bank_is_refused(
        self, source: EventStore, server: EventStoreDB, tmp_path: Path
    ) -> None:
        await (await EventStoreDBEventStore.open(server.uri)).close()
        with pytest.raises(StoreRefused, match=f"not to {source.bank_id}"):
            await EventStoreDBEventStore.open(server.uri, bank_id=source.bank_id, copying=True)
        await SqliteEventStore(_made(tmp_path / "another")).close()
        with pytest.raises(StoreRefused, match=f"not to {source.bank_id}"):
            SqliteEventStore(tmp_path / "another", bank_id=source.bank_id, copying=True)

    async def test_a_store_is_not_copied_to_itself(self, source: EventStore) -> None:
        with pytest.raises(CopyRefused, match="same store"):
            await copy_log(source, source, quiet)

    async def test_a_source_that_has_never_been_a_bank_is_refused(self, server: EventStoreDB, tmp_path: Path) -> None:
        for nowhere in (server.uri, str(tmp_path / "nothing")):
            with pytest.raises(CANNOT_COPY, match=r"no bank has ever been|is not there"):
                await copy_bank(nowhere, str(tmp_path / "target"), quiet)
        assert not (tmp_path / "target").exists()
        assert not (tmp_path / "nothing").exists()

    @pytest.mark.parametrize("common", [0, 3])
    async def test_a_target_with_another_history_is_refused(
        self, source: EventStore, target: EventStore, common: int
    ) -> None:
        together = some_events(3)[:common]
        for store in (source, target):
            if together:
                await store.append("account-1", 0, together)
        await source.append("account-1", common, some_events())
        await target.append("account-1", common, some_events())
        before = await whole_log(target)
        with pytest.raises(CopyRefused, match=f"where the source has revision {common + 1} of account-1"):
            await copy_log(source, target, quiet)
        assert await whole_log(target) == before

    async def test_a_target_with_later_events_is_refused(self, source: EventStore, target: EventStore) -> None:
        await write_at_random(source, appends=5, seed=9)
        await copy_log(source, target, quiet)
        await target.append("account-new", 0, some_events())
        with pytest.raises(CopyRefused, match="the target has revision 1 of account-new"):
            await copy_log(source, target, quiet)

    async def test_a_foreign_stream_of_the_same_name_is_refused(self, source: EventStore, target: EventStore) -> None:
        await target.append("account-1", 0, [some_event()._replace(type="theirs")])
        await source.append("account-1", 0, some_events())
        with pytest.raises(CopyRefused, match="its stream account-1 has other events there"):
            await copy_log(source, target, quiet)

    async def test_a_target_that_loses_events_is_refused(self, source: EventStore) -> None:
        await source.append("account-1", 0, some_events())
        for target, complaint in (
            (_Forgetful(), "which does not have it"),
            (_Careless(), "data and metadata differ"),
        ):
            target.bank_id = source.bank_id
            with pytest.raises(CopyRefused, match=complaint):
                await copy_log(source, target, quiet)

    async def test_a_bank_that_is_being_served_is_refused(self, process: ServerProcess, tmp_path: Path) -> None:
        with pytest.raises(DataDirectoryInUse, match="which serves on"):
            await copy_bank(str(tmp_path / "data"), str(tmp_path / "target"), quiet)


class TestTokens:
    async def test_a_token_of_the_source_means_the_same_place_in_the_target(
        self, source: SqliteEventStore, target: CopyTarget
    ) -> None:
        await write_at_random(source, appends=30, seed=10)
        await target.adopt_token_key(source.token_key)
        await copy_log(source, target, quiet)
        theirs, ours = Tokens(source), Tokens(target)
        for event, copied in zip(await whole_log(source), await whole_log(target), strict=True):
            assert await ours.decode(theirs.encode(event.place)) == copied.place
            assert await theirs.decode(ours.encode(copied.place)) == event.place
        assert await ours.decode(theirs.encode(BEGINNING)) == BEGINNING

    async def test_a_token_for_what_the_target_does_not_have_is_refused(
        self, source: SqliteEventStore, target: CopyTarget
    ) -> None:
        await source.append("account-1", 0, some_events())
        await target.adopt_token_key(source.token_key)
        await copy_log(source, target, quiet)
        await source.append("account-1", 1, some_events())
        with pytest.raises(InvalidToken, match="does not have"):
            await Tokens(target).decode(Tokens(source).encode(await source.head()))

    async def test_a_copy_that_is_complete_keeps_its_key(self, source: SqliteEventStore, target: CopyTarget) -> None:
        await source.append("account-1", 0, some_events())
        await target.adopt_token_key(source.token_key)
        await copy_log(source, target, quiet)
        await target.copied()
        await target.adopt_token_key(TokenKey.new())
        assert target.token_key == source.token_key


async def test_clients_notice_nothing_of_the_move(server: EventStoreDB, tmp_path: Path) -> None:
    before = Settings(listen="127.0.0.1:0", data=tmp_path / "data")
    after = Settings(listen="127.0.0.1:0", data=tmp_path / "views", event_store=server.uri)
    registration, order = john_doe(request_id=request_id()), request_id()
    async with serving(before) as running, Caller(running.address) as bank:
        registered = await bank.persons.RegisterPerson(registration)
        opening_ = opening(registered.person.person_id, request_id=request_id(), initial_deposit=usd("5"))
        opened = await bank.accounts.OpenAccount(opening_)
        account_id = opened.account.account_id
        await bank.deposit(account_id, "1")
        seen = await watch(bank, accounts.WatchAccountEventsRequest(beginning=Empty()), until_revision=2)
        paid = await bank.deposit(account_id, "1", request_id=order)
        for number in range(2):
            last = await bank.persons.RegisterPerson(john_doe(person_id=f"p-{number}"))
        of_one = persons.ListPersonsRequest(page_size=1, consistency_token=last.consistency_token)
        first_page = await bank.persons.ListPersons(of_one)

    copied = await copy_bank(str(before.data), server.uri, quiet)
    assert copied.events == copied.appended > 7

    async with serving(after) as running, Caller(running.address) as bank:
        # Consistency tokens.
        account = accounts.GetAccountRequest(account_id=account_id, consistency_token=paid.consistency_token)
        assert (await bank.accounts.GetAccount(account)).account == paid.account
        # Watches: from the last token on, and on with what is new.
        more = await bank.deposit(account_id, "1")
        assert more.account.revision == 4
        resumed = accounts.WatchAccountEventsRequest(resume_token=seen[-1].resume_token)
        rest = await watch(bank, resumed, until_revision=4)
        assert [event.revision for response in [*seen, *rest] for event in response.events] == [1, 2, 3, 4]
        # What was done is not done again, by request ids, and numbers that are taken stay so.
        for again, first in (
            (await bank.persons.RegisterPerson(registration), registered),
            (await bank.accounts.OpenAccount(opening_), opened),
            (await bank.deposit(account_id, "1", request_id=order), paid),
        ):
            assert again.replayed
            assert again.event_id == first.event_id
        taken = opening(registered.person.person_id, account_number=opening_.account_number)
        assert (await refused(bank.accounts.OpenAccount(taken))).reason == "ACCOUNT_NUMBER_TAKEN"
        # A page token is of one log's list: the list begins again.
        token = persons.ListPersonsRequest(page_size=1, page_token=first_page.next_page_token)
        assert (await refused(bank.persons.ListPersons(token))).violations == {"page_token": "INVALID_PAGE_TOKEN"}

    # And back, as it is now.
    await copy_bank(server.uri, str(tmp_path / "back"), quiet)
    back = Settings(listen="127.0.0.1:0", data=tmp_path / "back")
    async with serving(back) as running, Caller(running.address) as bank:
        assert await bank.balance(account_id, more.consistency_token) == "8.00 USD"
        assert await bank.balance(account_id, paid.consistency_token) == "8.00 USD"


async def test_the_command_says_what_it_does(server: EventStoreDB, tmp_path: Path) -> None:
    settings = Settings(listen="127.0.0.1:0", data=tmp_path / "data")
    async with serving(settings) as running, Caller(running.address) as bank:
        await bank.register()
    place = server.uri.replace("esdb://", "esdb://admin:secret@")
    code, out, err = await run_openbank("copy", "--from", str(tmp_path / "data"), "--to", place)
    shown = server.uri.partition("?")[0]
    assert (code, err) == (0, "")
    assert out == (
        f"copying the bank in {tmp_path}/data to {shown}\n"
        f"complete: {shown} has all 1 events, 1 of them new; each was read back, and is what the source has\n"
    )
    code, out, err = await run_openbank("copy", "--from", str(tmp_path / "nothing"), "--to", server.uri)
    assert code == 2
    assert err == f"openbank: the copy is not complete: {tmp_path}/nothing/events.db is not there\n"


class _Forgetful(MemoryStore):
    """Acknowledges, and has nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.store_id = "51" * 16

    async def append(self, stream: str, expected_revision: int, events: Sequence[NewEvent]) -> int:
        return 1


class _Careless(MemoryStore):
    """Has something else than it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.store_id = "52" * 16

    async def append(self, stream: str, expected_revision: int, events: Sequence[NewEvent]) -> int:
        changed = [event._replace(data=b"", metadata=Metadata(TIME)) for event in events]
        return await super().append(stream, expected_revision, changed)


def empty_copy_of(source: EventStore) -> MemoryStore:
    store = MemoryStore()
    store.bank_id = source.bank_id
    return store


async def write_something_of_everything(store: EventStore) -> None:
    """Events of every type, persons', accounts' and the bank's own, with all that an event can carry."""
    for number, (_, stream, event) in enumerate(EXAMPLES):
        metadata = Metadata(TIME - number, bytes([number]) * 16, b"hash", 'say "hi"\\', "cause", "ann")
        new = NewEvent(bytes([number + 100]) * 16, *codec.encode(event), metadata)
        await store.append(stream, len(await store.read_stream(stream)), [new])


async def write_at_random(store: EventStore, appends: int, seed: int) -> None:
    """Appends of a few streams, one of them hot, with commands of one to three events."""
    at_random = random.Random(seed)
    revisions: dict[str, int] = {}
    for _ in range(appends):
        stream = f"account-{at_random.choice(['hot', 'hot', 'hot', *map(str, range(10))])}-{seed}"
        events = [event for _ in range(at_random.randint(1, 2)) for event in some_events(at_random.choice([1, 1, 3]))]
        revision = revisions.get(stream, 0)
        revisions[stream] = revision + len(events)
        await store.append(stream, revision, events)


async def assert_same(source: EventStore, target: EventStore) -> list[RecordedEvent]:
    events = await whole_log(source)
    assert without_positions(await whole_log(target)) == without_positions(events)
    return events


def without_positions(events: Sequence[RecordedEvent]) -> list[RecordedEvent]:
    return [event._replace(position=0) for event in events if event.type != "theirs"]


async def watch(
    bank: Caller, request: accounts.WatchAccountEventsRequest, until_revision: int
) -> list[accounts.WatchAccountEventsResponse]:
    """The responses of a watch until it has given this revision."""
    responses = []
    call = bank.accounts.WatchAccountEvents(request)
    async for response in call:
        responses.append(response)
        if any(event.revision == until_revision for event in response.events):
            break
    call.cancel()
    return responses


async def start_openbank(*arguments: str) -> asyncio.subprocess.Process:
    nowhere = asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "openbank", *arguments, stdout=nowhere, stderr=nowhere
    )


async def grown(store: EventStore, after: LogPosition, events: int, writer: asyncio.subprocess.Process) -> LogPosition:
    """Returns when the log has so many more events after a place, or its writer has ended; and how far it is then."""
    while events > 0 and writer.returncode is None:
        with suppress(StoreUnavailable):
            page = await store.read_log(after)
            events -= len(page.events)
            after = page.through
        await asyncio.sleep(0)
    return after


def _made(directory: Path) -> Path:
    directory.mkdir(exist_ok=True)
    return directory
