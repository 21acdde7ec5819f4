"""Browsers' calls by way of `openbank web`: whatever a bank answers, a page gets."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.rpc import status_pb2
from yarl import URL

from openbank.accounts.v1 import accounts_service_pb2 as messages
from openbank.server import Server
from openbank.web.framing import MESSAGE_BYTES_MAX, message_frame
from openbank.web.server import CHANNEL_OPTIONS, serving
from tests.callers import Caller, until

SERVICE = "/openbank.accounts.v1.AccountsService"
ORIGIN = "https://bank.example"


class Answer(NamedTuple):
    messages: list[bytes]
    trailers: dict[str, str]


class Page:
    """Calls as a browser's gRPC-Web client does."""

    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self.url = f"http://{address}"
        self.session = session

    def post(self, method: str, body: bytes, **headers: str) -> Any:
        sent = {"Content-Type": "application/grpc-web+proto", "X-Grpc-Web": "1"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.session.post(f"{self.url}{SERVICE}/{method}", data=io.BytesIO(body), headers=sent)

    async def call(self, method: str, request: Any, **headers: str) -> Answer:
        async with self.post(method, message_frame(request.SerializeToString()), **headers) as response:
            assert response.status == 200
            return parsed(await response.read())


def parsed(body: bytes) -> Answer:
    answers: list[bytes] = []
    trailers: dict[str, str] = {}
    while body:
        flags, size = body[0], int.from_bytes(body[1:5])
        content, body = body[5 : 5 + size], body[5 + size :]
        if flags == 0x80:
            trailers = dict(line.split(": ", 1) for line in content.decode().splitlines())
        else:
            answers.append(content)
    return Answer(answers, trailers)


async def _message(response: aiohttp.ClientResponse) -> bytes:
    """The next one of a stream."""
    head = await response.content.readexactly(5)
    return await response.content.readexactly(int.from_bytes(head[1:]))


@asynccontextmanager
async def page_of(target: str, *allowed: str, needs_token: bool = False) -> AsyncIterator[Page]:
    async with (
        grpc.aio.insecure_channel(target, options=CHANNEL_OPTIONS) as channel,
        serving(channel, "127.0.0.1", 0, allowed, needs_token=needs_token) as address,
        aiohttp.ClientSession() as session,
    ):
        yield Page(address, session)


@pytest.fixture
async def page(server: Server) -> AsyncIterator[Page]:
    async with page_of(server.address, ORIGIN) as page:
        yield page


async def test_a_call_is_answered_as_by_the_bank(page: Page, bank: Caller) -> None:
    account = (await bank.open()).account
    answer = await page.call("GetAccount", messages.GetAccountRequest(account_id=account.account_id))
    assert answer.trailers["grpc-status"] == "0"
    assert [messages.GetAccountResponse.FromString(one).account for one in answer.messages] == [account]


async def test_a_refusal_has_the_banks_reason(page: Page) -> None:
    answer = await page.call("GetAccount", messages.GetAccountRequest(account_id="nobody's"), x_correlation_id="mine")
    assert answer.messages == []
    assert answer.trailers["grpc-status"] == str(grpc.StatusCode.INVALID_ARGUMENT.value[0])
    details = status_pb2.Status.FromString(base64.b64decode(answer.trailers["grpc-status-details-bin"]))
    assert b"ERROR_REASON_INVALID_ID" in details.SerializeToString()
    assert answer.trailers["x-correlation-id"] == "mine"


async def test_events_arrive_as_they_come(page: Page, bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    request = messages.WatchAccountEventsRequest(account_ids=[account_id], live=Empty())
    body = message_frame(request.SerializeToString())
    async with page.post("WatchAccountEvents", body) as response:
        await _message(response)
        await bank.deposit(account_id, "1")
        events = messages.WatchAccountEventsResponse.FromString(await _message(response)).events
    assert [event.revision for event in events] == [2]


async def test_a_browser_that_leaves_ends_its_watch(page: Page, server: Server) -> None:
    body = message_frame(messages.WatchAccountEventsRequest(live=Empty()).SerializeToString())
    response = await page.post("WatchAccountEvents", body)
    await response.content.readexactly(5)
    tasks = len(asyncio.all_tasks())
    response.close()
    await until(lambda: len(asyncio.all_tasks()) < tasks)


async def test_a_deadline_is_the_callers(page: Page) -> None:
    answer = await page.call(
        "WatchAccountEvents", messages.WatchAccountEventsRequest(live=Empty()), grpc_timeout="100m"
    )
    assert answer.trailers["grpc-status"] == str(grpc.StatusCode.DEADLINE_EXCEEDED.value[0])


async def test_a_bank_that_is_away_is_unavailable() -> None:
    async with page_of("127.0.0.1:1") as page:
        answer = await page.call("GetAccount", messages.GetAccountRequest(account_id="a"))
    assert answer.trailers["grpc-status"] == str(grpc.StatusCode.UNAVAILABLE.value[0])


@pytest.mark.parametrize("body", [b"", b"\0\0\0\0", b"\1\0\0\0\0", b"\x80\0\0\0\0", b"\0\0\0\0\2x", b"\0\0\0\0\0y"])
async def test_a_body_that_is_not_a_frame_is_refused(page: Page, body: bytes) -> None:
    async with page.post("GetAccount", body) as response:
        answer = parsed(await response.read())
    assert answer.trailers["grpc-status"] == str(grpc.StatusCode.INVALID_ARGUMENT.value[0])


async def test_a_message_may_not_be_larger_than_4_mib(page: Page) -> None:
    async with page.post("GetAccount", message_frame(bytes(MESSAGE_BYTES_MAX + 1))) as response:
        answer = parsed(await response.read())
    assert answer.trailers["grpc-status"] == str(grpc.StatusCode.RESOURCE_EXHAUSTED.value[0])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Type": "application/json"}, 415),
        ({"Content_Type": "application/grpc-web-text"}, 415),
        ({"Origin": "https://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "rebound.example"}, 403),
    ],
)
async def test_other_pages_and_forms_are_refused(page: Page, headers: dict[str, str], status: int) -> None:
    async with page.post("GetAccount", message_frame(b""), **headers) as response:
        assert response.status == status
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize("path", ["/a%20b/c", "/%C3%A4/c", "/a/c%0d%0a", "/a/b/c", "//", "/style.css/%2e%2e"])
async def test_a_path_that_is_not_a_method_is_not_forwarded(page: Page, path: str) -> None:
    headers = {"Content-Type": "application/grpc-web+proto"}
    url = URL(f"{page.url}{path}", encoded=True)
    async with page.session.post(url, data=message_frame(b""), headers=headers) as response:
        assert response.status in (404, 405)


async def test_the_bank_answers_a_call_of_an_unknown_method(page: Page) -> None:
    async with page.post("Nothing", message_frame(b"")) as response:
        answer = parsed(await response.read())
    assert answer.trailers["grpc-status"] == str(grpc.StatusCode.UNIMPLEMENTED.value[0])


async def test_a_page_of_a_named_origin_may_call(page: Page) -> None:
    preflight = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    async with page.session.options(f"{page.url}{SERVICE}/GetAccount", headers=preflight) as response:
        assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (204, ORIGIN)
    async with page.post("GetAccount", message_frame(b""), Origin=ORIGIN) as response:
        assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert parsed(await response.read()).trailers["grpc-status"] == "3"


async def test_callers_cannot_use_the_identity_of_the_bridge(server: Server) -> None:
    request = messages.GetAccountRequest(account_id="a")
    async with page_of(server.address, needs_token=True) as page:
        without = await page.call("GetAccount", request)
        with_one = await page.call("GetAccount", request, Authorization="Bearer t")
    assert without.trailers["grpc-status"] == str(grpc.StatusCode.UNAUTHENTICATED.value[0])
    assert with_one.trailers["grpc-status"] == str(grpc.StatusCode.NOT_FOUND.value[0])


async def test_the_page_runs_no_foreign_code(page: Page) -> None:
    async with page.session.get(page.url) as response:
        assert response.status == 200
        policy = response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "<script>" not in await response.text()
