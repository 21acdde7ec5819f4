"""A bank whose views must be built first: callers and operators learn how long that takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode
from pymongo import MongoClient

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.config import Settings, is_embedded
from openbank.server import Server
from openbank.views import progress
from openbank.views.projector import Projector
from tests.back_ends import BackEnd
from tests.callers import Caller, refused, until
from tests.servers import run_openbank

EVENTS = 300
WAIT_SECONDS = 20


class Brake:
    """Each batch of the projector is one event, and takes so long, until it is released."""

    seconds = 0.2

    def slow_down(self, project: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        async def slowly(*arguments: Any) -> None:
            await asyncio.sleep(self.seconds)
            await project(*arguments)

        return slowly


@pytest.fixture
def brake(monkeypatch: pytest.MonkeyPatch) -> Brake:
    from openbank.views.mongo import MongoViews
    from openbank.views.sqlite import SqliteViews

    brake = Brake()
    _, *others = Projector.__init__.__defaults__ or ()
    monkeypatch.setattr(Projector.__init__, "__defaults__", (1, *others))
    for views in (SqliteViews, MongoViews):
        monkeypatch.setattr(views, "project", brake.slow_down(views.project))
    for name, seconds in {"SAMPLE_SECONDS": 0.05, "RATE_SECONDS_MIN": 0.5, "SAY_SECONDS": 0.2}.items():
        monkeypatch.setattr(progress, name, seconds)
    return brake


@pytest.fixture
def settings(back_end: BackEnd, tmp_path: Path) -> Settings:
    return back_end.settings(tmp_path / "data", drain_seconds=1, view_wait_seconds=WAIT_SECONDS)


@pytest.fixture
async def account_id(settings: Settings) -> str:
    """The id of an account with a history, whose views are lost."""
    async with serving(settings) as server, Caller(server.address) as bank:
        account_id = (await bank.open()).account.account_id
        for _ in range(3):
            await asyncio.gather(*(bank.deposit(account_id, "1") for _ in range(EVENTS // 3)))
    for file in settings.data.glob("views.db*"):
        file.unlink()
    if not is_embedded(settings.views):
        with MongoClient[dict[str, object]](settings.views) as client:
            client.drop_database(client.get_default_database())
    return account_id


@pytest.fixture
async def server(account_id: str, brake: Brake, settings: Settings) -> AsyncIterator[Server]:
    async with serving(settings) as running:
        yield running
        brake.seconds = 0


async def test_a_read_that_would_wait_in_vain_learns_when_to_ask_again(
    server: Server, bank: Caller, brake: Brake, account_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "openbank.views.progress")
    await until(lambda: any("per_second" in values for values in said(caplog)), seconds_max=20)
    request = accounts.GetAccountRequest(account_id="none")
    async with asyncio.timeout(WAIT_SECONDS / 2):
        told = await refused(bank.accounts.GetAccount(request))
    assert (told.code, told.reason) == (StatusCode.UNAVAILABLE, "VIEW_BEHIND")
    assert told.details["RetryInfo"].retry_delay.ToSeconds() >= WAIT_SECONDS
    assert told.metadata == {"retrySeconds": str(told.details["RetryInfo"].retry_delay.ToSeconds())}
    assert said(caplog)[-1].keys() == {"position", "of", "percent", "per_second", "seconds_left"}

    paid = await bank.deposit(account_id, "1")
    assert server.not_serving == ["openbank.queries"]
    code, out, _ = await run_openbank("health", "--target", server.address)
    assert code == 0
    assert "openbank.commands    SERVING\n" in out
    reason = "the views are catching up with the log, cannot be reached, or are of another log"
    assert f"openbank.queries     NOT_SERVING  {reason}\n" in out

    brake.seconds = 0
    async with asyncio.timeout(30):
        await server.ready()
    assert await bank.balance(account_id, paid.consistency_token) == f"{EVENTS + 1}.00 USD"
    await until(lambda: any(record.message == "views have caught up" for record in caplog.records))


def said(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [record.values for record in caplog.records if record.message == "views catch up"]  # type: ignore[attr-defined]
