"""Many watches: what they share, what they cost each other, and how they end."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from openbank.eventstore.port import EventStore, LogPosition
from openbank.feeds.errors import ServerDraining, SlowConsumer, TooManyWatches
from openbank.feeds.filter import Filter, Form
from openbank.feeds.message import Signal
from openbank.feeds.watch import After, Live, Since, watch
from openbank.following.entry import Entry
from tests.eventstore.memory import MemoryStore
from tests.feeds.bench import ACCOUNT, ACCOUNTS, BOTH, PERSONS, bench, in_form

CLOSING = Signal.CLOSING


class TestSharing:
    async def test_one_subscription_serves_all(self, memory: MemoryStore) -> None:
        async with bench(memory) as b:
            clients = [b.watch() for _ in range(50)]
            await b.deposit(how_many=10)
            for client in clients:
                await client.until_events(10)
            assert memory.subscriptions == 1
            assert memory.reads == 0

    async def test_an_event_is_encoded_once_for_all(self, store: EventStore) -> None:
        async with bench(store) as b:
            clients = [b.watch() for _ in range(50)]
            clients += [b.watch(filter=Filter(ACCOUNT, persons=frozenset({"ann", f"{n}"}))) for n in range(50)]
            for client in clients:
                await client.until_confirmed()
            for client in clients[::2]:
                client.stall()
            await b.deposit(how_many=10)
            for client in clients:
                client.read_on()
                await client.until_events(10)
            assert b.encoded == 10

    async def test_each_form_is_encoded_once(self, store: EventStore) -> None:
        async with bench(store) as b:
            cloud_events = Filter(BOTH, form=Form.CLOUD_EVENT)
            clients = [b.watch(filter=filter) for filter in (ACCOUNTS, cloud_events) for _ in range(10)]
            for client in clients:
                await client.until_confirmed()
            await b.deposit(how_many=10)
            for client in clients:
                await client.until_events(10)
                form = client.last.form
                assert client.last.encoded.endswith(in_form(client.events[-1], form))
            assert b.encoded == 20

    async def test_events_that_no_watch_wants_are_never_encoded(self, store: EventStore) -> None:
        async with bench(store) as b:
            client = b.watch(filter=PERSONS)
            await client.until_confirmed()
            await b.deposit(how_many=10)
            await b.register("ann")
            await client.until_events(1)
            assert b.encoded == 1

    async def test_an_event_wakes_only_the_watches_that_it_may_concern(self, store: EventStore) -> None:
        looked = 0

        class Looking(Filter):
            def passes(self, entry: Entry) -> bool:
                nonlocal looked
                looked += 1
                return super().passes(entry)

        async with bench(store) as b:
            clients = [b.watch(filter=Looking(ACCOUNT, accounts=frozenset({f"{n}"}))) for n in range(100)]
            for client in clients:
                await client.until_caught_up()
            await b.deposit(account="nobody's", how_many=50)
            await b.deposit(account="7")
            await clients[7].until_events(1)
            assert looked <= 51
            assert [len(client.events) for client in clients] == [number == 7 for number in range(100)]

    async def test_watches_that_start_together_read_history_together(self, memory: MemoryStore) -> None:
        async with bench(memory, ring_events=1, message_events_max=10) as b:
            await b.deposit(how_many=200)
            before = memory.reads
            clients = [b.watch() for _ in range(100)]
            for client in clients:
                await client.until_events(200)
            assert memory.reads - before <= 25

    async def test_a_time_is_looked_for_no_longer_than_a_watch_waits_for_it(self, store: EventStore) -> None:
        async with bench(store) as b:
            await b.deposit(how_many=3)
            asked, ended = asyncio.Event(), asyncio.Event()

            async def place_before(time: int) -> LogPosition:
                asked.set()
                try:
                    await asyncio.Event().wait()
                finally:
                    ended.set()
                raise AssertionError

            b.times.place_before = place_before  # type: ignore[method-assign]
            clients = [b.watch(Since(7)) for _ in range(2)]
            await asked.wait()
            await clients[0].leave()
            assert not ended.is_set()
            await clients[1].leave()
            await ended.wait()

    async def test_watches_that_start_at_one_time_look_for_it_once(self, store: EventStore) -> None:
        async with bench(store) as b:
            await b.deposit(how_many=5)
            third = (await b.log())[2]
            clients = [b.watch(Since(third.metadata.record_time)) for _ in range(100)]
            await clients[0].leave()
            for client in clients[1:]:
                await client.until_events(3)
                assert client.events[0] == third
            assert b.times.asked == 1

    async def test_a_time_is_looked_for_after_the_place_that_is_known(self, store: EventStore) -> None:
        async with bench(store) as b:
            await b.deposit(how_many=5)
            log = await b.log()
            b.times.place = log[1].place
            client = b.watch(Since(log[3].metadata.record_time))
            await client.until_events(2)
            assert client.events == log[3:]

    async def test_watches_that_start_apart_come_together(self, memory: MemoryStore) -> None:
        async with bench(memory, ring_events=1, message_events_max=10) as b:
            await b.deposit(how_many=200)
            log = await b.accounts()
            before = memory.reads
            clients = [b.watch(After(LogPosition(n, "account-1", n))) for n in range(100)]
            for n, client in enumerate(clients):
                await client.until_events(200 - n)
                assert client.events == log[n:]
            assert memory.reads - before <= 60

    async def test_watches_that_lag_far_apart_come_together(self, memory: MemoryStore) -> None:
        """Without a page in memory that another could take: each by itself would be over a thousand reads."""
        async with bench(memory, ring_events=1, message_events_max=10, history_bytes_max=1) as b:
            await b.deposit(how_many=1000)
            log = await b.accounts()
            before = memory.reads
            clients = [b.watch(After(LogPosition(n, "account-1", n))) for n in range(0, 1000, 50)]
            for n, client in enumerate(clients):
                await client.until_events(1000 - 50 * n)
                assert client.events == log[50 * n :]
            assert memory.reads - before <= 250

    async def test_a_thousand_get_every_event(self, memory: MemoryStore) -> None:
        async with bench(memory) as b:
            clients = [b.watch() for _ in range(1000)]
            for _ in range(5):
                await b.deposit(how_many=20)
                await asyncio.sleep(0.01)
            for client in clients:
                await client.until_events(100)
                assert client.events == clients[0].events
            assert clients[0].events == await b.accounts()


class TestSlowClients:
    async def test_a_stalled_client_does_not_delay_others(self, store: EventStore) -> None:
        async with bench(store, ring_events=5) as b:
            stalled, other = b.watch(), b.watch()
            await stalled.until_confirmed()
            stalled.stall()
            for count in range(1, 51):
                await b.deposit()
                await other.until_events(count)
            assert not stalled.events
            stalled.read_on()
            await stalled.until_events(50)
            assert stalled.events == other.events == await b.accounts()

    async def test_lag_alone_ends_no_watch(self, store: EventStore) -> None:
        async with bench(store, ring_events=5, message_events_max=5, silence_seconds_max=1.0) as b:
            slow = b.watch()
            await b.deposit(how_many=100)
            for _ in range(10):
                slow.stall()
                await asyncio.sleep(0.15)
                slow.read_on()
                await asyncio.sleep(0)
            await slow.until_events(100)
            assert slow.events == await b.accounts()

    async def test_a_client_that_takes_nothing_for_too_long_is_ended_with_its_place(self, store: EventStore) -> None:
        async with bench(store, silence_seconds_max=0.05) as b:
            client = b.watch()
            await b.deposit()
            await client.until_events(1)
            place = client.last.position
            client.stall()
            await b.deposit()
            with pytest.raises(SlowConsumer) as ended:
                await client.end()
            assert ended.value.position == place
            assert b.feed.watches == 0

    async def test_a_timeout_raised_by_the_sender_is_passed_on(self, store: EventStore) -> None:
        async with bench(store) as b:

            async def send(_: object) -> None:
                raise TimeoutError("mine")

            with pytest.raises(TimeoutError, match="mine"):
                await watch(b.feed, Live(), ACCOUNTS, False, send)


class TestDraining:
    async def test_every_watch_gets_its_last_token(self, store: EventStore) -> None:
        async with bench(store) as b:
            clients = [b.watch(), b.watch(Live()), b.watch(filter=PERSONS)]
            await b.deposit(how_many=3)
            for client in clients:
                await client.until_caught_up()
            await b.feed.drain()
            for client in clients:
                with pytest.raises(ServerDraining) as ended:
                    await client.end()
                assert client.last.signal is CLOSING
                assert ended.value.position == client.last.position
                assert client.last.position == max(message.position for message in client.messages)
            assert b.feed.watches == 0

    async def test_the_last_token_continues_without_a_gap(self, store: EventStore) -> None:
        async with bench(store, message_events_max=2) as b:
            await b.deposit(how_many=100)
            client = b.watch()
            await client.until_events(10)
            await b.feed.drain()
            async with bench(store) as other:
                rest = other.watch(After(client.last.position), stop_when_caught_up=True)
                await rest.end()
                assert client.events + rest.events == await other.accounts()

    async def test_a_watch_that_still_looks_for_its_start_ends_at_once(
        self, store: EventStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with bench(store) as b:
            asked = asyncio.Event()

            async def head() -> LogPosition:
                asked.set()
                await asyncio.Event().wait()
                raise AssertionError

            monkeypatch.setattr(b.feed.store, "head", head)
            client = b.watch()
            await asked.wait()
            await asyncio.wait_for(b.feed.drain(), 5)
            with pytest.raises(ServerDraining) as ended:
                await client.end()
            assert client.messages == []
            assert ended.value.position is None

    async def test_draining_ends_a_watch_that_waits_for_an_absent_store(self, memory: MemoryStore) -> None:
        async with bench(memory, ring_events=1, message_events_max=2) as b:
            await b.deposit(how_many=100)
            client = b.watch()
            await client.until_events(2)
            memory.go_away()
            await asyncio.wait_for(b.feed.drain(), 5)
            assert client.last.signal is CLOSING

    async def test_a_client_that_takes_nothing_does_not_delay_the_drain(self, store: EventStore) -> None:
        async with bench(store, drain_seconds=0.05) as b:
            client = b.watch()
            await client.until_confirmed()
            client.stall()
            await b.deposit()
            await asyncio.sleep(0.02)
            await asyncio.wait_for(b.feed.drain(), 5)
            with pytest.raises(ServerDraining):
                await client.end()
            # Whether it has the message that it did not take is not known: a token from before would repeat events.
            assert CLOSING not in client.signals

    async def test_a_slow_client_gets_its_last_token_too(self, store: EventStore) -> None:
        async with bench(store) as b:
            client = b.watch()
            await client.until_confirmed()
            client.stall()
            await b.deposit()
            await asyncio.sleep(0.02)
            draining = asyncio.create_task(b.feed.drain())
            await asyncio.sleep(0.02)
            client.read_on()
            await asyncio.wait_for(draining, 5)
            assert client.signals[-2:] == [Signal.EVENTS, CLOSING]

    async def test_a_draining_feed_begins_no_watch(self, store: EventStore) -> None:
        async with bench(store) as b:
            await b.feed.drain()
            with pytest.raises(ServerDraining):
                await b.watch().end()


class TestLeaving:
    async def test_the_number_of_watches_is_limited_and_leaving_makes_room(self, store: EventStore) -> None:
        async with bench(store, watches_max=2) as b:
            first, second = b.watch(), b.watch()
            await first.until_confirmed()
            await second.until_confirmed()
            with pytest.raises(TooManyWatches):
                await b.watch().end()
            await first.leave()
            third = b.watch()
            await third.until_confirmed()

    async def test_nothing_of_a_client_that_has_left_remains(self, memory: MemoryStore) -> None:
        async with bench(memory, ring_events=1, message_events_max=2) as b:
            await b.deposit(how_many=100)
            tasks = len(asyncio.all_tasks())
            parked, behind, sending = b.watch(Live()), b.watch(), b.watch(Live())
            for client in (parked, behind, sending):
                await client.until_confirmed()
            await behind.until_events(2)
            sending.stall()
            await b.deposit()
            memory.go_away()
            await asyncio.sleep(0.01)
            left = [weakref.ref(client) for client in (parked, behind, sending)]
            for client in (parked, behind, sending):
                await client.leave()
            b.clients.clear()
            del parked, behind, sending, client
            gc.collect()
            assert [client() for client in left] == [None, None, None]
            assert b.feed.pages.waiting == 0
            assert b.feed.watches == 0
            assert len(asyncio.all_tasks()) == tasks
            reads = memory.reads
            memory.come_back()
            await asyncio.sleep(0.01)
            assert memory.reads == reads

    async def test_a_client_that_leaves_does_not_cancel_a_shared_page(self, memory: MemoryStore) -> None:
        async with bench(memory, ring_events=1, message_events_max=2) as b:
            await b.deposit(how_many=50)
            for _ in range(10):
                leaving, staying = b.watch(), b.watch()
                await leaving.until_confirmed()
                await asyncio.sleep(0)
                await leaving.leave()
                await staying.until_events(50)
