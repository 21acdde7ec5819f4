"""HTTP receivers that do what none should: each event is delivered, or has failed for a reason a person understands."""

from __future__ import annotations

import asyncio
import itertools
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
import uvloop

from openbank.sinks.address import parse
from openbank.sinks.http import HttpTransport
from openbank.sinks.http_client import BODY_BYTES_MAX, HEAD_BYTES_MAX
from openbank.sinks.transport import Accepted, Later, Rejected, SendResult
from tests.sinks.events import some_cloud_events

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
TIMEOUT_SECONDS = 0.3

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def talking(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A receiver at `HOST:PORT` that does this with each connection."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            with suppress(OSError, EOFError, asyncio.CancelledError):
                await talk(reader, writer)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            tasks.discard(task)

    tasks: set[asyncio.Task[None]] = set()
    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def request(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().splitlines() if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.partition(b":")[2]))


def answering(*parts: bytes, pause_seconds: float = 0.0) -> Talk:
    """Sends these bytes as the answer to each request, and keeps the connection."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request(reader)
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause_seconds)

    return talk


def endless(head: bytes, part: bytes, pause_seconds: float = 0.0) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(head)
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_seconds)

    return talk


async def answers(talk: Talk, count: int = 3, tls: ssl.SSLContext | None = None) -> list[SendResult]:
    """What becomes of events that are sent one after the other, each within the timeout."""
    async with talking(talk, tls) as at:
        transport = HttpTransport(parse(f"http{'s' if tls else ''}://{at}/"), TIMEOUT_SECONDS)
        try:
            (event,) = await some_cloud_events(1)
            return [await asyncio.wait_for(transport.send([event]), 2 * TIMEOUT_SECONDS + 2) for _ in range(count)]
        finally:
            await transport.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 500 No\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nno chunk",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + OK,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK,
        b"HTTP/1.1 200\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 299 F\xc3\xbcr sp\xe4ter\r\nX-Name: \xff\xfe\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_a_success_with_any_body_counts(answer: bytes) -> None:
    assert await answers(answering(answer)) == [Accepted()] * 3


@pytest.mark.parametrize("pause", [0.0, 0.01])
async def test_a_body_without_an_end_is_not_waited_for(pause: float) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert await answers(endless(head, b"4\r\nmore\r\n", pause), 2) == [Accepted()] * 2
    assert await answers(endless(b"HTTP/1.1 422 No\r\n\r\n", b"x" * BODY_BYTES_MAX, pause), 1) == [
        Rejected("HTTP 422 Unprocessable Entity")
    ]


async def test_an_early_end_of_a_body_changes_nothing() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")

    assert await answers(talk) == [Accepted()] * 3


@pytest.mark.parametrize(
    "answer",
    [
        b"220 mail.example ready\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46" * 10 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * (2 * HEAD_BYTES_MAX),
    ],
)
async def test_an_answer_that_is_not_http_is_reported(answer: bytes) -> None:
    assert await answers(answering(answer), 2) == [Later("what the receiver answers is not HTTP")] * 2


@pytest.mark.parametrize(
    "talk",
    [
        endless(b"HTTP/1.1 200 OK\r\n", b"X", 0.02),
        endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
        endless(b"HTTP/1.1 100 Continue\r\n\r\n", b"", 0.02),
    ],
    ids=["head", "1xx", "silence"],
)
async def test_a_slow_answer_is_given_up_in_time(talk: Talk) -> None:
    assert await answers(talk, 1) == [Later(f"no answer within {TIMEOUT_SECONDS:g} s")]


async def test_a_receiver_that_hangs_up_is_reported() -> None:
    async def talk(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await request(reader)

    assert await answers(talk) == [Later("the receiver closed the connection without an answer")] * 3


async def test_a_receiver_that_closes_each_connection_after_its_answer_gets_every_event_at_the_first_try() -> None:
    taken = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        taken.append(True)
        writer.write(OK)

    assert await answers(talk, 50) == [Accepted()] * 50
    assert len(taken) == 50


async def test_a_kept_connection_that_is_reset_at_the_next_request_costs_no_try() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK)
        await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()

    assert await answers(talk, 10) == [Accepted()] * 10


async def test_one_half_open_connection_costs_a_try_and_the_next_is_new() -> None:
    """A replaced proxy knows none of the old connections, and closes none of them."""
    old = True

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine = old
        while True:
            await request(reader)
            if mine and not old:
                await asyncio.Event().wait()
            writer.write(OK)

    async with talking(talk) as at:
        transport = HttpTransport(parse(f"http://{at}/"), TIMEOUT_SECONDS)
        (event,) = await some_cloud_events(1)
        assert await asyncio.gather(*(transport.send([event]) for _ in range(5))) == [Accepted()] * 5
        old = False
        assert await transport.send([event]) == Later(f"no answer within {TIMEOUT_SECONDS:g} s")
        for _ in range(5):
            assert await transport.send([event]) == Accepted()
        await transport.close()


async def test_an_answer_before_the_whole_request_was_read_counts() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(10)
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await reader.read()

    assert await answers(talk, 1) == [Rejected("HTTP 413 Request Entity Too Large")]


async def test_the_longer_of_two_requested_pauses_counts() -> None:
    answer = b"HTTP/1.1 503 No\r\nRetry-After: 3\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
    assert await answers(answering(answer), 1) == [Later("HTTP 503 Service Unavailable", 7.0)]


async def test_a_host_that_is_not_there_is_named() -> None:
    transport = HttpTransport(parse("https://me:secret@crm.invalid/?key=secret"), 5.0)
    answer = await transport.send(await some_cloud_events(1))
    assert answer == Later("cannot connect: the host crm.invalid cannot be resolved", reached=False)


async def test_a_fault_of_tls_is_reported(tmp_path: Path) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*self_signed(tmp_path))
    [answer] = await answers(answering(OK), 1, tls)
    assert answer == Later("cannot connect: the certificate is not trusted: self-signed certificate", reached=False)


async def test_a_receiver_that_says_nothing_to_a_greeting_of_tls_is_given_up_in_time() -> None:
    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async with talking(silent) as at:
        transport = HttpTransport(parse(f"https://{at}/"), TIMEOUT_SECONDS)
        answer = await asyncio.wait_for(transport.send(await some_cloud_events(1)), 2)
        assert answer == Later(f"cannot connect within {TIMEOUT_SECONDS:g} s", reached=False)
        await transport.close()


async def test_a_receiver_without_tls_at_https_is_reported() -> None:
    async with talking(answering(OK)) as at:
        transport = HttpTransport(parse(f"https://{at}/"), TIMEOUT_SECONDS)
        answer = await transport.send(await some_cloud_events(1))
        assert isinstance(answer, Later)
        await transport.close()


def self_signed(directory: Path) -> tuple[Path, Path]:
    certificate, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
         "-days", "1", "-subj", "/CN=127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


async def test_a_connection_is_not_kept_once_it_said_something_unasked() -> None:
    connections = itertools.count()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        next(connections)
        while True:
            await request(reader)
            writer.write(OK)
            await asyncio.sleep(0.01)
            writer.write(b"HTTP/1.1 422 For nobody\r\nContent-Length: 0\r\n\r\n")

    async with talking(talk) as at:
        transport = HttpTransport(parse(f"http://{at}/"), 5.0)
        for event in await some_cloud_events(3):
            assert await transport.send([event]) == Accepted()
            await asyncio.sleep(0.05)
        await transport.close()
    assert next(connections) == 3


def test_it_is_the_same_on_uvloop() -> None:
    """The bank runs on it, where there is one."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for answer in (OK, b"HTTP/1.1 204 No Content\r\n\r\nhello"):
            assert runner.run(answers(answering(answer))) == [Accepted()] * 3
        runner.run(test_a_receiver_that_closes_each_connection_after_its_answer_gets_every_event_at_the_first_try())
        runner.run(test_one_half_open_connection_costs_a_try_and_the_next_is_new())
        runner.run(test_a_host_that_is_not_there_is_named())
