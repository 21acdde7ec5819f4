"""Commands reach a bank by TLS and with a token, and say what to do where they cannot."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from openbank.client import BadCredentials, connect, connect_sync
from openbank.server import Server
from tests.certificates import Authority, Pair
from tests.servers import run_openbank

SERVING = "SERVING\n"
HEALTH = ("health", "openbank.commands")
COMMANDS = (HEALTH, ("sinks", "list"), ("quarantine", "list"), ("tail", "persons", "--until-caught-up"))
SECRET = "obk_k7f3_thisIsSecret"


@asynccontextmanager
async def tls_to(address: str, pair: Pair, client_ca: Path | None = None) -> AsyncIterator[int]:
    """A port that speaks TLS, before one that does not."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    context.set_alpn_protocols(["h2"])
    if client_ca:
        context.load_verify_locations(client_ca)
        context.verify_mode = ssl.CERT_REQUIRED

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except OSError:
            pass
        finally:
            writer.close()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, port = address.rpartition(":")
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(forward(reader, inner_writer), forward(inner_reader, writer))

    async with await asyncio.start_server(accepted, "127.0.0.1", 0, ssl=context) as front:
        yield front.sockets[0].getsockname()[1]


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def flags(ca: Authority, port: int, client: Pair | None = None, host: str = "localhost") -> Sequence[str]:
    pair = ("--tls-cert", str(client.cert), "--tls-key", str(client.key)) if client else ()
    return ("--target", f"{host}:{port}", "--tls-ca", str(ca.file), *pair)


async def test_every_command_speaks_tls(server: Server, ca: Authority) -> None:
    await server.ready()
    async with tls_to(server.address, ca.sign("bank")) as port:
        for command in COMMANDS:
            code, _, err = await run_openbank(*command, *flags(ca, port))
            assert (code, err) == (0, ""), command


async def test_a_client_certificate_is_shown_to_a_server_that_asks_for_one(
    server: Server, ca: Authority, tmp_path: Path
) -> None:
    await server.ready()
    client = ca.sign("client", ["client.example"])
    async with tls_to(server.address, ca.sign("bank"), ca.file) as port:
        assert await run_openbank(*HEALTH, *flags(ca, port, client)) == (0, SERVING, "")
        code, _, err = await run_openbank(*HEALTH, *flags(ca, port))
        why = f"localhost:{port} expects a client certificate: give --tls-cert FILE and --tls-key FILE"
        assert (code, err) == (3, f"openbank: {why}\n")
        stranger = Authority(tmp_path, "other").sign("stranger")
        _, _, err = await run_openbank(*HEALTH, *flags(ca, port, stranger))
        assert err.startswith(f"openbank: localhost:{port} does not accept the client certificate --tls-cert ")


async def test_without_tls_it_says_that_tls_is_expected(server: Server, ca: Authority) -> None:
    async with tls_to(server.address, ca.sign("bank")) as port:
        why = f"openbank: localhost:{port} expects TLS: give --tls-ca FILE, the authority of its certificate\n"
        for command in (("health",), ("sinks", "list"), ("quarantine", "list")):
            _, _, err = await run_openbank(*command, "--target", f"localhost:{port}")
            assert err == why, command


async def test_with_tls_it_says_that_none_is_spoken(server: Server, ca: Authority) -> None:
    port = server.address.rpartition(":")[2]
    why = f"openbank: localhost:{port} does not speak TLS: leave out --tls-ca, or call the port that does\n"
    for command in (("health",), ("sinks", "list")):
        _, _, err = await run_openbank(*command, *flags(ca, int(port)))
        assert err == why, command


async def test_a_bank_of_another_authority_is_not_trusted(server: Server, ca: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")
    async with tls_to(server.address, ca.sign("bank")) as port:
        _, _, err = await run_openbank("health", *flags(other, port))
    assert err.startswith(
        f"openbank: the certificate of localhost:{port} is not signed by an authority of --tls-ca {other.file}: "
    )


async def test_a_bank_of_another_name_is_not_trusted(server: Server, ca: Authority) -> None:
    async with tls_to(server.address, ca.sign("bank", ["bank.example", "10.0.0.1"])) as port:
        _, _, err = await run_openbank("health", *flags(ca, port))
    names = "bank.example, 10.0.0.1"
    assert err == (
        f"openbank: the certificate of localhost:{port} is for {names}: give one of these as --target, or renew it\n"
    )


async def test_an_expired_certificate_is_not_trusted(server: Server, ca: Authority) -> None:
    async with tls_to(server.address, ca.sign("bank", days=-1)) as port:
        _, _, err = await run_openbank("health", *flags(ca, port))
    assert err == f"openbank: the certificate of localhost:{port} has expired: renew it\n"


async def test_a_missing_socket_is_reported(tmp_path: Path) -> None:
    target = f"unix:{tmp_path / 'none'}"
    code, out, err = await run_openbank("health", "--target", target)
    assert (code, out) == (3, "UNAVAILABLE\n")
    assert err == f"openbank: no bank listens on {target}: No such file or directory\n"


def given(tmp_path: Path) -> dict[str, Path]:
    """Files that cannot be used, and some that can."""
    ca, other = Authority(tmp_path), Authority(tmp_path, "other")
    files = {"ca": ca.file, "none": tmp_path / "none", "text": tmp_path / "text"}
    files["text"].write_text("two words")
    for name, pair in (("client", ca.sign("client")), ("bob", other.sign("bob"))):
        files |= {f"{name}.pem": pair.cert, f"{name}.key": pair.key}
    return files


BAD = {
    "no file": ("--tls-ca {none}", "--tls-ca cannot be read: {none}: No such file or directory"),
    "no PEM": ("--tls-ca {text}", "--tls-ca has no certificates in PEM: {text}"),
    "no authority": (
        "--tls-cert {client.pem} --tls-key {client.key}",
        "--tls-ca must be given with a client certificate: it says which bank to trust",
    ),
    "no key": (
        "--tls-ca {ca} --tls-cert {client.pem}",
        "--tls-key must be given: a certificate and its key belong together",
    ),
    "another's key": (
        "--tls-ca {ca} --tls-cert {client.pem} --tls-key {bob.key}",
        "--tls-cert is no certificate in PEM, or its key is another: {client.pem}, {bob.key}",
    ),
    "no token": ("--token-file {text}", "--token-file must hold one token, of letters, digits and -._~+/="),
    "TLS by a socket": ("--target unix:s --tls-ca {ca}", "--tls-ca is not for unix:PATH: a local socket has no TLS"),
}


@pytest.mark.parametrize("what", BAD)
async def test_an_unusable_value_is_one_line_that_names_the_flag(what: str, tmp_path: Path) -> None:
    arguments, line = BAD[what]
    for name, path in given(tmp_path).items():
        arguments, line = arguments.replace(f"{{{name}}}", str(path)), line.replace(f"{{{name}}}", str(path))
    for command in (("health",), ("sinks", "list"), ("tail", "persons")):
        assert await run_openbank(*command, *arguments.split()) == (2, "", f"openbank: {line}\n")


async def test_a_token_is_sent_to_no_other_machine_in_the_clear() -> None:
    code, _, err = await run_openbank(
        "sinks", "list", "--target", "bank.example:1", environment={"OPENBANK_TOKEN": SECRET}
    )
    assert code == 2
    assert err.startswith("openbank: OPENBANK_TOKEN is sent to another machine by TLS only, and bank.example:1 ")
    assert SECRET not in err


async def test_a_token_on_the_command_line_is_refused_and_not_repeated() -> None:
    code, _, err = await run_openbank("health", "--token", SECRET)
    assert code == 2
    assert "argument --token: would show in the list of processes: use --token-file or OPENBANK_TOKEN" in err
    assert SECRET not in err


class Echo(grpc.GenericRpcHandler):
    """Answers with the authorization that came."""

    def service(self, _: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        async def answer(_: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            sent = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
            return " ".join(map(str, sent)).encode()

        return grpc.unary_unary_rpc_method_handler(answer)


@pytest.fixture
async def echo(tmp_path: Path) -> AsyncIterator[tuple[str, int]]:
    """The socket and the port of a server that answers with the token."""
    echo = grpc.aio.server()
    echo.add_generic_rpc_handlers((Echo(),))
    port = echo.add_insecure_port("127.0.0.1:0")
    echo.add_insecure_port(f"unix:{tmp_path}/echo.sock")
    await echo.start()
    yield f"unix:{tmp_path}/echo.sock", port
    await echo.stop(0)


async def token_at(channel: grpc.aio.Channel) -> str:
    async with channel:
        method: Any = channel.unary_unary("/echo/Echo")
        answer: bytes = await method(b"", timeout=5)
    return answer.decode()


async def test_a_token_goes_by_tls_within_the_machine_and_by_a_socket(
    echo: tuple[str, int], ca: Authority, tmp_path: Path
) -> None:
    socket, port = echo
    expected = f"Bearer {SECRET}"
    assert await token_at(connect(socket, token=SECRET)) == expected
    assert await token_at(connect(f"127.0.0.1:{port}", token=SECRET)) == expected
    assert await token_at(connect(f"localhost:{port}", token=SECRET)) == expected
    assert await token_at(connect(f"127.0.0.1:{port}")) == ""
    async with tls_to(f"127.0.0.1:{port}", ca.sign("bank")) as secure:
        assert await token_at(connect(f"localhost:{secure}", tls_ca=ca.file, token=SECRET)) == expected
        with connect_sync(f"localhost:{secure}", tls_ca=ca.file, token=SECRET) as channel:
            method: Any = channel.unary_unary("/echo/Echo")
            assert await asyncio.to_thread(method, b"", timeout=5) == expected.encode()


async def test_a_token_file_is_read_again_once_it_holds_another_token(echo: tuple[str, int], tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")
    async with connect(echo[0], token_file=file) as channel:
        method: Any = channel.unary_unary("/echo/Echo")
        assert await method(b"", timeout=5) == b"Bearer first"
        # Half written, then gone: the token that was there counts.
        file.write_text("")
        assert await method(b"", timeout=5) == b"Bearer first"
        file.unlink()
        assert await method(b"", timeout=5) == b"Bearer first"
        file.write_text("second")
        assert await method(b"", timeout=5) == b"Bearer second"


def test_a_token_with_a_line_break_adds_no_header() -> None:
    for bad in ("", "a\r\nb: c", "a b", "ä", "a\0"):
        with pytest.raises(BadCredentials, match="must hold one token"):
            connect_sync("localhost:1", token=bad)
