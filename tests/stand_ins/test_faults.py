"""What tests can make the stand-in do wrong, seen through esdbclient, in process and over the wire."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from esdbclient import AsyncEventStoreDBClient, EventStoreDBClient, StreamState
from esdbclient.exceptions import DeadlineExceeded, EventStoreDBClientException, ServiceUnavailable

from tests.stand_ins.clients import ANY, NO_STREAM, length, new_events
from tests.stand_ins.eventstoredb.faults import Faults, Kind, Operation
from tests.stand_ins.eventstoredb.server import EventStoreDB
from tests.stand_ins.process import EventStoreDBProcess


def stored(server: EventStoreDB, stream: str) -> int:
    found = server.log.streams.get(stream)
    return len(found.records) if found else 0


@pytest.mark.parametrize(("kind", "written"), [("refuse", 0), ("cut_before", 0), ("cut_after", 2)])
async def test_a_broken_call_is_unavailable(
    server: EventStoreDB, client: AsyncEventStoreDBClient, kind: Kind, written: int
) -> None:
    server.faults.add(kind)
    with pytest.raises(ServiceUnavailable):
        await client.append_to_stream("a", current_version=NO_STREAM, events=new_events(2))
    assert stored(server, "a") == written


@pytest.mark.parametrize(("kind", "written"), [("hang", 0), ("hang_after", 2)])
async def test_a_call_without_an_answer_ends_at_its_timeout(
    server: EventStoreDB, client: AsyncEventStoreDBClient, kind: Kind, written: int
) -> None:
    server.faults.add(kind)
    with pytest.raises(DeadlineExceeded):
        await client.append_to_stream("a", current_version=NO_STREAM, events=new_events(2), timeout=0.3)
    assert stored(server, "a") == written


@pytest.mark.parametrize("kind", ["refuse", "cut_before", "cut_after"])
async def test_esdbclient_retries_by_itself_after_one_fault(
    server: EventStoreDB, client: AsyncEventStoreDBClient, kind: Kind
) -> None:
    fault = server.faults.add(kind, times=1, prefix="a")
    await client.append_to_stream("b", current_version=NO_STREAM, events=new_events(2))
    assert fault.struck == 0
    await client.append_to_stream("a", current_version=NO_STREAM, events=new_events(2))
    assert fault.struck == 1
    assert stored(server, "a") == 2


def test_a_fault_strikes_matching_calls_as_often_as_configured() -> None:
    faults = Faults()
    fault = faults.add("refuse", times=2, prefix="account-", on=("append", "delete"))
    faults.add("slow", seconds=1.5)
    assert faults.strike("append", "person-1") is None
    assert faults.strike("read", "account-1") is None
    operations: list[Operation] = ["append", "delete", "append"]
    assert [faults.strike(operation, "account-1") for operation in operations] == [fault, fault, None]
    assert (faults.delay("append", "account-1"), faults.delay("read", "account-1")) == (1.5, 0.0)
    faults.clear()
    assert faults.delay("append", "account-1") == 0.0


async def test_a_fault_strikes_until_it_is_cleared(server: EventStoreDB, client: AsyncEventStoreDBClient) -> None:
    await client.append_to_stream("a", current_version=ANY, events=new_events(1))
    server.faults.add("refuse", on=("append", "read", "subscribe", "delete"))
    for _ in range(3):
        for call in (
            client.append_to_stream("a", current_version=ANY, events=new_events(1)),
            client.get_stream("a"),
            client.delete_stream("a", current_version=ANY),
            client.subscribe_to_all(),
        ):
            with pytest.raises(EventStoreDBClientException):
                await call
    server.faults.clear()
    assert await length(client, "a") == 1


async def test_a_slow_server_delays_its_answers(server: EventStoreDB, client: AsyncEventStoreDBClient) -> None:
    server.faults.add("slow", seconds=0.2)
    began = time.monotonic()
    await asyncio.gather(
        *(client.append_to_stream(f"a{n}", current_version=ANY, events=new_events(1)) for n in range(3))
    )
    assert time.monotonic() - began >= 0.2


async def test_an_unknown_fault_is_refused(server: EventStoreDB) -> None:
    with pytest.raises(ValueError, match="no such fault"):
        server.control({"add": {"kind": "explode"}})


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EventStoreDBProcess]:
    data: Path = tmp_path_factory.mktemp("eventstoredb") / "log.db"
    with EventStoreDBProcess(data) as started:
        yield started


def test_faults_can_be_set_in_another_process(process: EventStoreDBProcess) -> None:
    client = EventStoreDBClient(process.uri)
    events = new_events(1)
    process.faults.add("cut_after", prefix="remote-")
    with pytest.raises(ServiceUnavailable):
        client.append_to_stream("remote-1", current_version=StreamState.NO_STREAM, events=events)
    assert [fault["struck"] > 0 for fault in process.faults.described()] == [True]
    process.faults.clear()
    client.append_to_stream("remote-1", current_version=StreamState.NO_STREAM, events=events)
    process.faults.forget()
    client.append_to_stream("remote-1", current_version=StreamState.ANY, events=events)
    assert len(client.get_stream("remote-1")) == 2
    client.close()


def connect_again(process: EventStoreDBProcess) -> EventStoreDBClient:
    """gRPC waits a second before it tries an address again that refused it, whichever channel asks."""
    client = EventStoreDBClient(process.uri)
    deadline = time.monotonic() + 10
    while True:
        try:
            client.get_commit_position()
            return client
        except ServiceUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_events_outlive_a_kill_and_the_memory_of_ids_does_not(process: EventStoreDBProcess) -> None:
    client = EventStoreDBClient(process.uri)
    first = new_events(3)
    position = client.append_to_stream("kept", current_version=StreamState.NO_STREAM, events=first)
    client.delete_stream("kept", current_version=2)
    client.append_to_stream("kept", current_version=StreamState.NO_STREAM, events=new_events(1))
    client.append_to_stream("other", current_version=StreamState.NO_STREAM, events=first)
    before = [(event.id, event.commit_position, event.recorded_at) for event in client.read_all()]
    address = process.address
    process.kill()
    with pytest.raises(ServiceUnavailable):
        client.get_stream("other")
    process.start()
    assert process.address == address
    client.close()
    client = connect_again(process)
    assert [(event.id, event.commit_position, event.recorded_at) for event in client.read_all()] == before
    assert [event.stream_position for event in client.get_stream("kept")] == [3]
    client.append_to_stream("other", current_version=StreamState.NO_STREAM, events=first)
    assert len(client.get_stream("other")) == 3
    client.append_to_stream("other", current_version=StreamState.ANY, events=first)
    assert len(client.get_stream("other")) == 6
    assert (client.get_commit_position()) > position
    client.close()


def test_nothing_acknowledged_is_lost_by_kills(process: EventStoreDBProcess) -> None:
    acknowledged = 0
    for _ in range(3):
        client = connect_again(process)
        for number in range(50):
            client.append_to_stream(f"killed-{number % 7}", current_version=StreamState.ANY, events=new_events(2))
            acknowledged += 2
        process.kill()
        client.close()
        process.start()
    client = connect_again(process)
    found = [event for event in client.read_all() if event.stream_name.startswith("killed-")]
    assert len(found) == acknowledged
    client.close()
