"""What EventStoreDB refuses for good: a start ends at once, and says what to write instead."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from grpc import StatusCode

from openbank.app import serving
from openbank.config import Settings
from openbank.eventstore.errors import OutcomeUnknown, StoreRefused, StoreUnavailable
from openbank.eventstore.eventstoredb import EventStoreDBEventStore
from openbank.eventstore.port import NO_STREAM
from tests.callers import Caller, refused
from tests.certificates import Authority
from tests.eventstore.conformance import some_event
from tests.stand_ins.eventstoredb.faults import Kind, Operation
from tests.stand_ins.eventstoredb.server import EventStoreDB
from tests.stand_ins.process import eventstoredb

LONG_SECONDS = 600
"""What a start would wait, if it waited."""


@pytest.fixture
async def server() -> AsyncIterator[EventStoreDB]:
    async with eventstoredb() as server:
        yield server


@asynccontextmanager
async def tls_server(directory: Path) -> AsyncIterator[str]:
    """The address of a server with TLS, whose certificate nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*Authority(directory).sign("server"))
    context.set_alpn_protocols(["h2"])
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context) as listening:
        yield f"localhost:{listening.sockets[0].getsockname()[1]}"


async def refusal_of_start(uri: str) -> str:
    async with asyncio.timeout(60):
        with pytest.raises(StoreRefused) as caught:
            await EventStoreDBEventStore.open(uri, wait_seconds=LONG_SECONDS)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "on", "prefix", "why"),
    [
        ("strange", "read", "", "it wants a user and password: esdb://USER:PASSWORD@HOST:PORT"),
        ("deny", "read", "$all", "access denied: the user of the address must have the right to read $all"),
        ("deny", "append", "", "and to read and append to the bank's streams"),
        ("strange", "append", "", "it wants a user and password"),
    ],
)
async def test_a_start_with_rejected_credentials_ends_at_once_and_writes_nothing(
    server: EventStoreDB, kind: Kind, on: Operation, prefix: str, why: str
) -> None:
    server.faults.add(kind, on=(on,), prefix=prefix)
    told = await refusal_of_start(server.uri)
    assert told.startswith(f"EventStoreDB at {server.address}: ")
    assert why in told
    assert [record.stream for record in server.log.records if not record.stream.startswith("$")] == []


async def test_wrong_credentials_are_distinguished_from_none_and_are_not_shown(server: EventStoreDB) -> None:
    server.faults.add("strange", on=("read",))
    told = await refusal_of_start(f"esdb://somebody:s3cret@{server.address}?Tls=false")
    assert told == f"EventStoreDB at {server.address}: it does not accept the user and password of the address"


async def test_tls_on_a_server_without_tls_is_reported(server: EventStoreDB) -> None:
    told = await refusal_of_start(f"esdb://somebody:s3cret@{server.address}")
    assert told == f"EventStoreDB at {server.address}: {server.address} is without TLS: write Tls=false"


async def test_a_call_without_tls_to_a_server_with_tls_is_reported(tmp_path: Path) -> None:
    async with tls_server(tmp_path) as address:
        told = await refusal_of_start(f"esdb://{address}?Tls=false")
    assert told.endswith(f"{address} expects TLS: write Tls=true, with a user and password, instead of Tls=false")


async def test_the_seed_that_differs_is_named(server: EventStoreDB, tmp_path: Path) -> None:
    async with tls_server(tmp_path) as address:
        told = await refusal_of_start(f"esdb://127.0.0.1:1,{address}?Tls=false&MaxDiscoverAttempts=1")
    assert f"{address} expects TLS" in told


async def test_an_untrusted_certificate_is_reported(tmp_path: Path) -> None:
    async with tls_server(tmp_path) as address:
        told = await refusal_of_start(f"esdb://somebody:s3cret@{address}")
    assert "its certificate is not trusted: write TlsCaFile=FILE" in told


async def test_an_address_without_user_and_without_tls_false_says_what_to_write() -> None:
    told = await refusal_of_start("esdb://127.0.0.1:2113")
    assert told.startswith("not an address of EventStoreDB: TLS needs a user and password: esdb://USER:PASSWORD@")
    assert "Tls=false" in told


@pytest.mark.parametrize("kind", ["strange", "deny"])
async def test_an_append_that_is_refused_for_its_credentials_was_surely_not_made(
    server: EventStoreDB, kind: Kind
) -> None:
    store = await EventStoreDBEventStore.open(server.uri, settle_seconds=LONG_SECONDS)
    await server.restart()
    store.be_patient(LONG_SECONDS)
    await store.head()
    store.be_patient(0)
    fault = server.faults.add(kind)
    async with asyncio.timeout(60):
        while not fault.struck:
            with pytest.raises(StoreUnavailable):
                await store.append("account-1", NO_STREAM, [some_event()])
    server.faults.clear()
    assert await store.read_stream("account-1") == []
    await store.append("account-1", NO_STREAM, [some_event()])
    await store.close()


async def test_an_append_that_may_have_been_made_before_stays_unknown(server: EventStoreDB) -> None:
    store = await EventStoreDBEventStore.open(server.uri, settle_seconds=1)
    server.faults.add("cut_before", times=1, prefix="account-")
    server.faults.add("strange", on=("append", "read"))
    with pytest.raises(OutcomeUnknown):
        await store.append("account-1", NO_STREAM, [some_event()])
    server.faults.clear()
    await store.close()


async def test_a_deposit_that_is_refused_for_its_credentials_is_unavailable_and_the_log_says_why(
    server: EventStoreDB, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(listen="127.0.0.1:0", data=tmp_path / "data", event_store=server.uri)
    async with serving(settings) as running, Caller(running.address) as bank:
        account_id = (await bank.open()).account.account_id
        server.faults.add("deny", prefix="account-")
        told = await refused(bank.deposit(account_id, "1"))
        assert (told.code, told.reason) == (StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        assert "access denied" not in told.message
        server.faults.clear()
    causes = [getattr(record, "values", {}).get("cause", "") for record in caplog.records]
    assert any("must have the right" in str(cause) for cause in causes)
