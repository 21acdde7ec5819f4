"""The real Prometheus and its promtool: alerts, and a bank under load that is scraped."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from google.protobuf.empty_pb2 import Empty

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.server import Server
from tests.callers import Caller, refused, request_id
from tests.metrics.deployed import PROMETHEUS, RULES, RULES_TEST, alerts, asked_for, expressions, series_names
from tests.metrics.scraping import get

QUIET = {
    "openbank_lease_held",
    "openbank_lease_changes_total",
    "openbank_sink_lag_seconds",
    "openbank_sink_lag_events",
    "openbank_sink_parked",
    "openbank_sink_oldest_parked_seconds",
    "openbank_sink_deliveries_total",
    "openbank_certificate_not_after_seconds",
    "openbank_jwks_age_seconds",
    "openbank_reload_failures_total",
}
"""Absent from an embedded bank without sinks, TLS and an access file."""
LIVE = accounts.WatchAccountEventsRequest(live=Empty(), stop_when_caught_up=True)


@pytest.fixture(scope="module", autouse=True)
def programs() -> None:
    missing = [program for program in ("prometheus", "promtool") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"needs {' and '.join(missing)}: apt-get install prometheus")


async def promtool(*arguments: str) -> str:
    """What it prints; it must succeed."""
    process = await asyncio.create_subprocess_exec(
        "promtool", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_the_rules_and_the_example_are_valid() -> None:
    assert f"{len(alerts())} rules found" in await promtool("check", "rules", str(RULES))
    await promtool("check", "config", str(PROMETHEUS / "prometheus.yml"))


async def test_each_alert_is_raised_when_it_should_be() -> None:
    assert "SUCCESS" in await promtool("test", "rules", str(RULES_TEST))


async def test_the_older_format_passes_the_linter(metrics: str, tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        "promtool", "check", "metrics", stdin=asyncio.subprocess.PIPE, stdout=-1, stderr=-2
    )
    out, _ = await process.communicate((await get(metrics, "/metrics", "text/plain")).text.encode())
    assert (process.returncode, out) == (0, b"")


@asynccontextmanager
async def prometheus(directory: Path, target: str) -> AsyncIterator[str]:
    """One that scrapes the target every half second; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = directory / "prometheus.yml"
    config.write_text(
        f"""
global: {{scrape_interval: 500ms, evaluation_interval: 500ms}}
rule_files: ["{RULES}"]
scrape_configs:
  - job_name: openbank
    static_configs: [{{targets: ["{target}"]}}]
"""
    )
    process = await asyncio.create_subprocess_exec(
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={directory / 'series'}",
        f"--web.listen-address={address}",
        "--log.level=error",
    )
    try:
        yield address
    finally:
        process.terminate()
        await process.wait()


async def ask(address: str, path: str, **parameters: str) -> Any:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{address}/api/v1/{path}", params=parameters) as response,
    ):
        answer = await response.json()
    assert answer["status"] == "success", answer
    return answer["data"]


async def until_scraped(address: str) -> None:
    """Three times: a rate needs two."""
    async with asyncio.timeout(20):
        while True:
            try:
                counted = await ask(address, "query", query='count_over_time(up{job="openbank"}[1m])')
            except aiohttp.ClientError:
                counted = {"result": []}
            if counted["result"] and int(counted["result"][0]["value"][1]) >= 3:
                return
            await asyncio.sleep(0.1)


async def load(bank: Caller) -> None:
    """A little of everything, until cancelled."""
    account_id = (await bank.open()).account.account_id
    watch = bank.accounts.WatchAccountEvents(accounts.WatchAccountEventsRequest(beginning=Empty()))
    await watch.read()
    while True:
        id = request_id()
        await asyncio.gather(*(bank.deposit(account_id, "1") for _ in range(10)))
        paid = await bank.deposit(account_id, "1", request_id=id)
        await bank.deposit(account_id, "1", request_id=id)
        await bank.balance(account_id, paid.consistency_token)
        await refused(bank.deposit("nobody", "1"))
        async for _ in bank.accounts.WatchAccountEvents(LIVE):
            pass


async def test_it_scrapes_a_bank_under_load(server: Server, bank: Caller, metrics: str, tmp_path: Path) -> None:
    loading = asyncio.create_task(load(bank))
    async with prometheus(tmp_path, metrics) as address:
        await until_scraped(address)
        [target] = (await ask(address, "targets"))["activeTargets"]
        assert (target["health"], target["lastError"]) == ("up", "")
        names = {name for name in await ask(address, "label/__name__/values") if name.startswith(("openbank_", "rpc_"))}
        assert names == series_names() - QUIET
        for expression in expressions():
            found = await ask(address, "query", query=expression)
            assert found["result"] or asked_for(expression) & QUIET, expression
        [group] = (await ask(address, "rules"))["groups"]
        assert [rule["name"] for rule in group["rules"]] == alerts()
        assert {rule["health"] for rule in group["rules"]} == {"ok"}
        assert [alert for alert in (await ask(address, "alerts"))["alerts"] if alert["state"] == "firing"] == []
    assert not loading.done()
    loading.cancel()
