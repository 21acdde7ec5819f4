"""What a client of a feed can count on."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from openbank.eventstore.errors import PositionOutOfRange, StoreUnavailable
from openbank.eventstore.port import BEGINNING, EventStore, LogPosition
from openbank.feeds.filter import Filter
from openbank.feeds.message import Signal
from openbank.feeds.watch import After, Live, Since
from tests.eventstore.memory import MemoryStore, new_events
from tests.feeds.bench import (
    ACCOUNT,
    ACCOUNTS,
    BOTH,
    DEPOSITED,
    PERSONS,
    REGISTERED,
    WITHDRAWN,
    bench,
)

EVENTS, CONFIRMED, HEARTBEAT = Signal.EVENTS, Signal.CONFIRMED, Signal.HEARTBEAT


TURNS = 20
"""Turns of the event loop, in which what is acknowledged reaches a watch that waits for it."""


class TestWhereAWatchStarts:
    async def test_the_first_message_confirms_and_says_where(self, store: EventStore) -> None:
        async with bench(store) as b:
            await b.deposit(how_many=3)
            client = b.watch()
            await client.until_events(3)
            first = client.messages[0]
            assert (first.signal, first.position, first.caught_up) == (CONFIRMED, BEGINNING, False)
            assert not first.entries
            assert first.as_of_time is None

    async def test_an_empty_feed_is_caught_up_at_once(self, store: EventStore) -> None:
        async with bench(store) as b:
            client = b.watch()
            await client.until_confirmed()
            assert client.last.caught_up
            assert client.last.as_of_time is not None

    async def test_a_watch_from_the_beginning_gets_all_history_and_new_events(self, store: EventStore) -> None:
        async with bench(store) as b:
            await b.deposit(how_many=3)
            client = b.watch()
            await client.until_events(3)
            await b.deposit(how_many=3)
            await client.until_events(6)
            assert client.events == await b.accounts()

    async def test_a_watch_after_a_place_gets_later_events(self, store: EventStore) -> None:
        async with bench(store) as b:
            await b.deposit(how_many=2)
            place = await store.head()
            await b.deposit(how_many=2)
            client = b.watch(After(place))
            await client.until_events(2)
            assert client.messages[0].position == place
            assert client.events == (await b.accounts())[2:]

    async def test_a_live_watch_gets_events_acknowledged_after_the_confirmation(self, store: EventStore) -> None:
        async with bench(store) as b:
            await b.deposit(how_many=2)
            client = b.watch(Live())
            await client.until_confirmed()
            assert client.last.caught_up
            assert client.last.position == await store.head()
            await b.deposit(how_many=2)
            await client.until_events(2)
            assert client.events == (await b.accounts())[2:]

    async def test_a_watch_since_a_time_gets_the_first_event_recorded_then_and_all_later_ones(
        self, store: EventStore
    ) -> None:
        async with bench(store) as b:
            await b.deposit(how_many=5)
            third = (await b.accounts())[2]
            client = b.watch(Since(third.metadata.record_time))
            await client.until_events(3)
            assert client.events == (await b.accounts())[2:]

    async def test_a_watch_since_a_future_time_is_live(self, store: EventStore) -> None:
        async with bench(store) as b:
            await b.deposit()
            client = b.watch(Since(2**60))
            await client.until_confirmed()
            assert client.last.caught_up
            assert client.last.position == await store.head()

    async def test_a_place_beyond_the_log_is_refused(self, store: EventStore) -> None:
        async with bench(store) as b:
            await b.deposit()
            head = await store.head()
            client = b.watch(After(LogPosition(head.position + 1, "account-1", 2)))
            with pytest.raises(PositionOutOfRange):
                await client.end()
            assert not client.messages

    async def test_a_place_that_this_process_has_not_followed_to_yet_is_waited_for(self, store: EventStore) -> None:
        async with bench(store, running=False) as b:
            await b.deposit()
            client = b.watch(After(await store.head()))
            await client.until_confirmed()
            assert client.last.caught_up
            following = [asyncio.create_task(b.tail.run()), asyncio.create_task(b.feed.run())]
            await b.deposit()
            await client.until_events(1)
            assert client.events == (await b.accounts())[1:]
            for task in following:
                task.cancel()

    async def test_a_watch_without_a_store_does_not_start(self, memory: MemoryStore) -> None:
        async with bench(memory) as b:
            memory.go_away()
            client = b.watch()
            with pytest.raises(StoreUnavailable):
                await client.end()
            assert b.feed.watches == 0


class TestFilter:
    async def test_each_feed_has_its_own_kind(self, store: EventStore) -> None:
        async with bench(store) as b:
            await b.register("ann")
            await b.deposit()
            persons, accounts = b.watch(filter=PERSONS), b.watch(filter=ACCOUNTS)
            await persons.until_events(1)
            await accounts.until_events(1)
            assert [event.stream for event in persons.events] == ["person-ann"]
            assert [event.stream for event in accounts.events] == ["account-1"]

    async def test_one_watch_may_be_of_both_kinds_in_the_order_of_the_log(self, store: EventStore) -> None:
        async with bench(store) as b:
            await b.register("ann")
            await b.deposit("1", owner="ann")
            await b.register("bob")
            await b.deposit("2", owner="bob")
            await b.deposit("ann", owner="bob")

            async def passed(**lists: Any) -> list[str]:
                client = b.watch(filter=Filter(BOTH, **lists), stop_when_caught_up=True)
                await client.end()
                return [event.stream for event in client.events]

            everything = ["person-ann", "account-1", "person-bob", "account-2", "account-ann"]
            assert await passed() == everything
            assert await passed(persons=frozenset({"ann"})) == ["person-ann", "account-1"]
            assert await passed(accounts=frozenset({"ann", "2"})) == ["account-2", "account-ann"]
            assert await passed(accounts=frozenset({"ann", "1"}), persons=frozenset({"bob"})) == ["account-ann"]

    async def test_values_of_a_list_are_alternatives_and_every_list_must_pass(self, store: EventStore) -> None:
        async with bench(store) as b:
            for account, owner, type in itertools.product("12", ("ann", "bob"), (DEPOSITED, WITHDRAWN)):
                await b.deposit(account, owner=owner, type=type)

            async def passed(**lists: set[str]) -> list[str]:
                values: dict[str, Any] = {name: frozenset(values) for name, values in lists.items()}
                filter = Filter(ACCOUNT, **values)
                client = b.watch(filter=filter, stop_when_caught_up=True)
                await client.end()
                return [
                    f"{event.stream[-1]} {event.metadata.owner_id} {event.type[-9:].lower()}" for event in client.events
                ]

            assert len(await passed()) == 8
            assert len(await passed(accounts={"1", "2"})) == 8
            assert len(await passed(accounts={"1"})) == 4
            assert len(await passed(accounts={"1", "unknown"}, persons={"ann"})) == 2
            assert await passed(accounts={"1"}, persons={"ann"}, types={DEPOSITED}) == ["1 ann deposited"]
            assert await passed(persons={"carl"}) == []

    async def test_a_filter_may_name_an_id_that_does_not_exist_yet(self, store: EventStore) -> None:
        async with bench(store) as b:
            client = b.watch(filter=Filter(ACCOUNT, accounts=frozenset({"later"})))
            await b.deposit("sooner")
            await b.deposit("later")
            await client.until_events(1)
            assert [event.stream for event in client.events] == ["account-later"]

    async def test_internal_streams_and_other_programs_never_pass(self, store: EventStore) -> None:
        async with bench(store) as b:
            await b.reserve("account-1")
            await b.append("account-of-others", new_events(type="other.Deposited"))
            await b.append("account-of-others-2", new_events(type="$metadata"))
            await b.deposit()
            client = b.watch(stop_when_caught_up=True)
            await client.end()
            assert [event.stream for event in client.events] == ["account-1"]
            assert client.last.position == await store.head()

    async def test_an_id_may_have_hyphens(self, store: EventStore) -> None:
        async with bench(store) as b:
            await b.deposit("a-b-c")
            client = b.watch(filter=Filter(ACCOUNT, accounts=frozenset({"a-b-c"})), stop_when_caught_up=True)
            await client.end()
            assert len(client.events) == 1


class TestCaughtUp:
    async def test_caught_up_is_reported_with_the_last_event(self, store: EventStore) -> None:
        async with bench(store, message_events_max=2) as b:
            await b.deposit(how_many=4)
            client = b.watch()
            await client.until_events(4)
            assert [(m.signal, m.caught_up) for m in client.messages] == [
                (CONFIRMED, False),
                (EVENTS, False),
                (EVENTS, True),
            ]

    async def test_caught_up_is_reported_at_once_without_an_event(self, store: EventStore) -> None:
        async with bench(store) as b:
            await b.deposit(how_many=4)
            client = b.watch(filter=PERSONS)
            await client.until_caught_up()
            assert client.signals == [CONFIRMED, HEARTBEAT]
            assert client.last.position == await store.head()

    async def test_each_live_event_is_marked_as_caught_up(self, store: EventStore) -> None:
        async with bench(store) as b:
            client = b.watch()
            await client.until_confirmed()
            for count in range(1, 4):
                await b.deposit()
                await client.until_events(count)
                assert client.last.caught_up

    async def test_a_caught_up_watch_has_the_time_of_the_clock_and_others_of_the_last_event(
        self, store: EventStore
    ) -> None:
        async with bench(store, message_events_max=2) as b:
            await b.deposit(how_many=2)
            await b.register("ann")
            await b.deposit()
            log = await b.log()
            client = b.watch()
            await client.until_events(3)
            _, first, second = client.messages
            assert first.as_of_time == log[1].metadata.record_time
            assert second.caught_up
            assert second.as_of_time is not None
            assert second.as_of_time > log[-1].metadata.record_time

    async def test_a_script_that_stops_there_has_all_that_was_written_before(self, store: EventStore) -> None:
        async with bench(store) as b:
            for count in range(1, 6):
                await b.deposit()
                client = b.watch(stop_when_caught_up=True)
                await client.end()
                assert len(client.events) == count
                assert client.last.caught_up

    async def test_a_script_gets_all_events_though_the_process_is_behind_the_store(self, store: EventStore) -> None:
        async with bench(store, running=False) as b:
            await b.deposit(how_many=3)
            client = b.watch(stop_when_caught_up=True)
            await client.until_confirmed()
            assert not client.last.caught_up
            following = [asyncio.create_task(b.tail.run()), asyncio.create_task(b.feed.run())]
            await client.end()
            assert len(client.events) == 3
            for task in following:
                task.cancel()

    async def test_a_script_on_an_empty_feed_ends_with_the_confirmation(self, store: EventStore) -> None:
        async with bench(store) as b:
            client = b.watch(stop_when_caught_up=True)
            await client.end()
            assert client.signals == [CONFIRMED]

    async def test_a_watch_is_not_caught_up_while_the_store_is_away(self, memory: MemoryStore) -> None:
        async with bench(memory, heartbeat_seconds=0.02) as b:
            client = b.watch()
            await client.until_confirmed()
            memory.go_away()
            await client.until(lambda: not client.last.caught_up)
            memory.come_back()
            await client.until_caught_up()
            assert set(client.signals[1:]) == {HEARTBEAT}

    async def test_a_watch_that_is_behind_has_the_time_of_the_last_event_even_if_filtered_out(
        self, memory: MemoryStore
    ) -> None:
        async with bench(memory, heartbeat_seconds=0.02) as b:
            client = b.watch(filter=PERSONS)
            await client.until_caught_up()
            await b.deposit(how_many=3)
            await b.tail.wait(memory.events[-2].position)
            memory.go_away()
            await client.until(lambda: not client.last.caught_up)
            assert client.last.as_of_time == memory.events[-1].metadata.record_time
            assert client.last.position == memory.events[-1].place


class TestHeartbeat:
    async def test_a_quiet_feed_sends_a_heartbeat_each_interval(self, store: EventStore) -> None:
        async with bench(store, heartbeat_seconds=0.02) as b:
            await b.deposit()
            client = b.watch(Live())
            await client.until(lambda: len(client.messages) == 4)
            assert client.signals == [CONFIRMED, HEARTBEAT, HEARTBEAT, HEARTBEAT]
            assert client.last.caught_up
            assert client.last.position == await store.head()

    async def test_a_busy_feed_sends_no_heartbeat(self, store: EventStore) -> None:
        async with bench(store, heartbeat_seconds=2.0) as b:
            client = b.watch()
            for _ in range(40):
                await b.deposit()
                await asyncio.sleep(0.06)
            await client.until_events(40)
            assert HEARTBEAT not in client.signals

    async def test_it_moves_the_token_past_what_the_filter_leaves_out(self, store: EventStore) -> None:
        async with bench(store, heartbeat_seconds=0.02) as b:
            client = b.watch(filter=PERSONS)
            await client.until_confirmed()
            for _ in range(3):
                position = await b.deposit()
                await client.until_passed(position)
            assert EVENTS not in client.signals

    @pytest.mark.parametrize("ring_events", [1, 10_000], ids=["from the store", "from memory"])
    async def test_heartbeats_are_sent_while_a_filter_leaves_out_a_long_history(
        self, memory: MemoryStore, ring_events: int
    ) -> None:
        async with bench(memory, ring_events=ring_events, message_events_max=1, heartbeat_seconds=0.001) as b:
            await b.deposit(how_many=900)
            await b.tail.wait((await memory.head()).position - 1)
            client = b.watch(filter=PERSONS, stop_when_caught_up=True)
            await client.end()
            positions = [message.position.position for message in client.messages]
            assert len(positions) > 5
            assert positions == sorted(positions)

    async def test_it_never_passes_an_event_that_is_still_to_be_read(self, memory: MemoryStore) -> None:
        async with bench(memory, ring_events=1, message_events_max=2, heartbeat_seconds=0.02) as b:
            await b.deposit(how_many=20)
            client = b.watch()
            await client.until_events(4)
            memory.go_away()
            sent = len(client.messages)
            await client.until(lambda: client.signals[-3:] == [HEARTBEAT] * 3)
            for message in client.messages[sent:]:
                passed = [event for event in memory.events if event.position <= message.position.position]
                assert client.events == passed
            memory.come_back()
            await client.until_events(20)
            assert client.events == await b.accounts()


class TestMessages:
    async def test_a_live_event_leaves_at_once(self, store: EventStore) -> None:
        async with bench(store) as b:
            client = b.watch()
            await client.until_confirmed()
            for count in range(1, 21):
                await b.deposit()
                # Turns of the loop, not time: nothing on the way waits for a clock.
                for _ in range(TURNS):
                    await asyncio.sleep(0)
                assert len(client.events) == count
            assert client.signals == [CONFIRMED] + [EVENTS] * 20

    async def test_events_that_wait_together_are_sent_together(self, store: EventStore) -> None:
        async with bench(store) as b:
            await b.deposit(how_many=50)
            client = b.watch()
            await client.until_events(50)
            assert client.signals == [CONFIRMED, EVENTS]

    async def test_events_that_wait_for_a_stalled_client_are_sent_together(self, store: EventStore) -> None:
        async with bench(store) as b:
            stalled, other = b.watch(), b.watch()
            await stalled.until_confirmed()
            stalled.stall()
            for count in range(1, 51):
                await b.deposit()
                await other.until_events(count)
            stalled.read_on()
            await stalled.until_events(50)
            assert other.signals.count(EVENTS) == 50
            assert stalled.signals.count(EVENTS) == 2

    async def test_a_message_has_a_maximum_of_events_and_bytes(self, store: EventStore) -> None:
        async with bench(store, message_events_max=10, message_bytes_max=3500) as b:
            await b.deposit(how_many=15)
            await b.deposit(how_many=15, size=1000)
            client = b.watch(stop_when_caught_up=True)
            await client.end()
            assert client.events == await b.accounts()
            assert max(len(message.entries) for message in client.messages) == 10
            assert 3000 <= max(len(message.encoded) for message in client.messages) <= 3500

    async def test_the_events_of_a_command_are_never_apart(self, store: EventStore) -> None:
        async with bench(store, message_events_max=10, message_bytes_max=3500) as b:
            for account in "12345":
                await b.append(f"account-{account}", new_events(4))
                await b.append(f"account-{account}", new_events(3, size=1000))
            await b.append("account-6", new_events(30))
            await b.append("account-7", new_events(5, size=1000))
            client = b.watch(stop_when_caught_up=True)
            await client.end()
            assert client.events == await b.accounts()
            for message in client.messages[1:]:
                assert message.events[0].metadata.part == 0
                assert message.events[-1].metadata.part == message.events[-1].metadata.parts - 1

    async def test_a_place_is_never_amid_a_command_though_its_filter_is(self, store: EventStore) -> None:
        async with bench(store, message_events_max=1) as b:
            for account in "123":
                deposited, withdrawn = new_events(2)
                await b.append(f"account-{account}", [deposited, withdrawn._replace(type=WITHDRAWN)])
            some = b.watch(filter=Filter(ACCOUNT, types=frozenset({DEPOSITED})), stop_when_caught_up=True)
            await some.end()
            assert len(some.messages) == 4
            for message in some.messages:
                rest = b.watch(After(message.position), stop_when_caught_up=True)
                await rest.end()
                assert not rest.events or rest.events[0].metadata.part == 0

    async def test_they_carry_the_bytes_that_the_events_were_encoded_to(self, store: EventStore) -> None:
        async with bench(store) as b:
            await b.deposit(how_many=3)
            client = b.watch(stop_when_caught_up=True)
            await client.end()
            assert client.last.encoded == b"".join(event.data for event in client.events)


async def test_a_type_that_cannot_be_encoded_ends_its_watches_and_no_other(store: EventStore) -> None:
    async with bench(store) as b:
        b.unknown_type = REGISTERED
        accounts = b.watch()
        await b.deposit()
        await b.register("ann")
        persons = b.watch(filter=PERSONS)
        with pytest.raises(LookupError):
            await persons.end()
        await b.deposit()
        await accounts.until_events(2)


async def test_a_place_holds_for_every_filter(store: EventStore) -> None:
    async with bench(store) as b:
        await b.register("ann")
        await b.deposit()
        token = await store.head()
        await b.register("bob")
        await b.deposit()
        for filter in (PERSONS, ACCOUNTS):
            client = b.watch(After(token), filter, stop_when_caught_up=True)
            await client.end()
            assert len(client.events) == 1


async def test_a_time_that_jumped_back_loses_nothing(memory: MemoryStore) -> None:
    async with bench(memory) as b:
        for time in (100, 300, 200, 400):
            await b.append(
                "account-1",
                [event._replace(metadata=event.metadata._replace(record_time=time)) for event in new_events()],
            )
        client = b.watch(Since(250), stop_when_caught_up=True)
        await client.end()
        assert [event.metadata.record_time for event in client.events] == [300, 200, 400]
