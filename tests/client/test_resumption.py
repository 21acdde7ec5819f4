"""How long to wait before the next try."""

from __future__ import annotations

import pytest

from openbank.accounts.v1.accounts_service_pb2 import WatchAccountEventsRequest, WatchAccountEventsResponse
from openbank.client import resumption
from openbank.client.resumption import Ended, Interruption, Resumption
from openbank.common.v1 import feed_pb2

CONFIRMED = WatchAccountEventsResponse(resume_token="t", signal=feed_pb2.FEED_SIGNAL_CONFIRMED)
HEARTBEAT = WatchAccountEventsResponse(resume_token="t", signal=feed_pb2.FEED_SIGNAL_HEARTBEAT)


@pytest.fixture
def interruptions() -> list[Interruption]:
    return []


@pytest.fixture
def place(interruptions: list[Interruption], monkeypatch: pytest.MonkeyPatch) -> Resumption:
    monkeypatch.setattr(resumption, "BACKOFF_SECONDS_MIN", 0.2)
    monkeypatch.setattr(resumption, "BACKOFF_SECONDS_MAX", 20.0)
    return Resumption(WatchAccountEventsRequest(), interruptions.append)


def test_the_delays_grow_and_are_never_quite_the_same(place: Resumption, interruptions: list[Interruption]) -> None:
    delays = [place.interrupted(Ended()) for _ in range(50)]
    assert 0.2 <= delays[0] <= 0.4
    assert 0.4 <= delays[1] <= 0.8
    assert all(10 <= delay <= 20 for delay in delays[6:])
    assert len(set(delays)) > 40
    assert [interruption.failures for interruption in interruptions] == list(range(1, 51))
    assert [interruption.retry_seconds for interruption in interruptions] == delays


def test_a_watch_that_continues_begins_with_short_delays_again(place: Resumption) -> None:
    for _ in range(5):
        place.interrupted(Ended())
    place.took(HEARTBEAT)
    assert place.interrupted(Ended()) <= 0.4


def test_a_server_that_confirms_and_fails_is_left_alone_for_longer_each_time(place: Resumption) -> None:
    for _ in range(10):
        place.took(CONFIRMED)
        delay = place.interrupted(Ended())
    assert delay >= 10


def test_three_heartbeats_are_missed_before_a_connection_is_given_up(place: Resumption) -> None:
    assert place.silence_seconds_max == 45
    assert place.silence.why == "no heartbeat for 45 s"
