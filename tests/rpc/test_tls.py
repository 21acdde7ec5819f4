"""The bank by TLS: what it serves and refuses, and how its certificate is replaced while it serves."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from google.protobuf.empty_pb2 import Empty

from openbank import reloading
from openbank import server as network
from openbank import tls as certificates
from openbank.accounts.v1.accounts_service_pb2 import WatchAccountEventsRequest
from openbank.app import serving
from openbank.config import Settings
from openbank.ports import CannotListen, check_ports
from openbank.reloading import BadFile
from openbank.server import Server
from openbank.tls import load_tls
from tests.callers import Caller, until
from tests.certificates import DAY, HERE, Authority, Pair
from tests.servers import ServerProcess, run_openbank

GRPCURL = Path(__file__).parents[2] / ".cache/bin/grpcurl"


@pytest.fixture(autouse=True)
def settled_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reloading, "SETTLE_SECONDS", 0.02)


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(ca: Authority) -> Pair:
    return ca.sign("bank")


@pytest.fixture
def settings(settings: Settings, pair: Pair) -> Settings:
    return replace(settings, tls_cert=pair.cert, tls_key=pair.key)


@pytest.fixture
def mutual(settings: Settings, ca: Authority) -> Settings:
    return replace(settings, tls_client_ca=ca.file)


@pytest.fixture
async def bank(server: Server, ca: Authority) -> AsyncIterator[Caller]:
    async with Caller(server.address, tls_ca=ca.file) as caller:
        yield caller


async def openssl(address: str, *arguments: str) -> str:
    """What `openssl s_client` prints."""
    process = await asyncio.create_subprocess_exec(
        "openssl", "s_client", "-connect", address, "-alpn", "h2", *arguments,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await asyncio.wait_for(process.communicate(), 20)
    return out.decode(errors="replace")


async def subject(server: Server, ca: Authority) -> str:
    """The name on the certificate that a new connection gets, once it is verified."""
    said = await openssl(server.address, "-CAfile", str(ca.file))
    assert "Verify return code: 0 (ok)" in said
    [name] = re.findall(r"subject=CN ?= ?(\w+)", said)
    return str(name)


async def test_tls_1_2_and_1_3_are_spoken_and_nothing_older(server: Server) -> None:
    old = ("-cipher", "DEFAULT@SECLEVEL=0")
    for version in ("-tls1_2", "-tls1_3"):
        assert re.search(
            rf"New, TLSv{version[4:].replace('_', '.')}, Cipher is \w", await openssl(server.address, version)
        )
    for version in ("-tls1", "-tls1_1"):
        assert "Cipher is (NONE)" in await openssl(server.address, version, *old)


async def test_a_connection_without_a_handshake_is_closed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "HANDSHAKE_MILLISECONDS_MAX", 300)
    async with serving(settings) as server:
        host, _, port = server.address.rpartition(":")
        for beginning in (b"", b"\x16\x03\x01"):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(beginning)
            with suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 20) == b""
            writer.close()


async def test_a_plain_client_is_not_served(server: Server) -> None:
    async with Caller(server.address) as plain:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await plain.register()
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_replaced_pair_is_served_to_new_connections_and_open_watches_lose_nothing(
    server: Server, bank: Caller, ca: Authority
) -> None:
    account_id = (await bank.open()).account.account_id
    watch = bank.accounts.WatchAccountEvents(WatchAccountEventsRequest(account_ids=[account_id], live=Empty()))
    await watch.read()
    for name in ("second", "third"):
        replace_pair(server, ca.sign(name))
        await look(server)
        assert await subject(server, ca) == name
        deposited = await bank.deposit(account_id, "1")
        while not (response := await watch.read()).events:
            pass
        assert [event.event_id for event in response.events] == [deposited.event_id]
    assert server.tls is not None
    assert server.tls.failures == 0


def replace_pair(server: Server, pair: Pair) -> None:
    """As tools do: by renaming, one file after the other."""
    pair.cert.rename(pair.cert.with_name("bank.pem"))
    pair.key.rename(pair.key.with_name("bank.key"))


async def look(server: Server) -> None:
    assert server.tls is not None
    await server.tls.look()


def another_key(ca: Authority, pair: Pair) -> str:
    pair.key.write_bytes(ca.sign("other").key.read_bytes())
    return f"--tls-key {pair.key} is not the key of the certificate --tls-cert"


def half_written(_: Authority, pair: Pair) -> str:
    pair.cert.write_bytes(pair.cert.read_bytes()[:200])
    return f"--tls-cert {pair.cert} must hold certificates in PEM"


def half_a_key(_: Authority, pair: Pair) -> str:
    pair.key.write_bytes(pair.key.read_bytes()[:100])
    return f"--tls-key {pair.key} must hold a private key in PEM that is not encrypted"


def empty(_: Authority, pair: Pair) -> str:
    pair.cert.write_bytes(b"")
    return f"--tls-cert {pair.cert} must hold certificates in PEM"


def gone(_: Authority, pair: Pair) -> str:
    pair.key.unlink()
    return f"--tls-key {pair.key} cannot be read: No such file or directory"


def expired(ca: Authority, pair: Pair) -> str:
    ca.sign("bank", days=-1)
    return f"--tls-cert {pair.cert} has expired at 20"


def not_valid_yet(ca: Authority, pair: Pair) -> str:
    ca.sign("bank", days=9, begins=1)
    return f"--tls-cert {pair.cert} is not valid before 20"


def weak(ca: Authority, pair: Pair) -> str:
    ca.sign("bank", key=rsa.generate_private_key(65537, 1024))
    return f"--tls-key {pair.key} must be of RSA with 2048 bits or more, or of EC on the curve P-256 or P-384"


def of_a_kind_that_clients_do_not_take(ca: Authority, pair: Pair) -> str:
    ca.sign("bank", key=ed25519.Ed25519PrivateKey.generate())
    return f"--tls-key {pair.key} must be of RSA with 2048 bits or more, or of EC on the curve P-256 or P-384"


def encrypted(_: Authority, pair: Pair) -> str:
    command = ["openssl", "pkcs8", "-topk8", "-in", str(pair.key), "-out", f"{pair.key}.new", "-passout", "pass:x"]
    subprocess.run(command, check=True)
    os.replace(f"{pair.key}.new", pair.key)
    return f"--tls-key {pair.key} must hold a private key in PEM that is not encrypted"


BAD: list[Callable[[Authority, Pair], str]] = [
    another_key, half_written, half_a_key, empty, gone, expired, not_valid_yet, weak,
    of_a_kind_that_clients_do_not_take, encrypted,
]  # fmt: skip
bad = pytest.mark.parametrize("spoil", BAD, ids=lambda spoil: spoil.__name__)


@bad
async def test_a_start_with_a_bad_pair_names_the_file_and_the_setting(
    spoil: Callable[[Authority, Pair], str], ca: Authority, pair: Pair, settings: Settings
) -> None:
    why = spoil(ca, pair)
    with pytest.raises(BadFile, match=re.escape(why)):
        async with serving(settings):
            pass
    assert not settings.data.exists()


@bad
async def test_a_bad_new_pair_is_logged_and_counted_once_and_the_former_is_served(
    spoil: Callable[[Authority, Pair], str],
    ca: Authority,
    pair: Pair,
    server: Server,
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert server.tls is not None
    before = server.tls.current.not_after
    why = spoil(ca, pair)
    for _ in range(3):
        await look(server)
    [error] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert why in str(error.__dict__["values"]["reason"])
    assert "PRIVATE" not in str(error.__dict__)
    assert server.tls.failures == 1
    assert await subject(server, ca) == "bank"
    assert server.tls.current.not_after == before
    replace_pair(server, ca.sign("good"))
    await look(server)
    assert await subject(server, ca) == "good"


async def test_a_certificate_of_tomorrow_is_used_tomorrow(
    settings: Settings, ca: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = load_tls(settings)
    assert tls is not None
    before = tls.current
    ca.sign("bank", days=9, begins=1)
    for _ in range(2):
        await tls.look()
        assert (tls.current, tls.failures) == (before, 1)
    monkeypatch.setattr(certificates, "datetime", Tomorrow)
    await tls.look()
    assert tls.current.not_after > before.not_after
    assert tls.failures == 1


class Tomorrow(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Tomorrow:
        return super().now(tz) + 2 * DAY


async def test_a_pair_that_is_being_written_is_neither_used_nor_an_error(
    settings: Settings, ca: Authority, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = load_tls(settings)
    assert tls is not None
    before, new = tls.current, ca.sign("new")
    pair.cert.write_bytes(new.cert.read_bytes())

    async def the_key_follows(_: float) -> None:
        pair.key.write_bytes(new.key.read_bytes())

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(asyncio, "sleep", the_key_follows)
        await tls.look()
    assert (tls.current, tls.failures) == (before, 0)
    await tls.look()
    assert tls.current is not before
    assert tls.failures == 0


async def test_with_mutual_tls_only_clients_of_the_authority_connect_and_it_can_be_replaced(
    mutual: Settings, ca: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    ours, theirs = ca.sign("ours", ["ours.example"]), other.sign("theirs", ["theirs.example"])
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(ca.file.read_bytes())

    async def connects(client: Pair | None) -> bool:
        credentials = {"tls_cert": client.cert, "tls_key": client.key} if client else {}
        async with Caller(server.address, tls_ca=ca.file, **credentials) as caller:
            try:
                await caller.register()
            except grpc.aio.AioRpcError as error:
                assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - how a refused handshake looks
                return False
        return True

    async with serving(replace(mutual, tls_client_ca=trusted)) as server:
        assert [await connects(client) for client in (None, ours, theirs)] == [False, True, False]
        trusted.write_bytes(other.file.read_bytes())
        await look(server)
        assert [await connects(client) for client in (None, ours, theirs)] == [False, False, True]
        trusted.write_bytes(b"nothing")
        await look(server)
        assert [await connects(client) for client in (None, ours, theirs)] == [False, False, True]


async def test_grpcurl_calls_by_mutual_tls(mutual: Settings, ca: Authority) -> None:
    if not GRPCURL.exists():
        pytest.skip("grpcurl is not here")
    client = ca.sign("client", ["spiffe://bank.example/client"])
    call = [str(GRPCURL), "-cacert", str(ca.file), "-cert", str(client.cert), "-key", str(client.key)]
    async with serving(mutual) as server:
        await server.ready()
        host = server.address.replace("127.0.0.1", "localhost")
        process = await asyncio.create_subprocess_exec(
            *call, host, "openbank.persons.v1.PersonsService/ListPersons", stdout=subprocess.PIPE
        )
        out, _ = await process.communicate()
    assert process.returncode == 0
    assert b"consistencyToken" in out or b"consistency_token" in out


async def test_sighup_takes_a_new_pair_and_stops_nothing(ca: Authority, pair: Pair, tmp_path: Path) -> None:
    flags = ("--tls-cert", str(pair.cert), "--tls-key", str(pair.key))
    bank = ServerProcess(tmp_path / "data", *flags)
    await bank.start()
    ca.sign("bank", [*HERE, "new.example"])
    bank.tell(signal.SIGHUP)
    await until(lambda: bool(bank.said("changed files are used")), seconds_max=9)
    assert [line["tls"] for line in bank.said("ready")] == ["TLS"]
    said = await openssl(bank.address, "-CAfile", str(ca.file), "-verify_hostname", "new.example")
    assert "Verify return code: 0 (ok)" in said
    async with Caller(bank.address, tls_ca=ca.file) as caller:
        await caller.register()
    assert not bank.said("stopping")
    assert await bank.stop() == 0


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a certificate alone": ({"tls_key": None}, "--tls-key must be given with --tls-cert"),
    "a key alone": ({"tls_cert": None}, "--tls-cert must be given with --tls-key"),
    "clients' certificates without one": (
        {"tls_cert": None, "tls_key": None, "tls_client_ca": Path("ca.pem")},
        "--tls-client-ca must be given with --tls-cert and --tls-key",
    ),
    "every address, plain": (
        {"listen": "0.0.0.0:0", "tls_cert": None, "tls_key": None},
        "--listen 0.0.0.0:0 can be reached by other machines, and lacks TLS (--tls-cert and --tls-key) and an access"
        " file: listen on 127.0.0.1, or give --insecure to let in anybody who reaches it",
    ),
    "every address, by TLS": (
        {"listen": "[::]:0"},
        "--listen [::]:0 can be reached by other machines, and lacks an access",
    ),
    "a name that is unknown": ({"listen": "no.such.name.invalid:1"}, "cannot listen on no.such.name.invalid:1: "),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_settings_that_would_leave_the_bank_open_are_refused(what: str, settings: Settings) -> None:
    changes, why = REFUSED[what]
    with pytest.raises(CannotListen, match="^" + re.escape(why)):
        async with serving(replace(settings, **changes)):
            pass
    assert not settings.data.exists()


@pytest.mark.parametrize("listen", ["localhost:0", "127.0.0.2:0", "[::1]:0"])
async def test_within_the_machine_nothing_is_needed(listen: str, tmp_path: Path) -> None:
    async with serving(Settings(listen=listen, data=tmp_path / "data")) as server, Caller(server.address) as caller:
        await caller.register()


def test_insecure_says_that_the_bank_may_be_open(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    check_ports(replace(settings, listen="0.0.0.0:0", insecure=True))
    [warning] = caplog.records
    assert (warning.levelname, warning.getMessage()) == ("WARNING", "anybody who reaches the port is let in")


async def test_a_refused_start_is_one_line(tmp_path: Path) -> None:
    code, out, err = await run_openbank("serve", "--listen", "0.0.0.0:0", "--data", str(tmp_path / "data"))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("openbank: --listen 0.0.0.0:0 can be reached by other machines")
