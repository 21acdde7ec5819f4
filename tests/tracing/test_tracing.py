"""Spans of traced calls, as a collector gets them."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.config import BadSetting, settings
from openbank.extras import ExtraMissing
from openbank.sinks.address import parse_all
from openbank.tracing import tracer
from tests.back_ends import BackEnd
from tests.callers import Caller, refused, until, usd
from tests.sinks.processes import HttpReceiver
from tests.tracing.collector import Collector, attributes, collecting

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
SAMPLED = (("traceparent", f"00-{TRACE}-{SPAN}-01"),)
NOT_SAMPLED = (("traceparent", f"00-{TRACE}-{SPAN}-00"),)
DEPOSIT = "openbank.accounts.v1.AccountsService/Deposit"


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as collector:
        yield collector


@asynccontextmanager
async def bank_traced_by(collector: Collector, back_end: BackEnd, data: Path, *sinks: str) -> AsyncIterator[Caller]:
    """At its end the bank sends its last spans."""
    chosen = back_end.settings(data, trace_endpoint=f"{collector.url}/v1/traces", sink=parse_all(list(sinks)))
    async with serving(chosen) as server, Caller(server.address) as bank:
        yield bank


async def deposit(bank: Caller, account_id: str, metadata: Any) -> Any:
    request = accounts.DepositRequest(account_id=account_id, amount=usd("1"))
    return await bank.accounts.Deposit(request, metadata=metadata)


async def test_a_sampled_call_has_a_span_and_its_append_another(
    collector: Collector, back_end: BackEnd, tmp_path: Path
) -> None:
    async with bank_traced_by(collector, back_end, tmp_path) as bank:
        account_id = (await bank.open()).account.account_id
        await deposit(bank, account_id, SAMPLED)
    [call] = collector.named(DEPOSIT)
    assert (call.trace_id.hex(), call.parent_span_id.hex()) == (TRACE, SPAN)
    assert attributes(call) == {"rpc.system.name": "grpc", "rpc.method": DEPOSIT, "rpc.response.status_code": "OK"}
    [append] = collector.named("append")
    assert append.parent_span_id == call.span_id
    assert call.start_time_unix_nano <= append.start_time_unix_nano
    assert append.start_time_unix_nano < append.end_time_unix_nano <= call.end_time_unix_nano
    assert collector.resources[0]["service.name"] == "openbank"
    assert len(collector.spans) == 2


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        NOT_SAMPLED,
        (("traceparent", "00-x"),),
        (("traceparent", f"00-{'0' * 32}-{SPAN}-01"),),
        (("x-correlation-id", f"00-{TRACE}-{SPAN}-01"),),
    ],
    ids=["none", "not sampled", "malformed", "no trace", "a correlation id"],
)
async def test_a_call_that_is_not_sampled_has_none(
    collector: Collector, back_end: BackEnd, tmp_path: Path, metadata: Any
) -> None:
    async with bank_traced_by(collector, back_end, tmp_path) as bank:
        account_id = (await bank.open()).account.account_id
        await deposit(bank, account_id, metadata)
    assert collector.spans == []


async def test_only_the_traced_command_of_a_shared_append_has_a_span(
    collector: Collector, back_end: BackEnd, tmp_path: Path
) -> None:
    async with bank_traced_by(collector, back_end, tmp_path) as bank:
        account_id = (await bank.open()).account.account_id
        await deposit(bank, account_id, SAMPLED)
        await deposit(bank, account_id, NOT_SAMPLED)
        await deposit(bank, account_id, ())
    assert len(collector.named("append")) == 1
    assert len(collector.spans) == 2


async def test_a_refused_call_says_so(collector: Collector, back_end: BackEnd, tmp_path: Path) -> None:
    async with bank_traced_by(collector, back_end, tmp_path) as bank:
        await refused(deposit(bank, "nobody", SAMPLED))
    [call] = collector.spans
    assert attributes(call)["rpc.response.status_code"] == "NOT_FOUND"
    # The caller's affair, and no failure of the server.
    assert call.status.code == call.status.STATUS_CODE_UNSET


async def test_a_watch_has_a_span_for_its_opening(collector: Collector, back_end: BackEnd, tmp_path: Path) -> None:
    async with bank_traced_by(collector, back_end, tmp_path) as bank:
        account_id = (await bank.open()).account.account_id
        request = accounts.WatchAccountEventsRequest(beginning=Empty())
        watch = bank.accounts.WatchAccountEvents(request, metadata=SAMPLED)
        await watch.read()
        deposited = (await bank.deposit(account_id, "1")).event_id
        while deposited not in [event.event_id for event in (await watch.read()).events]:
            pass
        last = await bank.accounts.GetAccount(accounts.GetAccountRequest(account_id=account_id), metadata=SAMPLED)
        assert last.account.account_id == account_id
        watch.cancel()
    [opening] = collector.named("openbank.accounts.v1.AccountsService/WatchAccountEvents")
    [later] = collector.named("openbank.accounts.v1.AccountsService/GetAccount")
    assert opening.end_time_unix_nano < later.start_time_unix_nano
    assert attributes(opening)["rpc.response.status_code"] == "OK"


async def test_a_delivery_of_its_events_belongs_to_the_trace(
    collector: Collector, back_end: BackEnd, tmp_path: Path
) -> None:
    with HttpReceiver(tmp_path / "received") as receiver:
        data, sink = tmp_path / "data", f"crm={receiver.uri}/events"
        async with bank_traced_by(collector, back_end, data, sink) as bank:
            account_id = (await bank.open()).account.account_id
            event_id = (await deposit(bank, account_id, SAMPLED)).event_id
            await until(lambda: event_id in [one.id for one in receiver.received])
            # The next event is sent once the answer for that one is there.
            last = (await bank.deposit(account_id, "1")).event_id
            await until(lambda: last in [one.id for one in receiver.received])
    [delivery] = collector.named("deliver")
    assert (delivery.trace_id.hex(), delivery.parent_span_id.hex()) == (TRACE, SPAN)
    assert attributes(delivery) == {
        "messaging.destination.name": "crm",
        "cloudevents.event_id": event_id,
        "cloudevents.event_type": "money.deposited.v1",
    }


async def test_a_collector_that_is_away_delays_no_call(
    back_end: BackEnd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracer, "EXPORT_SECONDS_MAX", 0.5)
    nobody = Collector()
    nobody.url = "http://127.0.0.1:1"
    async with bank_traced_by(nobody, back_end, tmp_path) as bank:
        account_id = (await bank.open()).account.account_id
        for _ in range(3):
            await deposit(bank, account_id, SAMPLED)
        assert (
            await bank.balance(account_id, (await deposit(bank, account_id, SAMPLED)).consistency_token) == "4.00 USD"
        )


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
        ("HTTPS://collector.example/", "https://collector.example/v1/traces"),
        ("https://collector.example/otlp/v1/traces", "https://collector.example/otlp/v1/traces"),
    ],
)
def test_the_path_of_the_protocol_is_the_default(given: str, meant: str) -> None:
    assert settings({"trace_endpoint": given}, {}).trace_endpoint == meant


@pytest.mark.parametrize(
    "given", ["127.0.0.1:4318", "grpc://x", "http://", "http://me:secret@x", "http://x/?key=secret"]
)
def test_a_bad_collector_url_is_refused_without_its_secrets(given: str) -> None:
    with pytest.raises(BadSetting, match=r"^--trace-endpoint must ") as refusal:
        settings({"trace_endpoint": given}, {})
    assert "secret@" not in str(refusal.value)
    assert "=secret" not in str(refusal.value)


async def test_a_missing_extra_is_named(back_end: BackEnd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith(("opentelemetry", "openbank.tracing.tracer"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ExtraMissing, match=r"^--trace-endpoint needs the extra otel: pip install 'openbank\[otel\]'$"):
        async with serving(back_end.settings(tmp_path, trace_endpoint="http://127.0.0.1:1/v1/traces")):
            pass
