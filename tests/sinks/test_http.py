"""Sinks behind http://, tested with an HTTP server whose answers the test sets."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web
from cloudevents.core.bindings.http import HTTPMessage, from_http_event

from openbank.publishing.cloudevent import CloudEvent, to_json
from openbank.sinks.address import parse
from openbank.sinks.http import RETRY_AFTER_SECONDS_MAX, HttpTransport, judge
from openbank.sinks.transport import Accepted, Later, Rejected
from tests.sinks.events import some_cloud_events


class Server:
    """Keeps every request, and answers each with `status` and `headers`."""

    def __init__(self) -> None:
        self.requests: list[tuple[web.Request, bytes]] = []
        self.status = 204
        self.headers: dict[str, str] = {}
        self.answered = asyncio.Event()
        self.answered.set()
        self.connections: set[Any] = set()
        self.url = ""

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request, await request.read()))
        self.connections.add(request.transport)
        await self.answered.wait()
        return web.Response(status=self.status, headers=self.headers)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}/events"
    yield server
    server.answered.set()
    await runner.cleanup()


@pytest.fixture
async def transport(server: Server) -> AsyncIterator[Callable[..., HttpTransport]]:
    opened: list[HttpTransport] = []

    def transport(options: str = "", timeout_seconds: float = 5.0, url: str = "") -> HttpTransport:
        opened.append(HttpTransport(parse((url or server.url) + options), timeout_seconds))
        return opened[-1]

    yield transport
    for one in opened:
        await one.close()


Open = Callable[..., HttpTransport]


def same(event: dict[str, Any], sent: CloudEvent) -> bool:
    """Whether an event as a receiver has it is what was sent, however its time is written."""
    expected = to_json(sent)
    times = [datetime.fromisoformat(one.pop("time")) for one in (event, expected)]
    return times[0] == times[1] and event == expected


async def test_structured_mode_is_one_json_object(server: Server, transport: Open) -> None:
    (event,) = await some_cloud_events(1)
    assert await transport().send([event]) == Accepted()
    ((request, body),) = server.requests
    assert (request.method, request.path) == ("POST", "/events")
    assert request.headers["content-type"] == "application/cloudevents+json"
    assert request.headers["user-agent"].startswith("openbank/")
    assert same(json.loads(body), event)


async def test_binary_mode_has_the_attributes_in_headers(server: Server, transport: Open) -> None:
    (event,) = await some_cloud_events(1)
    assert await transport("#mode=binary").send([event]) == Accepted()
    ((request, body),) = server.requests
    assert request.headers["ce-id"] == event.id
    assert request.headers["content-type"] == "application/json"
    received = from_http_event(HTTPMessage({name.lower(): value for name, value in request.headers.items()}, body))
    data = received.get_data()
    time = received.get_time()
    assert time is not None
    assert same({**received.get_attributes(), "time": time.isoformat(), "data": data}, event)


async def test_batched_mode_is_an_array(server: Server, transport: Open) -> None:
    events = await some_cloud_events(5)
    sender = transport("#mode=batched")
    assert sender.events_max >= 5
    assert sender.messages_max == 1
    assert await sender.send(events) == Accepted()
    ((request, body),) = server.requests
    assert request.headers["content-type"] == "application/cloudevents-batch+json"
    received = json.loads(body)
    assert len(received) == 5
    assert all(same(one, sent) for one, sent in zip(received, events, strict=True))


async def test_connections_are_used_again(server: Server, transport: Open) -> None:
    sender = transport()
    for event in await some_cloud_events(5):
        await sender.send([event])
    assert len(server.requests) == 5
    assert len(server.connections) == 1


async def test_credentials_go_as_basic_auth_and_the_query_is_kept(server: Server, transport: Open) -> None:
    url = server.url.replace("http://", "http://me:secret@") + "?key=a%2Fb"
    await transport(url=url).send(await some_cloud_events(1))
    ((request, _),) = server.requests
    assert request.headers["authorization"] == "Basic bWU6c2VjcmV0"
    assert request.raw_path == "/events?key=a%2Fb"


@pytest.mark.parametrize(
    ("credentials", "sent"),
    [
        ("ä:p€ss", "ä:p€ss"),
        ("%C3%A4:p%E2%82%ACss", "ä:p€ss"),
        ("a%40b:c%3Ad", "a@b:c:d"),
        ("token", "token:"),
        (":x", ":x"),
    ],
)
async def test_credentials_are_sent_in_utf_8(server: Server, transport: Open, credentials: str, sent: str) -> None:
    url = server.url.replace("http://", f"http://{credentials}@")
    assert await transport(url=url).send(await some_cloud_events(1)) == Accepted()
    ((request, _),) = server.requests
    assert base64.b64decode(request.headers["authorization"].removeprefix("Basic ")).decode() == sent


async def test_a_path_that_is_not_ascii_is_sent_escaped(server: Server, transport: Open) -> None:
    await transport(url=f"{server.url}/ä?b=€%2f").send(await some_cloud_events(1))
    ((request, _),) = server.requests
    assert request.raw_path == "/events/%C3%A4?b=%E2%82%AC%2f"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(server: Server, transport: Open, status: int) -> None:
    server.status, server.headers = status, {"location": server.url + "/elsewhere"}
    answer = await transport().send(await some_cloud_events(1))
    assert isinstance(answer, Later)
    assert answer.reason.startswith(f"HTTP {status} ")
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_accepted(status: int) -> None:
    assert judge(status) == Accepted()


@pytest.mark.parametrize("status", [400, 402, 406, 409, 411, 412, 413, 414, 415, 422, 428, 431, 451, 499])
def test_a_status_about_the_event_is_a_refusal(status: int) -> None:
    assert isinstance(judge(status), Rejected)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 599, 304])
def test_a_temporary_status_is_tried_later(status: int) -> None:
    assert isinstance(judge(status), Later)


@pytest.mark.parametrize("status", [401, 403, 404, 405, 407, 410, 421])
def test_a_status_about_the_address_or_the_credentials_is_not_a_refusal(status: int) -> None:
    assert isinstance(judge(status), Later)


def test_a_reason_describes_the_status_without_the_receivers_text() -> None:
    assert judge(422) == Rejected("HTTP 422 Unprocessable Entity")
    assert judge(599) == Later("HTTP 599")


async def test_retry_after_is_read_in_either_form(server: Server, transport: Open) -> None:
    server.status, server.headers = 429, {"retry-after": "17"}
    assert await transport().send(await some_cloud_events(1)) == Later("HTTP 429 Too Many Requests", 17.0)
    then = datetime.now(UTC) + timedelta(seconds=100)
    server.status, server.headers = 503, {"retry-after": format_datetime(then, usegmt=True)}
    answer = await transport().send(await some_cloud_events(1))
    assert isinstance(answer, Later)
    assert 90 < answer.after_seconds <= 100


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", 0),
        ("soon", 0),
        ("-5", 0),
        ("1.5", 0),
        ("٣", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("99999999", RETRY_AFTER_SECONDS_MAX),
        ("9" * 400, RETRY_AFTER_SECONDS_MAX),
        ("Fri, 31 Dec 9999 23:59:59 GMT", RETRY_AFTER_SECONDS_MAX),
        ("Fri, 99 Dec 9999 23:59:59 GMT", 0),
        ("Wed, 21 Oct 2026 07:28:00 +9999999999999999", 0),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0),
        ("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", 0),
        ("1 2 3 4 5 6 7 8 9", 0),
        (" 7 ", 7),
    ],
)
def test_a_strange_retry_after_does_no_harm(value: str, seconds: float) -> None:
    assert judge(503, value) == Later("HTTP 503 Service Unavailable", seconds)


async def test_a_receiver_that_does_not_answer_in_time_is_tried_later(server: Server, transport: Open) -> None:
    server.answered.clear()
    answer = await transport(timeout_seconds=0.05).send(await some_cloud_events(1))
    assert answer == Later("no answer within 0.05 s")


async def test_an_absent_receiver_is_tried_later_and_no_secret_is_shown(transport: Open) -> None:
    answer = await transport(url="http://me:secret@127.0.0.1:1/?key=secret").send(await some_cloud_events(1))
    assert answer == Later("cannot connect: Connection refused", reached=False)


async def test_a_receiver_that_does_not_speak_http_is_tried_later() -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ready\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    transport = HttpTransport(parse(f"http://127.0.0.1:{port}"), 5.0)
    answer = await transport.send(await some_cloud_events(1))
    assert isinstance(answer, Later)
    assert answer.reason in (
        "what the receiver answers is not HTTP",
        "the receiver closed the connection without an answer",
    )
    await transport.close()
    server.close()
    await server.wait_closed()
