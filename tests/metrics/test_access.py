"""Callers, the certificate, and changes of files, in numbers."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import grpc.aio
import pytest

from openbank import reloading
from openbank.app import serving
from openbank.persons.v1 import persons_service_pb2 as persons
from tests.access.callers import Keys, ask, write_access
from tests.back_ends import BackEnd
from tests.certificates import Authority
from tests.metrics.scraping import samples, value

LIST = "openbank.persons.v1.PersonsService/ListPersons"
REQUEST = persons.ListPersonsRequest()


@pytest.fixture(autouse=True)
def settled_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloading, "SETTLE_SECONDS", 0.02)


async def until_failed(metrics: str, file: str) -> None:
    async with asyncio.timeout(5):
        while await value(metrics, "openbank_reload_failures_total", file) != 1:
            pass


async def test_callers_are_counted_by_how_they_are_known(back_end: BackEnd, tmp_path: Path) -> None:
    keys = Keys()
    old = "expires = 2020-01-01T00:00:00Z"
    access = write_access(tmp_path / "access.toml", keys.entry("web", "teller"), keys.entry("old", "teller", more=old))
    settings = back_end.settings(tmp_path / "data", metrics_listen="127.0.0.1:0", access=access)
    async with serving(settings) as server, grpc.aio.insecure_channel(server.address) as channel:
        for _ in range(2):
            assert (await ask(channel, LIST, REQUEST, keys["web"].key)).reason == "OK"
        for token, reason in ((None, "TOKEN_MISSING"), ("x", "TOKEN_INVALID"), (keys["old"].key, "TOKEN_EXPIRED")):
            assert (await ask(channel, LIST, REQUEST, token)).reason == reason
        counted = await samples(server.metrics_address, "openbank_authentications_total")
        assert {outcome: count for (outcome,), count in counted.items() if count} == {
            "key": 2,
            "TOKEN_MISSING": 1,
            "TOKEN_INVALID": 1,
            "TOKEN_EXPIRED": 1,
        }
        assert await samples(server.metrics_address, "openbank_jwks_age_seconds") == {}
        assert await samples(server.metrics_address, "openbank_certificate_not_after_seconds") == {}
        assert await samples(server.metrics_address, "openbank_reload_failures_total") == {("access",): 0}
        access.write_text("version = 2")
        server.reloader.look_now()
        await until_failed(server.metrics_address, "access")


async def test_the_metric_has_the_end_of_the_current_certificate(back_end: BackEnd, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.sign("bank", days=1)
    settings = back_end.settings(tmp_path / "data", metrics_listen="127.0.0.1:0", tls_cert=pair.cert, tls_key=pair.key)
    now = datetime.now(UTC).timestamp()
    async with serving(settings) as server:
        not_after = await value(server.metrics_address, "openbank_certificate_not_after_seconds")
        assert not_after == pytest.approx(now + 86_400, abs=60)
        pair.cert.write_bytes(b"nonsense")
        server.reloader.look_now()
        await until_failed(server.metrics_address, "certificate")
        assert await value(server.metrics_address, "openbank_certificate_not_after_seconds") == not_after
