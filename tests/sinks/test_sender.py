"""One sink's sender: over a log in memory, to a sink whose answers the test sets."""

from __future__ import annotations

import asyncio
import logging
from asyncio import sleep
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest

from openbank.domain.errors import RevisionMismatch
from openbank.eventstore.errors import StoreRefused, StreamDamaged
from openbank.eventstore.port import BEGINNING, LogPosition, RecordedEvent
from openbank.following.tail import LogTail
from openbank.integrity.quarantine import Quarantine
from openbank.publishing.cloudevent import CloudEvent
from openbank.publishing.events import cloud_event
from openbank.sinks import page, sender
from openbank.sinks.address import SinkAddress
from openbank.sinks.desk import AggregateNotParked, AggregateNotWaiting, Desk, SinkNotFound, SinkState
from openbank.sinks.place import LOOKS_FOR_PLACE, MARGIN_MICROSECONDS
from openbank.sinks.port import Parked, RecordsUnavailable, SinkRecord, Trouble
from openbank.sinks.sender import Sender
from openbank.sinks.transport import Accepted, Later, Rejected, SendResult, Transport
from tests import callers
from tests.eventstore.memory import MemoryStore
from tests.sinks.memory import MemoryRecords
from tests.sinks.receivers import Receiver, poison
from tests.views.histories import START, History

CRM = SinkAddress("crm", "https://crm.example/", "structured", "beginning")
NOW = START + 60_000_000

until = partial(callers.until, seconds_max=30.0)

Sleep = Callable[[float], Awaitable[None]]


class Bench:
    """A log, a sink, its records, and senders to start."""

    def __init__(self) -> None:
        self.store = MemoryStore(step=10)
        self.history = History(self.store)
        self.quarantine = Quarantine(self.store, lambda: NOW)
        self.tail = LogTail(self.store, ring_events=20)
        self.records = MemoryRecords()
        self.receiver = Receiver()
        self.desk = Desk([CRM], self.tail.reader(), self.store, self.records, lambda: NOW)

    def sender(self, address: SinkAddress = CRM, transport: Transport | None = None, sleep: Sleep = sleep) -> Sender:
        to = transport or self.receiver
        return Sender(
            address,
            self.tail.reader(),
            self.store,
            self.quarantine,
            self.records,
            to,
            lambda: NOW,
            0.01,
            sleep,
        )

    @asynccontextmanager
    async def sending(
        self, address: SinkAddress = CRM, transport: Transport | None = None, sleep: Sleep = sleep
    ) -> AsyncIterator[None]:
        one = self.sender(address, transport, sleep)
        await one.prepare()
        async with running(one.run):
            yield

    @property
    def record(self) -> SinkRecord:
        return self.records.stored["crm"].record

    @property
    def trouble(self) -> str:
        return self.record.trouble.reason if self.record.trouble else ""

    @property
    def head(self) -> int:
        return self.store.events[-1].position

    @property
    def caught_up(self) -> bool:
        return self.record.place.position == self.head

    def refuse(self, *keys: tuple[str, int]) -> None:
        bad = poison(*keys)
        self.receiver.judge = lambda events: Rejected("HTTP 422") if bad(events) else Accepted()


@asynccontextmanager
async def running(work: Callable[[], Awaitable[None]]) -> AsyncIterator[asyncio.Future[None]]:
    task = asyncio.ensure_future(work())
    try:
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(sender, "RETRY_SECONDS_MIN", 0.001)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """Ann, her accounts 1 and 2, and five deposits on each."""
    bench = Bench()
    async with running(bench.tail.run):
        await some_life(bench)
        yield bench


async def some_life(bench: Bench) -> None:
    await bench.history.claim("request")
    await bench.history.register("ann")
    for account_id in ("1", "2"):
        await bench.history.open(account_id, "ann")
    for _ in range(5):
        await bench.history.deposit("1")
        await bench.history.deposit("2")


def assert_all_arrived_in_order(receiver: Receiver, bench: Bench) -> None:
    for stream, count in (("person-ann", 1), ("account-1", 6), ("account-2", 6)):
        assert first_deliveries(receiver.taken, stream) == list(range(1, count + 1))


def first_deliveries(taken: Sequence[CloudEvent], stream: str) -> list[int]:
    return list(dict.fromkeys(int(event.sequence) for event in taken if event.partitionkey == stream))


async def test_history_and_what_comes_after_arrive_in_order_and_the_place_moves(bench: Bench) -> None:
    async with bench.sending():
        await until(lambda: bench.caught_up)
        assert len(bench.receiver.taken) == 13
        assert_all_arrived_in_order(bench.receiver, bench)
        await bench.history.move("ann")
        await until(lambda: bench.caught_up)
        assert bench.receiver.revisions("person-ann") == [1, 2]
    assert bench.record.place == LogPosition(bench.head, "person-ann", 2)
    assert bench.record.position_time == NOW


async def test_another_sender_continues_where_the_first_one_stopped(bench: Bench) -> None:
    async with bench.sending():
        await until(lambda: bench.caught_up)
    await bench.history.deposit("1")
    again = Receiver()
    async with bench.sending(transport=again):
        await until(lambda: bench.caught_up)
    assert again.tried == [[("account-1", 7)]]


async def test_a_changed_address_keeps_its_place(bench: Bench) -> None:
    async with bench.sending():
        await until(lambda: bench.caught_up)
    moved = CRM._replace(url="https://elsewhere.example/", start="live")
    await bench.history.deposit("1")
    elsewhere = Receiver()
    async with bench.sending(moved, elsewhere):
        await until(lambda: bench.caught_up)
    assert elsewhere.tried == [[("account-1", 7)]]


@pytest.mark.parametrize("lost", ["gone", "older"])
async def test_a_place_that_the_database_has_lost_is_put_back(
    bench: Bench, lost: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The events after it are sent once each; a new sink that starts live would leave out what lies before."""
    bench.tail = LogTail(bench.store, ring_events=20)
    async with running(bench.tail.run), bench.sending(CRM._replace(start="live")):
        older = bench.records.stored["crm"]
        await bench.history.deposit("1")
        await until(lambda: bench.caught_up)
        await bench.history.deposit("1")
        if lost == "gone":
            bench.records.stored.clear()
        else:
            bench.records.stored["crm"] = older
        await until(lambda: "crm" in bench.records.stored and bench.caught_up)
    assert bench.receiver.tried == [[("account-1", 7)], [("account-1", 8)]]
    assert "sink's place is put back: the database has lost it" in [record.message for record in caplog.records]


async def test_a_new_sink_may_begin_with_what_comes(bench: Bench) -> None:
    async with bench.sending(CRM._replace(start="live")):
        await bench.history.deposit("2")
        await until(lambda: bench.caught_up)
    assert bench.receiver.tried == [[("account-2", 7)]]


async def test_a_sink_that_is_down_gets_everything_once_it_is_back(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.receiver.judge = lambda _: Later("HTTP 503")
    with caplog.at_level(logging.INFO):
        async with bench.sending():
            await until(lambda: len(bench.receiver.tried) > 20)
            assert bench.record.place == BEGINNING
            assert bench.trouble == "HTTP 503"
            assert (await bench.desk.sink("crm")).state is SinkState.WAITING
            bench.receiver.judge = lambda _: Accepted()
            await until(lambda: bench.caught_up)
    assert_all_arrived_in_order(bench.receiver, bench)
    assert bench.trouble == ""
    assert [record.message for record in caplog.records].count("sink waits") == 1
    assert "sink continues" in caplog.messages


async def test_the_pause_is_as_long_as_the_sink_asks_for(bench: Bench) -> None:
    slept: list[float] = []

    async def note(seconds: float) -> None:
        slept.append(seconds)
        await asyncio.sleep(0)

    bench.receiver.judge = lambda _: Accepted() if slept else Later("HTTP 429", 120.0)
    async with bench.sending(sleep=note):
        await until(lambda: bench.caught_up)
    assert 120.0 <= slept[0] <= 132.0
    assert_all_arrived_in_order(bench.receiver, bench)


class TestPoison:
    async def test_it_parks_its_own_aggregate_and_all_else_flows_on(self, bench: Bench) -> None:
        bench.refuse(("account-1", 3))
        async with bench.sending():
            await until(lambda: bench.caught_up)
            await bench.history.deposit("1")
            await bench.history.deposit("2")
            await until(lambda: bench.caught_up)
        assert bench.receiver.revisions("account-1") == [1, 2]
        assert bench.receiver.revisions("account-2") == [1, 2, 3, 4, 5, 6, 7]
        held = bench.record.parked["account-1"]
        assert held == (3, "HTTP 422", NOW, False)

    async def test_it_stays_parked_for_the_next_sender(self, bench: Bench) -> None:
        bench.refuse(("account-1", 3))
        async with bench.sending():
            await until(lambda: bench.caught_up)
        again = Receiver()
        async with bench.sending(transport=again):
            await bench.history.deposit("1")
            await until(lambda: bench.caught_up)
        assert again.tried == []

    async def test_a_retry_sends_all_that_was_held_back_and_what_has_come_since(self, bench: Bench) -> None:
        bench.refuse(("account-1", 3))
        async with bench.sending():
            await until(lambda: bench.caught_up)
            await bench.history.deposit("1")
            bench.receiver.judge = lambda _: Accepted()
            assert (await bench.desk.retry("crm", "account-1")).retrying
            await until(lambda: bench.record.parked == {})
            await bench.history.deposit("1")
            await until(lambda: bench.caught_up)
        assert bench.receiver.revisions("account-1") == [1, 2, 3, 4, 5, 6, 7, 8]

    async def test_a_retry_that_is_refused_again_parks_it_again(self, bench: Bench) -> None:
        bench.refuse(("account-1", 3))
        async with bench.sending():
            await until(lambda: bench.caught_up)
            bench.refuse(("account-1", 5))
            await bench.desk.retry("crm", "account-1")
            await until(lambda: bench.record.parked["account-1"].revision == 5)
        assert not bench.record.parked["account-1"].retrying
        assert bench.receiver.revisions("account-1") == [1, 2, 3, 4]

    async def test_a_long_history_is_sent_again_in_pages_while_others_flow(self, bench: Bench) -> None:
        for _ in range(3 * page.AGAIN_EVENTS_MAX):
            await bench.history.deposit("1")
        bench.refuse(("account-1", 2))
        async with bench.sending():
            await until(lambda: bench.caught_up)
            bench.receiver.judge = lambda _: Accepted()
            await bench.desk.retry("crm", "account-1")
            await bench.history.deposit("2")
            await until(lambda: bench.record.parked == {})
            await until(lambda: bench.caught_up)
        count = 6 + 3 * page.AGAIN_EVENTS_MAX
        assert first_deliveries(bench.receiver.taken, "account-1") == list(range(1, count + 1))
        assert first_deliveries(bench.receiver.taken, "account-2") == list(range(1, 8))

    async def test_a_quarantined_event_is_parked_and_sent_once_it_is_released(self, bench: Bench) -> None:
        bench.tail = LogTail(bench.store, quarantine=bench.quarantine)
        await bench.history.note("account-1", "openbank.accounts.v1.MoneyDeposited", b"")
        poison = bench.store.events[-1]
        async with bench.sending():
            await until(lambda: "account-1" in bench.record.parked and bench.caught_up)
            assert bench.record.parked["account-1"].reason.startswith(page.QUARANTINED)
            await bench.desk.retry("crm", "account-1")
            await until(lambda: not bench.record.parked["account-1"].retrying)
            await bench.history.deposit_at("1", revision_before=poison.revision)
            await bench.history.deposit("2")
            await until(lambda: bench.caught_up)
            assert bench.receiver.revisions("account-1") == [1, 2, 3, 4, 5, 6]
            await bench.quarantine.skip("account-1", poison.revision)
            await bench.quarantine.release("account-1", bench.head)
            await until(lambda: not bench.record.parked)
        assert bench.receiver.revisions("account-1") == [1, 2, 3, 4, 5, 6, 8]

    async def test_a_retry_sends_what_comes_before_an_event_that_is_quarantined(self, bench: Bench) -> None:
        bench.tail = LogTail(bench.store, quarantine=bench.quarantine)
        bench.refuse(("account-1", 3))
        async with bench.sending():
            await until(lambda: "account-1" in bench.record.parked and bench.caught_up)
            await bench.history.note("account-1", "openbank.accounts.v1.MoneyDeposited", b"")
            await until(lambda: bench.caught_up)
            bench.receiver.judge = lambda _: Accepted()
            await bench.desk.retry("crm", "account-1")
            await until(lambda: bench.record.parked["account-1"].revision == 7)
        assert bench.receiver.revisions("account-1") == [1, 2, 3, 4, 5, 6]

    async def test_a_retry_of_a_stream_that_has_lost_events_parks_it_as_quarantined(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bench.refuse(("account-1", 4))
        read = bench.store.read_stream

        async def damaged(stream: str, after: int = 0, limit: int = 1000) -> Sequence[RecordedEvent]:
            if stream == "account-1":
                raise StreamDamaged("account-1 has no event with revision 4 any more", 4)
            return await read(stream, after, limit)

        async with bench.sending():
            await until(lambda: "account-1" in bench.record.parked and bench.caught_up)
            monkeypatch.setattr(bench.store, "read_stream", damaged)
            await bench.desk.retry("crm", "account-1")
            await until(lambda: bench.record.parked["account-1"].reason.startswith(page.QUARANTINED))
            await bench.history.deposit("2")
            await until(lambda: bench.caught_up)
        assert bench.trouble == ""

    async def test_a_skip_leaves_out_one_event_and_sends_the_rest(self, bench: Bench) -> None:
        bench.refuse(("account-1", 3))
        async with bench.sending():
            await until(lambda: bench.caught_up)
            skipped = await bench.desk.skip("crm", "account-1", expected_revision=3)
            assert (skipped.revision, skipped.retrying) == (4, True)
            await until(lambda: bench.record.parked == {})
        assert bench.receiver.revisions("account-1") == [1, 2, 4, 5, 6]

    async def test_after_a_skip_of_all_later_events_are_sent(self, bench: Bench) -> None:
        bench.refuse(("account-1", 3))
        async with bench.sending():
            await until(lambda: bench.caught_up)
            await bench.desk.skip_all("crm", "account-1", expected_revision=None)
            await bench.history.deposit("1")
            await until(lambda: bench.caught_up)
        assert bench.receiver.revisions("account-1") == [1, 2, 7]

    async def test_a_skip_of_another_revision_is_refused(self, bench: Bench) -> None:
        bench.refuse(("account-1", 3))
        async with bench.sending():
            await until(lambda: bench.caught_up)
            with pytest.raises(RevisionMismatch):
                await bench.desk.skip("crm", "account-1", expected_revision=4)
            with pytest.raises(RevisionMismatch):
                await bench.desk.skip_all("crm", "account-1", expected_revision=2)

    async def test_everything_that_is_parked_can_be_retried_at_once(self, bench: Bench) -> None:
        bench.receiver.judge = lambda _: Rejected("HTTP 400")
        async with bench.sending():
            await until(lambda: bench.caught_up)
            assert set(bench.record.parked) == {"person-ann", "account-1", "account-2"}
            bench.receiver.judge = lambda _: Accepted()
            assert await bench.desk.retry_all("crm") == 3
            await until(lambda: bench.record.parked == {})
        assert_all_arrived_in_order(bench.receiver, bench)

    async def test_a_retry_of_an_unknown_sink_or_aggregate_is_refused(self, bench: Bench) -> None:
        async with bench.sending():
            with pytest.raises(SinkNotFound):
                await bench.desk.retry("other", "account-1")
            with pytest.raises(AggregateNotParked):
                await bench.desk.retry("crm", "account-1")

    async def test_sending_stops_at_a_sink_that_refuses_too_much(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sender, "PARKED_MAX", 2)
        bench.receiver.judge = lambda _: Rejected("HTTP 400")
        async with bench.sending():
            await until(lambda: bench.trouble != "")
            await bench.history.register("bob")
            assert bench.record.place.position < bench.head
            bench.receiver.judge = lambda _: Accepted()
            await bench.desk.retry_all("crm")
            await until(lambda: bench.caught_up and bench.record.parked == {})
        assert bench.trouble == ""
        assert_all_arrived_in_order(bench.receiver, bench)

    async def test_an_event_of_a_newer_version_is_parked_until_such_a_version_sends(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await bench.history.note("account-1", "openbank.accounts.v1.AccountPainted")
        await bench.history.deposit("2")
        async with bench.sending():
            await until(lambda: bench.caught_up)
        assert bench.receiver.revisions("account-1") == [1, 2, 3, 4, 5, 6]
        assert bench.receiver.revisions("account-2") == [1, 2, 3, 4, 5, 6, 7]
        held = bench.record.parked["account-1"]
        assert held.revision == 7
        assert held.reason.startswith(page.UNREADABLE)
        monkeypatch.setattr(
            "openbank.sinks.page.cloud_event", lambda event: None if "Painted" in event.type else cloud_event(event)
        )
        async with bench.sending():
            await until(lambda: bench.record.parked == {})


class TestManySenders:
    async def test_two_senders_at_once_leave_nothing_out_and_keep_the_order(self, bench: Bench) -> None:
        bench.refuse(("account-1", 3))
        other = Receiver()
        other.judge = bench.receiver.judge
        async with bench.sending(), bench.sending(transport=other):
            await until(lambda: bench.caught_up)
            for _ in range(50):
                await bench.history.deposit("2")
            other.judge = bench.receiver.judge = lambda _: Accepted()
            await bench.desk.retry("crm", "account-1")
            await until(lambda: bench.caught_up and bench.record.parked == {})
        taken = {(event.partitionkey, int(event.sequence)) for event in (*bench.receiver.taken, *other.taken)}
        assert {("account-1", revision) for revision in range(1, 7)} <= taken
        assert {("account-2", revision) for revision in range(1, 57)} <= taken

    async def test_records_that_go_away_make_it_wait_and_nothing_is_lost(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        def judge(_: Sequence[CloudEvent]) -> SendResult:
            bench.records.down = True
            return Accepted()

        async with bench.sending():
            await until(lambda: bench.caught_up)
            bench.receiver.judge = judge
            await bench.history.deposit("1")
            await until(lambda: "sink waits" in caplog.messages)
            await bench.history.deposit("1")
            bench.receiver.judge = lambda _: Accepted()
            bench.records.down = False
            await until(lambda: bench.caught_up)
        assert bench.receiver.revisions("account-1") == [1, 2, 3, 4, 5, 6, 7, 7, 8]
        assert caplog.messages.count("sink waits") == 1

    async def test_a_store_that_is_away_makes_it_wait(self, bench: Bench) -> None:
        async with bench.sending():
            await until(lambda: bench.caught_up)
            bench.store.go_away()
            bench.store.come_back()
            await bench.history.deposit("1")
            await until(lambda: bench.caught_up)
        assert bench.receiver.revisions("account-1") == [1, 2, 3, 4, 5, 6, 7]

    async def test_a_bug_of_a_sink_is_logged_and_tried_again(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        mistakes = [RuntimeError("a bug"), KeyError("another")]

        def judge(_: Sequence[CloudEvent]) -> SendResult:
            if mistakes:
                raise mistakes.pop()
            return Accepted()

        bench.receiver.judge = judge
        async with bench.sending():
            await until(lambda: bench.caught_up)
        assert_all_arrived_in_order(bench.receiver, bench)
        reasons = [record.__dict__["values"]["reason"] for record in caplog.records if record.message == "sink waits"]
        assert reasons[0] == "sending fails: KeyError"
        assert not any(record.exc_info for record in caplog.records if record.levelno > logging.DEBUG)

    async def test_a_bug_of_the_sender_is_shown_with_one_traceback(
        self, bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tried = 0

        async def broken(*_: object) -> None:
            nonlocal tried
            tried += 1
            raise KeyError("a bug")

        with monkeypatch.context() as patch:
            patch.setattr(sender, "next_page", broken)
            async with bench.sending():
                await until(lambda: tried > 5)
                assert (await bench.desk.sink("crm")).state is SinkState.WAITING
                assert bench.trouble == "the sender has failed: KeyError"
                patch.undo()
                await until(lambda: bench.caught_up)
        assert bench.trouble == ""
        assert caplog.messages.count("sink has failed") == 1


class TestWishesWhileItWaits:
    """The sink is away in the middle of a page, and an operator wants something: nothing out of date is sent after."""

    @asynccontextmanager
    async def waiting(self, bench: Bench, wish: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
        """The first event of account-1 that is refused is the third; then the sink is away until the wish was made."""
        pauses = 0
        bad = poison(("account-1", 3))

        def judge(events: Sequence[CloudEvent]) -> SendResult:
            if bad(events):
                return Rejected("HTTP 422")
            return Accepted() if pauses else Later("HTTP 503")

        async def pause(seconds: float) -> None:
            nonlocal pauses
            if "account-1" in bench.record.parked and not pauses:
                await wish()
                bench.receiver.tried.clear()
                pauses += 1
            await sleep(seconds)

        bench.receiver.judge = lambda events: Rejected("HTTP 422") if bad(events) else Accepted()
        async with bench.sending():
            await until(lambda: bench.caught_up)
        await bench.desk.retry("crm", "account-1")
        await bench.history.deposit("2")
        bench.receiver.judge = judge
        async with bench.sending(sleep=pause):
            yield

    async def test_a_skip_of_all_is_honoured(self, bench: Bench) -> None:
        async with self.waiting(bench, lambda: bench.desk.skip_all("crm", "account-1", None)):
            await until(lambda: bench.caught_up and bench.record.parked == {})
            await bench.history.deposit("1")
            await until(lambda: bench.caught_up)
        assert [message for message in bench.receiver.tried if message[0][0] == "account-1"] == [[("account-1", 7)]]

    async def test_a_skip_is_honoured(self, bench: Bench) -> None:
        async with self.waiting(bench, lambda: bench.desk.skip("crm", "account-1", 3)):
            await until(lambda: bench.caught_up and bench.record.parked == {})
        assert [("account-1", 3)] not in bench.receiver.tried
        assert first_deliveries(bench.receiver.taken, "account-1") == [1, 2, 4, 5, 6]

    async def test_parking_is_honoured(self, bench: Bench) -> None:
        async with self.waiting(bench, lambda: bench.desk.park("crm", "account-1")):
            await until(lambda: bench.caught_up)
        assert {message[0][0] for message in bench.receiver.tried} == {"account-2"}
        assert not bench.record.parked["account-1"].retrying

    async def test_a_skip_of_all_is_honoured_where_what_was_refused_is_after_the_place(self, bench: Bench) -> None:
        """The page was not finished: the place is still before the event that was refused."""
        skipped = False
        bad = poison(("account-1", 3))

        def judge(events: Sequence[CloudEvent]) -> SendResult:
            if bad(events):
                return Rejected("HTTP 422")
            return Accepted() if skipped or events[0].partitionkey != "account-2" else Later("HTTP 503")

        async def pause(seconds: float) -> None:
            nonlocal skipped
            if "account-1" in bench.record.parked and not skipped:
                assert bench.record.place == BEGINNING
                await bench.desk.skip_all("crm", "account-1", expected_revision=3)
                bench.receiver.tried.clear()
                skipped = True
            await sleep(seconds)

        bench.receiver.judge = judge
        async with bench.sending(sleep=pause):
            await until(lambda: bench.caught_up and bench.record.parked == {})
            await bench.history.deposit("1")
            await until(lambda: bench.caught_up)
        assert [message for message in bench.receiver.tried if message[0][0] == "account-1"] == [[("account-1", 7)]]


class TestParkingWhatFails:
    """One event that the sink answers 5xx, always."""

    def fail(self, bench: Bench, *keys: tuple[str, int]) -> None:
        bad = poison(*keys)
        bench.receiver.judge = lambda events: Later("HTTP 500") if bad(events) else Accepted()

    async def test_a_failing_event_holds_up_its_sink_which_names_it(self, bench: Bench) -> None:
        self.fail(bench, ("account-1", 3))
        async with bench.sending():
            await until(lambda: len(bench.receiver.tried) > 100)
            assert bench.record.place == BEGINNING
            assert bench.record.trouble == Trouble("HTTP 500", NOW, "account-1", 3)
            assert bench.record.parked == {}

    async def test_an_operator_parks_its_aggregate_and_all_else_flows_on(self, bench: Bench) -> None:
        self.fail(bench, ("account-1", 3))
        async with bench.sending():
            await until(lambda: bench.trouble != "")
            parked = await bench.desk.park("crm", "account-1")
            assert parked == Parked(1, "parked by an operator", NOW)
            assert await bench.desk.park("crm", "account-1") == parked
            await until(lambda: bench.caught_up)
        again = Receiver()
        async with bench.sending(transport=again):
            await bench.history.deposit("1")
            await bench.history.deposit("2")
            await until(lambda: bench.caught_up)
            assert again.tried == [[("account-2", 7)]]
            await bench.desk.retry("crm", "account-1")
            await until(lambda: bench.record.parked == {})
        assert again.revisions("account-1") == [1, 2, 3, 4, 5, 6, 7]

    async def test_parking_begins_with_the_first_unconfirmed_event(self, bench: Bench) -> None:
        async with bench.sending():
            await until(lambda: bench.caught_up)
            self.fail(bench, ("account-1", 8))
            for _ in range(3):
                await bench.history.deposit("1")
            await until(lambda: bench.record.trouble is not None and bench.record.trouble.revision == 8)
            assert (await bench.desk.park("crm", "account-1")).revision in (7, 8)

    async def test_a_retried_aggregate_that_fails_is_parked_again(self, bench: Bench) -> None:
        bench.refuse(("account-1", 3))
        async with bench.sending():
            await until(lambda: bench.caught_up)
            self.fail(bench, ("account-1", 5))
            await bench.desk.retry("crm", "account-1")
            await bench.history.deposit("2")
            await until(lambda: bench.record.trouble is not None and bench.record.parked["account-1"].revision == 5)
            assert not (await bench.desk.park("crm", "account-1")).retrying
            await until(lambda: bench.caught_up)
        assert first_deliveries(bench.receiver.taken, "account-2") == [1, 2, 3, 4, 5, 6, 7]

    @pytest.mark.parametrize("aggregate", ["account-1", "account-none", "person-", "request-request", "?"])
    async def test_an_aggregate_without_waiting_events_is_not_parked(self, bench: Bench, aggregate: str) -> None:
        async with bench.sending():
            await until(lambda: bench.caught_up)
            with pytest.raises(AggregateNotWaiting):
                await bench.desk.park("crm", aggregate)
            with pytest.raises(SinkNotFound):
                await bench.desk.park("other", aggregate)


SOON = CRM._replace(park_after_seconds=0.05)


class TestParkAfter:
    """What the sink fails on for longer than that is parked, if it is that event and not the sink."""

    @pytest.mark.parametrize(("events_max", "messages_max"), [(1, 8), (1, 1), (100, 1)])
    async def test_its_aggregate_is_parked_and_all_else_flows_on(
        self, bench: Bench, events_max: int, messages_max: int
    ) -> None:
        receiver = Receiver(events_max, messages_max)
        bad = poison(("account-1", 3))
        receiver.judge = lambda events: Later("HTTP 500") if bad(events) else Accepted()
        async with bench.sending(SOON, receiver):
            await until(lambda: bench.caught_up)
            held = bench.record.parked["account-1"]
            assert held == Parked(3, "HTTP 500, for 0.05 s, while other events are accepted", NOW)
            receiver.judge = lambda _: Accepted()
            await bench.desk.retry("crm", "account-1")
            await until(lambda: bench.record.parked == {})
        for stream, count in (("person-ann", 1), ("account-1", 6), ("account-2", 6)):
            assert first_deliveries(receiver.taken, stream) == list(range(1, count + 1))

    @pytest.mark.parametrize(("events_max", "messages_max"), [(1, 8), (1, 1), (100, 1)])
    async def test_all_aggregates_that_the_sink_fails_on_are_parked_one_after_the_other(
        self, bench: Bench, events_max: int, messages_max: int
    ) -> None:
        bad = poison(("account-1", 3), ("account-2", 2))
        receiver = Receiver(events_max, messages_max)
        receiver.judge = lambda events: Later("HTTP 500") if bad(events) else Accepted()
        async with bench.sending(SOON, receiver):
            await until(lambda: set(bench.record.parked) == {"account-1", "account-2"})
            await until(lambda: bench.caught_up)

    @pytest.mark.parametrize("answer", [Later("HTTP 503"), Later("cannot connect", reached=False)])
    async def test_a_sink_that_is_down_has_nothing_parked(self, bench: Bench, answer: Later) -> None:
        async with bench.sending(SOON):
            await until(lambda: bench.caught_up)
            bench.receiver.judge = lambda _: answer
            await bench.history.deposit("1")
            tried = len(bench.receiver.tried)
            await until(lambda: len(bench.receiver.tried) > tried + 50)
            await bench.history.deposit("2")
            await sleep(0.1)
            assert bench.record.parked == {}
            bench.receiver.judge = lambda _: Accepted()
            await until(lambda: bench.caught_up)
        assert bench.record.parked == {}
        assert first_deliveries(bench.receiver.taken, "account-1") == [1, 2, 3, 4, 5, 6, 7]
        assert first_deliveries(bench.receiver.taken, "account-2") == [1, 2, 3, 4, 5, 6, 7]

    async def test_nothing_is_parked_before_the_sink_has_accepted_anything(self, bench: Bench) -> None:
        async with bench.sending():
            await until(lambda: bench.caught_up)
        self_failing = poison(("account-1", 7))
        bench.receiver.judge = lambda events: Later("HTTP 500") if self_failing(events) else Accepted()
        await bench.history.deposit("1")
        async with bench.sending(SOON):
            tried = len(bench.receiver.tried)
            await until(lambda: len(bench.receiver.tried) > tried + 20)
            assert bench.record.parked == {}
            await bench.history.deposit("2")
            await until(lambda: bench.caught_up)
        assert bench.record.parked["account-1"].revision == 7
        assert 7 in bench.receiver.revisions("account-2")

    async def test_without_it_nothing_is_ever_parked(self, bench: Bench) -> None:
        bad = poison(("account-1", 3))
        bench.receiver.judge = lambda events: Later("HTTP 500") if bad(events) else Accepted()
        async with bench.sending():
            await until(lambda: len(bench.receiver.tried) > 200)
        assert bench.record.parked == {}


class TestOtherLogs:
    async def test_a_start_does_not_look_through_the_log(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        """In a restored EventStoreDB that reads it from its beginning."""
        async with bench.sending():
            await until(lambda: bench.caught_up)
        restored = Bench()
        restored.records = bench.records
        restored.desk = Desk([CRM], restored.tail.reader(), restored.store, restored.records, lambda: NOW)
        asked = 0

        async def position_at(*_: object) -> LogPosition:
            nonlocal asked
            asked += 1
            return BEGINNING

        monkeypatch.setattr(restored.store, "position_at", position_at)
        async with running(restored.tail.run):
            await restored.history.register("ann")
            await restored.sender().prepare()
            assert asked == 0
            sink = await restored.desk.sink("crm")
            assert (sink.state, sink.lag_events, restored.trouble) == (SinkState.WAITING, 0, LOOKS_FOR_PLACE)
            with pytest.raises(RecordsUnavailable):
                await restored.desk.park("crm", "person-ann")
            async with restored.sending():
                await until(lambda: restored.caught_up and restored.trouble == "")
        assert asked == 1

    async def test_a_copy_of_the_log_has_the_same_place(self, bench: Bench) -> None:
        async with bench.sending():
            await until(lambda: bench.caught_up)
        copy = Bench()
        copy.store = MemoryStore(step=7)
        copy.store.store_id = "51" * 16
        copy.history, copy.tail = History(copy.store), LogTail(copy.store)
        copy.records = bench.records
        async with running(copy.tail.run):
            await some_life(copy)
            await copy.history.deposit("1")
            async with copy.sending():
                await until(lambda: copy.caught_up)
        assert copy.receiver.tried == [[("account-1", 7)]]
        assert copy.record.store_id == copy.store.store_id

    async def test_a_sink_continues_by_the_clock_on_a_restored_log_and_warns(
        self, bench: Bench, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with bench.sending():
            await until(lambda: bench.caught_up)
        restored = Bench()
        restored.records = bench.records
        name = bench.records.stored["crm"]
        bench.records.stored["crm"] = name._replace(record=name.record._replace(position_time=MARGIN_MICROSECONDS))
        async with running(restored.tail.run):
            await restored.history.register("ann")
            await restored.history.open("1", "ann")
            async with restored.sending():
                await until(lambda: restored.caught_up)
        assert restored.receiver.revisions("account-1") == [1], "it may have been recorded since"
        assert "sink's place is not in this log" in caplog.messages

    async def test_events_sent_before_the_restore_are_not_sent_again(self, bench: Bench) -> None:
        async with bench.sending():
            await until(lambda: bench.caught_up)
        restored = Bench()
        restored.records = bench.records
        stored = bench.records.stored["crm"]
        later = stored.record._replace(position_time=START + 2 * MARGIN_MICROSECONDS)
        bench.records.stored["crm"] = stored._replace(record=later)
        async with running(restored.tail.run):
            await restored.history.register("ann")
            async with restored.sending():
                await until(lambda: restored.caught_up)
        assert restored.receiver.tried == []

    async def test_the_record_of_another_bank_is_refused(self, bench: Bench) -> None:
        async with bench.sending():
            await until(lambda: bench.caught_up)
        bench.store.bank_id = "b1" * 16
        with pytest.raises(StoreRefused, match="belongs to the bank b0b0"):
            await bench.sender().prepare()


class TestTheDesk:
    async def test_the_desk_shows_the_place_of_a_sink_and_how_long_the_next_event_waits(self, bench: Bench) -> None:
        await bench.sender().prepare()
        behind = await bench.desk.sink("crm")
        assert behind.state is SinkState.SENDING
        assert behind.lag_events == 13
        first = bench.store.events[1].metadata.record_time
        assert behind.lag_microseconds == NOW - first
        async with bench.sending():
            await until(lambda: bench.caught_up)
        (there,) = await bench.desk.sinks()
        assert there.state is SinkState.CAUGHT_UP
        assert (there.lag_events, there.lag_microseconds) == (0, 0)

    async def test_parked_events_do_not_count_as_lag(self, bench: Bench) -> None:
        bench.refuse(("account-1", 1), ("account-2", 1))
        async with bench.sending():
            await until(lambda: bench.caught_up)
        await bench.history.deposit("1")
        assert (await bench.desk.sink("crm")).lag_events == 0
