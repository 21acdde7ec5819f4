"""Events on their way to one sink."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openbank.publishing.events import cloud_event
from openbank.sinks.delivery import Delivery, Outgoing
from openbank.sinks.port import Parked
from openbank.sinks.transport import Accepted, Later, Rejected, SendResult
from tests.eventstore.memory import MemoryStore
from tests.sinks.receivers import Receiver, key, poison
from tests.views.histories import History

NOW = 1_700_000_000_000_000


def clock() -> int:
    return NOW


async def some_events(accounts: int = 3, deposits: int = 10) -> list[Outgoing]:
    history = History(MemoryStore())
    await history.register("ann")
    for number in range(accounts):
        await history.open(str(number), "ann")
    for number in range(deposits):
        await history.deposit(str(number % accounts))
    outgoing = []
    for event in await history.events():
        published = cloud_event(event)
        assert published is not None
        outgoing.append(Outgoing(event.stream, event.revision, published))
    return outgoing


def assert_in_order(receiver: Receiver) -> None:
    for stream in {event.partitionkey for event in receiver.taken}:
        revisions = receiver.revisions(stream)
        assert revisions == list(range(1, len(revisions) + 1))


async def test_everything_is_sent_and_in_order_for_each_aggregate() -> None:
    receiver = Receiver()
    events = await some_events()
    delivery = Delivery(events, receiver, clock)
    assert await delivery.round() is None
    assert sorted(map(key, receiver.taken)) == sorted((stream, revision) for stream, revision, _ in events)
    assert_in_order(receiver)
    assert delivery.refused == {}


async def test_aggregates_are_sent_in_parallel_up_to_the_sinks_limit() -> None:
    receiver = Receiver(messages_max=3)
    await Delivery(await some_events(accounts=8, deposits=40), receiver, clock).round()
    assert receiver.most_under_way == 3


async def test_a_refused_event_stops_only_its_own_aggregate() -> None:
    receiver = Receiver()
    bad = poison(("account-1", 3))
    receiver.judge = lambda events: Rejected("HTTP 422") if bad(events) else Accepted()
    delivery = Delivery(await some_events(), receiver, clock)
    assert await delivery.round() is None
    assert delivery.refused == {"account-1": Parked(3, "HTTP 422", NOW)}
    assert receiver.revisions("account-1") == [1, 2]
    assert receiver.revisions("account-0") == [1, 2, 3, 4, 5]


async def test_an_event_to_send_later_stops_the_round_and_the_next_continues_there() -> None:
    receiver = Receiver(messages_max=2)
    events = await some_events()
    answers: list[SendResult] = [*[Accepted()] * 5, Later("HTTP 503", 7.0)]
    receiver.judge = lambda _: answers.pop(0) if answers else Later("HTTP 503")
    delivery = Delivery(events, receiver, clock)
    assert (await delivery.round(), delivery.moved) == (Later("HTTP 503", 7.0), True)
    assert len(receiver.tried) <= 7, "those that had begun may end"
    assert (await delivery.round(), delivery.moved) == (Later("HTTP 503"), False)
    receiver.judge = lambda _: Accepted()
    assert await delivery.round() is None
    assert_in_order(receiver)
    assert len(receiver.taken) == len(events)


class TestBatches:
    async def test_a_message_holds_many_events_in_the_order_of_the_log(self) -> None:
        receiver = Receiver(events_max=10, messages_max=1)
        events = await some_events(deposits=20)
        await Delivery(events, receiver, clock).round()
        assert [len(message) for message in receiver.tried] == [10, 10, 4]
        assert [event.id for event in receiver.taken] == [outgoing.event.id for outgoing in events]

    @pytest.mark.parametrize("place", range(1, 25))
    async def test_a_poison_event_is_found_wherever_it_is_and_all_others_arrive(self, place: int) -> None:
        receiver = Receiver(events_max=100, messages_max=1)
        events = await some_events(deposits=21)
        stream, revision, _ = events[place - 1]
        bad = poison((stream, revision))
        receiver.judge = lambda sent: Rejected("HTTP 400") if bad(sent) else Accepted()
        delivery = Delivery(events, receiver, clock)
        assert await delivery.round() is None
        assert delivery.refused == {stream: Parked(revision, "HTTP 400", NOW)}
        assert receiver.revisions(stream) == list(range(1, revision))
        others = [outgoing.event.id for outgoing in events if outgoing.stream != stream]
        assert [event.id for event in receiver.taken if event.partitionkey != stream] == others

    async def test_a_sink_that_takes_nothing_parks_every_aggregate_once(self) -> None:
        receiver = Receiver(events_max=100, messages_max=1)
        receiver.judge = lambda _: Rejected("HTTP 400")
        delivery = Delivery(await some_events(), receiver, clock)
        assert await delivery.round() is None
        assert {stream: held.revision for stream, held in delivery.refused.items()} == {
            "person-ann": 1,
            "account-0": 1,
            "account-1": 1,
            "account-2": 1,
        }


@settings(deadline=None)
@given(seed=st.integers(0, 2**32), events_max=st.sampled_from([1, 3, 100]), messages_max=st.sampled_from([1, 4]))
async def test_order_is_kept_and_nothing_is_lost_for_any_answers_of_a_sink(
    seed: int, events_max: int, messages_max: int
) -> None:
    chance = random.Random(seed)
    receiver = Receiver(events_max, messages_max)
    events = await some_events()
    bad = poison(*chance.sample([(stream, revision) for stream, revision, _ in events], 2))

    def judge(sent: object) -> SendResult:
        if chance.random() < 0.3:
            return Later("HTTP 503")
        return Rejected("HTTP 400") if bad(sent) else Accepted()  # type: ignore[arg-type]

    receiver.judge = judge
    delivery = Delivery(events, receiver, clock)
    while await delivery.round() is not None:
        pass
    assert_in_order(receiver)
    for stream in {outgoing.stream for outgoing in events}:
        sent = [outgoing.revision for outgoing in events if outgoing.stream == stream]
        first = delivery.refused[stream].revision if stream in delivery.refused else sent[-1] + 1
        assert receiver.revisions(stream) == [revision for revision in sent if revision < first]
        assert delivery.accepted.get(stream, 0) == first - 1
