"""Callers by client certificate, and through the local socket."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import grpc.aio
import pytest

from openbank.app import serving
from openbank.config import Settings
from openbank.operations.v1 import sinks_service_pb2 as sinks
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.server import Server
from tests.access.callers import Keys, ask, write_access
from tests.certificates import Authority, Pair

LIST = "openbank.persons.v1.PersonsService/ListPersons"
SINKS = "openbank.operations.v1.SinksService/ListSinks"
SPIFFE = "spiffe://bank.example/ns/prod/sa/reporting"
CERTIFICATES = f"""
[[certificate]]
spiffe = "{SPIFFE}"
roles = ["auditor"]
[[certificate]]
dns = "*.internal.example"
roles = ["operator"]
"""


class Tls:
    def __init__(self, directory: Path) -> None:
        self.authority = Authority(directory)
        self.bank = self.authority.sign("bank")

    def settings(self, directory: Path, access: Path) -> Settings:
        return Settings(
            listen="127.0.0.1:0",
            data=directory / "data",
            access=access,
            drain_seconds=1,
            tls_cert=self.bank.cert,
            tls_key=self.bank.key,
            tls_client_ca=self.authority.file,
        )

    def channel(self, server: Server, pair: Pair) -> grpc.aio.Channel:
        credentials = grpc.ssl_channel_credentials(
            self.authority.file.read_bytes(), pair.key.read_bytes(), pair.cert.read_bytes()
        )
        return grpc.aio.secure_channel(server.address.replace("127.0.0.1", "localhost"), credentials)


@pytest.mark.parametrize(
    ("names", "persons_", "sinks_"),
    [
        ([SPIFFE], "OK", "OK"),
        (["db.internal.example"], "PERMISSION_MISSING", "OK"),
        (["other.example", "db.internal.example"], "PERMISSION_MISSING", "OK"),
        (["internal.example"], "TOKEN_MISSING", "TOKEN_MISSING"),
        (["*.internal.example"], "TOKEN_MISSING", "TOKEN_MISSING"),
        ([SPIFFE + "-2"], "TOKEN_MISSING", "TOKEN_MISSING"),
    ],
    ids=str,
)
async def test_a_certificate_names_its_caller(tmp_path: Path, names: Sequence[str], persons_: str, sinks_: str) -> None:
    tls = Tls(tmp_path)
    settings = tls.settings(tmp_path, write_access(tmp_path / "access.toml", CERTIFICATES))
    async with serving(settings) as server, tls.channel(server, tls.authority.sign("client", names)) as channel:
        assert (await ask(channel, LIST, persons.ListPersonsRequest())).reason == persons_
        assert (await ask(channel, SINKS, sinks.ListSinksRequest())).reason == sinks_


async def test_a_token_counts_before_a_certificate(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tls, keys = Tls(tmp_path), Keys()
    access = write_access(tmp_path / "access.toml", CERTIFICATES, keys.entry("web", "operator"))
    client = tls.authority.sign("client", [SPIFFE])
    async with serving(tls.settings(tmp_path, access)) as server, tls.channel(server, client) as channel:
        with caplog.at_level("INFO", logger="openbank.calls"):
            assert (
                await ask(channel, LIST, persons.ListPersonsRequest(), keys["web"].key)
            ).reason == "PERMISSION_MISSING"
            assert (await ask(channel, LIST, persons.ListPersonsRequest(), keys["old"].key)).reason == "TOKEN_INVALID"
            assert (await ask(channel, LIST, persons.ListPersonsRequest())).reason == "OK"
    callers = [getattr(record, "values", {}).get("caller") for record in caplog.records if record.message == "call"]
    assert callers == ["key:web", None, f"cert:{SPIFFE}"]


@pytest.mark.parametrize(
    ("local", "reasons"),
    [('[local]\nroles = ["operator"]', ["PERMISSION_MISSING", "OK"]), ("", ["TOKEN_MISSING", "TOKEN_MISSING"])],
    ids=["with an entry", "without one"],
)
async def test_the_local_socket_has_the_roles_of_its_entry(tmp_path: Path, local: str, reasons: list[str]) -> None:
    keys = Keys()
    access = write_access(tmp_path / "access.toml", local, keys.entry("web", "teller"))
    socket = f"unix:{tmp_path}/bank.sock"
    settings = Settings(listen="127.0.0.1:0", data=tmp_path / "d", access=access, drain_seconds=1, local_socket=socket)
    async with serving(settings) as server, grpc.aio.insecure_channel(socket) as channel:
        assert (await ask(channel, LIST, persons.ListPersonsRequest())).reason == reasons[0]
        assert (await ask(channel, SINKS, sinks.ListSinksRequest())).reason == reasons[1]
        assert (await ask(channel, LIST, persons.ListPersonsRequest(), keys["web"].key)).reason == "OK"
        async with grpc.aio.insecure_channel(server.address) as tcp:
            assert (await ask(tcp, SINKS, sinks.ListSinksRequest())).reason == "TOKEN_MISSING"
