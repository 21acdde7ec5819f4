"""The port for operators: what it answers, when, and to whom."""

from __future__ import annotations

import asyncio
import re
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf.empty_pb2 import Empty

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import CANNOT_START, serving
from openbank.config import BadSetting, Settings, settings
from openbank.metrics import endpoint
from openbank.metrics.families import FAMILIES
from openbank.ports import CannotListen, check_ports
from openbank.server import Server
from openbank.views.sqlite import SqliteViews
from tests.back_ends import BackEnd
from tests.callers import Caller, until
from tests.metrics.scraping import PROMETHEUS, families, get
from tests.servers import ServerProcess, run_openbank


async def test_the_endpoint_reports_that_the_bank_lives_and_serves(server: Server, metrics: str) -> None:
    await server.ready()
    assert [(await get(metrics, path)).status for path in ("/livez", "/readyz", "/metrics")] == [200, 200, 200]


async def test_a_bank_that_catches_up_lives_but_is_not_ready(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SqliteViews, "available", False)
    async with serving(settings) as server:
        assert (await get(server.metrics_address, "/livez")).status == 200
        assert (await get(server.metrics_address, "/readyz")).status == 503
        assert (await get(server.metrics_address, "/metrics")).status == 200
        monkeypatch.setattr(SqliteViews, "available", True)
        await server.ready()
        assert (await get(server.metrics_address, "/readyz")).status == 200


async def test_a_bank_that_starts_lives_but_is_not_ready() -> None:
    async with endpoint.listening("127.0.0.1:0") as starting:
        assert (await get(starting.address, "/livez")).status == 200
        assert (await get(starting.address, "/readyz")).status == 503
        assert (await get(starting.address, "/metrics")).status == 503


async def test_a_bank_that_drains_lives_but_is_not_ready(settings: Settings) -> None:
    async with serving(settings) as server, Caller(server.address) as bank:
        await server.ready()
        watch = bank.accounts.WatchAccountEvents(accounts.WatchAccountEventsRequest(beginning=Empty()))
        await watch.read()
        waiting = asyncio.Event()
        stopping = asyncio.create_task(server.stop(waiting.wait))  # type: ignore[arg-type]
        await until(lambda: bool(server.not_serving))
        assert (await get(server.metrics_address, "/livez")).status == 200
        assert (await get(server.metrics_address, "/readyz")).status == 503
        waiting.set()
        await stopping


async def test_every_family_is_in_the_text_that_prometheus_asks_for(metrics: str) -> None:
    answered = await get(metrics, "/metrics", PROMETHEUS)
    assert answered.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert answered.text.endswith("# EOF\n")
    found = {family.name: (family.type, family.documentation) for family in await families(metrics)}
    assert found == {one.name.removesuffix("_total"): (one.type.value, one.help) for one in FAMILIES}


@pytest.mark.parametrize("accept", ["text/plain", "text/plain;version=0.0.4"])
async def test_it_speaks_the_older_format_too(metrics: str, accept: str) -> None:
    answered = await get(metrics, "/metrics", accept)
    assert answered.content_type.startswith("text/plain; version=0.0.4")
    assert "# EOF" not in answered.text
    assert {one.name for one in await families(metrics, accept)} == {
        one.name.removesuffix("_total") for one in FAMILIES
    }


@pytest.mark.parametrize("accept", ["*/*", "application/openmetrics-text;version=x\t;escaping=y", "text/html", ""])
async def test_any_other_accepted_format_gets_openmetrics(metrics: str, accept: str) -> None:
    assert (await get(metrics, "/metrics", accept)).content_type.startswith("application/openmetrics-text")


async def test_other_paths_and_methods_are_refused(metrics: str) -> None:
    assert (await get(metrics, "/")).status == 404
    assert b" 405 " in await said(metrics, b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
    assert b" 400 " in await said(metrics, b"nonsense\r\n\r\n")


async def test_a_request_too_large_is_not_kept(metrics: str) -> None:
    answer = await said(metrics, b"GET / HTTP/1.1\r\nX: " + (endpoint.HEAD_BYTES_MAX + 1) * b"x")
    assert b" 431 " in answer or not answer


async def test_a_head_request_gets_no_text(metrics: str) -> None:
    head = b"HEAD /livez HTTP/1.1\r\nHost: x\r\n"
    answer = await said(metrics, head + b"\r\n" + head + b"Connection: close\r\n\r\n")
    assert answer.count(b" 200 ") == 2
    assert b"ok" not in answer


async def test_silent_connections_do_not_keep_scrapers_out(metrics: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "REQUEST_SECONDS_MAX", 0.2)
    host, _, port = metrics.rpartition(":")
    silent = [await asyncio.open_connection(host, int(port)) for _ in range(endpoint.CONNECTIONS_MAX)]
    for reader, writer in silent:
        assert await reader.read() == b""
        writer.close()
    assert (await get(metrics, "/livez")).status == 200


async def test_a_bank_that_stops_closes_what_scrapers_keep_open(tmp_path: Path) -> None:
    bank = ServerProcess(tmp_path, "--metrics-listen", "127.0.0.1:0")
    await bank.start()
    [served] = bank.said("metrics are served")
    host, _, port = served["listen"].rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b" 200 " in await reader.readline()
    assert await bank.stop() == 0
    assert b"HTTP" not in await reader.read()
    writer.close()
    assert bank.other_output == []
    assert [line for line in bank.lines if line["level"] in ("warning", "error")] == []


async def said(address: str, request: bytes) -> bytes:
    """All that is answered, to the end of the connection."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_port_that_is_taken_is_named(back_end: BackEnd, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, _, error = await run_openbank(
            "serve", "--listen", "127.0.0.1:0", "--data", str(tmp_path), "--metrics-listen", address
        )
    assert code == 2
    assert f"cannot serve metrics on {address}: Address already in use" in error
    assert "Traceback" not in error


async def test_a_host_that_does_not_exist_is_named(tmp_path: Path) -> None:
    chosen = Settings(listen="127.0.0.1:0", data=tmp_path, metrics_listen="no such host:1")
    with pytest.raises(CANNOT_START, match="cannot listen on no such host:1: "):
        async with serving(chosen):
            pass


@pytest.mark.parametrize("address", ["127.0.0.1:9464", "127.9.9.9:0", "localhost:1", "[::1]:9464"])
def test_it_may_listen_on_this_machine(address: str) -> None:
    check_ports(settings({"metrics_listen": address}, {}))


@pytest.mark.parametrize("address", ["0.0.0.0:9464", "[::]:9464", "10.0.0.1:9464"])
def test_it_may_listen_beyond_it_only_where_that_is_wanted(address: str) -> None:
    chosen = settings({"metrics_listen": address}, {})
    with pytest.raises(CannotListen, match=f"^--metrics-listen {re.escape(address)} can be reached by other machines"):
        check_ports(chosen)
    check_ports(replace(chosen, insecure=True))


@pytest.mark.parametrize("address", ["9464", "127.0.0.1", "127.0.0.1:x"])
def test_a_malformed_address_is_refused(address: str) -> None:
    with pytest.raises(BadSetting, match=r"^--metrics-listen must be HOST:PORT"):
        settings({"metrics_listen": address}, {})


def test_a_bank_without_metrics_loads_nothing_for_them() -> None:
    look = "import sys; from openbank import app; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", look], text=True).split()
    assert "openbank.app" in loaded
    assert {"prometheus_client", "openbank.metrics.endpoint"}.isdisjoint(loaded)
