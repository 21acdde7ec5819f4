"""Sinks behind nats://, by the real server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig

from openbank.sinks.address import parse
from openbank.sinks.nats import NatsTransport
from openbank.sinks.transport import Accepted, Later, Rejected
from tests.callers import until
from tests.client.proxy import proxy_of
from tests.sinks.events import some_cloud_events
from tests.stand_ins.nats import NatsProcess


@pytest.fixture
async def client(nats_server: NatsProcess) -> AsyncIterator[Client]:
    client = await nats.connect(nats_server.uri)
    yield client
    await client.close()


@pytest.fixture
async def transport(nats_server: NatsProcess) -> AsyncIterator[NatsTransport]:
    transport = NatsTransport(parse(nats_server.uri), 5.0)
    yield transport
    await transport.close()


async def test_an_event_is_a_message_of_its_types_subject(client: Client, transport: NatsTransport) -> None:
    jetstream = client.jetstream()
    await jetstream.add_stream(StreamConfig(name="bank", subjects=["openbank.>"]))
    events = await some_cloud_events(3)
    for event in events:
        assert await transport.send([event]) == Accepted()
    for sequence, event in enumerate(events, 1):
        message = await jetstream.get_msg("bank", sequence)
        assert message.subject == f"openbank.{event.type}"
        assert message.headers is not None
        assert message.headers["Nats-Msg-Id"] == event.id
        assert message.headers["Content-Type"] == "application/cloudevents+json"
        assert message.data is not None
        assert json.loads(message.data)["id"] == event.id


async def test_jetstream_drops_what_it_has(client: Client, transport: NatsTransport) -> None:
    jetstream = client.jetstream()
    await jetstream.add_stream(StreamConfig(name="bank", subjects=["openbank.>"]))
    (event,) = await some_cloud_events(1)
    for _ in range(3):
        assert await transport.send([event]) == Accepted()
    assert (await jetstream.stream_info("bank")).state.messages == 1


async def test_in_binary_mode_attributes_are_headers_and_the_subject_may_begin_otherwise(
    client: Client, nats_server: NatsProcess
) -> None:
    jetstream = client.jetstream()
    await jetstream.add_stream(StreamConfig(name="bank", subjects=["acme.bank.>"]))
    transport = NatsTransport(parse(f"{nats_server.uri}/acme.bank#mode=binary"), 5.0)
    (event,) = await some_cloud_events(1)
    assert await transport.send([event]) == Accepted()
    message = await jetstream.get_msg("bank", 1)
    assert message.subject == "acme.bank.person.registered.v1"
    assert message.headers is not None
    assert message.headers["ce-id"] == event.id
    assert message.headers["ce-partitionkey"] == "person-ann"
    assert message.headers["Content-Type"] == "application/json"
    assert message.data is not None
    assert json.loads(message.data)["person_id"] == "ann"
    await transport.close()


async def test_without_a_stream_the_event_is_tried_later_and_the_subject_is_named(transport: NatsTransport) -> None:
    answer = await transport.send(await some_cloud_events(1))
    assert answer == Later("no stream of JetStream takes the subject openbank.person.registered.v1")


async def test_an_event_that_the_stream_finds_too_large_is_refused(client: Client, transport: NatsTransport) -> None:
    await client.jetstream().add_stream(StreamConfig(name="bank", subjects=["openbank.>"], max_msg_size=100))
    answer = await transport.send(await some_cloud_events(1))
    assert isinstance(answer, Rejected)
    assert "size" in answer.reason


async def test_the_death_of_a_server_fails_its_messages_at_once_and_it_is_found_again(
    client: Client, nats_server: NatsProcess, transport: NatsTransport
) -> None:
    await client.jetstream().add_stream(StreamConfig(name="bank", subjects=["openbank.>"]))
    events = await some_cloud_events(40)
    assert await transport.send(events[:1]) == Accepted()
    sending = [asyncio.ensure_future(transport.send([event])) for event in events]
    await asyncio.sleep(0)
    nats_server.kill()
    answers = await asyncio.wait_for(asyncio.gather(*sending), 4.0)
    assert {type(answer) for answer in answers} <= {Accepted, Later}
    assert isinstance(await transport.send(events[:1]), Later)
    nats_server.start()
    for event in events:
        assert await transport.send([event]) == Accepted()


async def test_an_absent_receiver_is_tried_later_and_no_secret_is_shown() -> None:
    transport = NatsTransport(parse("nats://me:secret@127.0.0.1:1"), 1.0)
    answers = await asyncio.gather(*(transport.send([event]) for event in await some_cloud_events(5)))
    assert set(answers) == {Later("cannot connect: Connection refused", reached=False)}
    await transport.close()


async def test_wrong_credentials_are_for_later_and_not_repeated(tmp_path: Path, nats_server: NatsProcess) -> None:
    with NatsProcess(tmp_path / "guarded", "--user", "bank", "--pass", "right") as guarded:
        wrong = NatsTransport(parse(guarded.uri.replace("//", "//bank:secret@")), 5.0)
        assert await wrong.send(await some_cloud_events(1)) == Later("not authorized")
        await wrong.close()
        right = NatsTransport(parse(guarded.uri.replace("//", "//bank:right@")), 5.0)
        answer = await right.send(await some_cloud_events(1))
        assert isinstance(answer, Later)
        assert answer.reason.startswith("no stream")
        await right.close()


async def test_a_half_open_connection_costs_one_try_and_the_next_is_new(
    client: Client, nats_server: NatsProcess
) -> None:
    await client.jetstream().add_stream(StreamConfig(name="bank", subjects=["openbank.>"]))
    (event,) = await some_cloud_events(1)
    async with proxy_of(nats_server.uri.removeprefix("nats://")) as proxy:
        transport = NatsTransport(parse(f"nats://{proxy.address}"), 0.5)
        assert await transport.send([event]) == Accepted()
        proxy.swallow()
        answers = await asyncio.gather(*(transport.send([event]) for _ in range(5)))
        assert answers == [Later("no answer within 0.5 s")] * 5
        assert await transport.send([event]) == Accepted()
        await transport.close()


async def test_an_idle_connection_that_is_half_open_is_noticed_before_an_event_needs_it(
    client: Client, nats_server: NatsProcess
) -> None:
    await client.jetstream().add_stream(StreamConfig(name="bank", subjects=["openbank.>"]))
    (event,) = await some_cloud_events(1)
    async with proxy_of(nats_server.uri.removeprefix("nats://")) as proxy:
        transport = NatsTransport(parse(f"nats://{proxy.address}"), 0.5)
        assert await transport.send([event]) == Accepted()
        proxy.swallow()
        await until(lambda: proxy.connections_open == 0)
        assert await transport.send([event]) == Accepted()
        await transport.close()


async def test_a_server_that_says_nothing_is_given_up_within_the_timeout() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    transport = NatsTransport(parse(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"), 0.3)
    answer = await asyncio.wait_for(transport.send(await some_cloud_events(1)), 2.0)
    assert answer == Later("cannot connect within 0.3 s", reached=False)
    await transport.close()
    server.close()
    await server.wait_closed()


async def test_credentials_are_unescaped(tmp_path: Path, nats_server: NatsProcess) -> None:
    with NatsProcess(tmp_path / "guarded", "--user", "bänk", "--pass", "p@ss/€") as guarded:
        transport = NatsTransport(parse(guarded.uri.replace("//", "//b%C3%A4nk:p%40ss%2F€@")), 5.0)
        answer = await transport.send(await some_cloud_events(1))
        assert isinstance(answer, Later)
        assert answer.reason.startswith("no stream")
        await transport.close()


async def test_a_host_that_is_not_there_is_named() -> None:
    transport = NatsTransport(parse("nats://me:secret@bus.invalid"), 5.0)
    answer = await transport.send(await some_cloud_events(1))
    assert answer == Later("cannot connect: the host bus.invalid cannot be resolved", reached=False)
    await transport.close()
