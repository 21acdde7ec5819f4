"""A bank with an access file, from outside: who gets in, what its log says, and how the file is changed under it."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc.aio
import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest
from grpc_health.v1.health_pb2_grpc import HealthStub

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.persons.v1 import persons_service_pb2 as persons
from tests.access.callers import Asked, Keys, ask, write_access
from tests.callers import john_doe, until
from tests.servers import ServerProcess, run_openbank

REGISTER = "openbank.persons.v1.PersonsService/RegisterPerson"
LIST = "openbank.persons.v1.PersonsService/ListPersons"
NOT_USED = "a changed file is not used, the former one is"
GET = "openbank.accounts.v1.AccountsService/GetAccount"


class Guarded(NamedTuple):
    process: ServerProcess
    channel: grpc.aio.Channel
    keys: Keys
    access: Path

    async def ask(self, method: str, request: Any, token: str | None, **more: str) -> Asked:
        return await ask(self.channel, method, request, token, **more)

    def reload(self) -> None:
        self.process.tell(signal.SIGHUP)


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    keys = Keys()
    old = "expires = 2020-01-01T00:00:00Z"
    access = write_access(tmp_path / "access.toml", keys.entry("web", "teller"), keys.entry("old", "teller", more=old))
    process = ServerProcess(tmp_path / "data", "--access", str(access))
    await process.start()
    async with grpc.aio.insecure_channel(process.address) as channel:
        yield Guarded(process, channel, keys, access)
    await process.stop()


async def test_the_log_says_which_callers_get_in(guarded: Guarded) -> None:
    web, old = guarded.keys["web"].key, guarded.keys["old"].key
    assert (await guarded.ask(REGISTER, john_doe(), web)).reason == "OK"
    asked = {
        "TOKEN_MISSING": await guarded.ask(LIST, persons.ListPersonsRequest(), None),
        "TOKEN_INVALID": await guarded.ask(LIST, persons.ListPersonsRequest(), web[:-1] + "!"),
        "TOKEN_EXPIRED": await guarded.ask(LIST, persons.ListPersonsRequest(), old),
    }
    for reason, one in asked.items():
        assert one.reason == reason
        assert one.code is grpc.StatusCode.UNAUTHENTICATED
    stub: Any = HealthStub(guarded.channel)
    assert (await stub.Check(HealthCheckRequest())).status == 1
    await guarded.process.stop()
    calls, audited = guarded.process.said("call"), guarded.process.said("audit")
    assert [line.get("caller") for line in calls] == ["key:web", None, None, None]
    assert [(line["logger"], line["outcome"], line.get("reason")) for line in audited] == [
        ("openbank.audit", "done", None),
        *[("openbank.audit", "denied", reason) for reason in asked],
    ]
    assert (audited[0]["caller"], audited[0]["method"]) == ("key:web", REGISTER)
    assert {"person_id", "correlation_id"} <= audited[0].keys()
    everything = str(guarded.process.lines) + str(guarded.process.other_output)
    assert not any(key.key in everything or key.key[-43:] in everything for key in guarded.keys.values())
    assert not any(key.sha256 in everything for key in guarded.keys.values())


async def test_two_authorizations_are_refused(guarded: Guarded) -> None:
    twice = await guarded.ask(LIST, persons.ListPersonsRequest(), guarded.keys["web"].key, authorization="Bearer x")
    assert twice.reason == "TOKEN_INVALID"


async def test_only_the_token_names_the_caller(guarded: Guarded) -> None:
    forged = {"caller": "key:root", "x-actor": "root", "actor": "root", "x-caller": "root"}
    assert (await guarded.ask(LIST, persons.ListPersonsRequest(), guarded.keys["web"].key, **forged)).reason == "OK"
    await guarded.process.stop()
    assert [line["caller"] for line in guarded.process.said("call")] == ["key:web"]


async def test_a_stranger_learns_nothing_about_a_request(guarded: Guarded) -> None:
    for request in (accounts.GetAccountRequest(), accounts.GetAccountRequest(account_id="!" * 70_000)):
        assert (await guarded.ask(GET, request, None)).reason == "TOKEN_MISSING"


async def test_a_changed_file_counts_after_a_hangup(guarded: Guarded) -> None:
    web, new = guarded.keys["web"].key, guarded.keys["new"].key
    assert (await guarded.ask(LIST, persons.ListPersonsRequest(), new)).reason == "TOKEN_INVALID"
    write_access(guarded.access, guarded.keys.entry("new", "auditor"))
    guarded.reload()
    await until(lambda: bool(guarded.process.said("changed files are used")))
    assert (await guarded.ask(LIST, persons.ListPersonsRequest(), new)).reason == "OK"
    assert (await guarded.ask(LIST, persons.ListPersonsRequest(), web)).reason == "TOKEN_INVALID"


async def test_a_bad_file_changes_nothing(guarded: Guarded) -> None:
    guarded.access.write_text("version = 1\n[[key]]\nname = 'half-writ")
    guarded.reload()
    await until(lambda: bool(guarded.process.said(NOT_USED)))
    assert (await guarded.ask(LIST, persons.ListPersonsRequest(), guarded.keys["web"].key)).reason == "OK"
    guarded.access.unlink()
    guarded.reload()
    await until(lambda: len(guarded.process.said(NOT_USED)) == 2)
    assert (await guarded.ask(LIST, persons.ListPersonsRequest(), guarded.keys["web"].key)).reason == "OK"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("version = 1\n[[key]]\nname = 'n'\n", '[[key]] 1 "n": id: is required'),
        (
            "version = 1\n[[certificate]]\ndns = 'a.example'\nroles = ['teller']",
            "[[certificate]]: needs --tls-client-ca",
        ),
    ],
)
async def test_a_bank_does_not_start_with_a_bad_file(tmp_path: Path, text: str, why: str) -> None:
    access = tmp_path / "access.toml"
    access.write_text(text)
    code, _, said = await run_openbank(
        "serve", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "d"), "--access", str(access)
    )
    assert code == 2
    assert f"openbank: {access}: {why}" in said
