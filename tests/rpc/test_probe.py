"""`openbank health`, which a container's health check runs."""

from __future__ import annotations

import socket

from openbank.server import Server
from tests.client.proxy import proxy_of
from tests.servers import run_openbank

WHOLE = """\
SERVING
openbank.commands    SERVING
openbank.queries     SERVING
openbank.feeds       SERVING
openbank.quarantine  SERVING
openbank.version     SERVING
"""


async def test_it_says_whether_a_bank_is_serving_and_which_part_of_it(server: Server) -> None:
    await server.ready()
    assert await run_openbank("health", "--target", server.address) == (0, WHOLE, "")
    for part in ("openbank.commands", "openbank.persons.v1.PersonsService"):
        assert await run_openbank("health", part, "--target", server.address) == (0, "SERVING\n", "")
    why = f"openbank: the bank at {server.address} has no part nothing\n"
    assert await run_openbank("health", "nothing", "--target", server.address) == (1, "NOT_FOUND\n", why)


async def test_without_a_target_it_asks_where_the_bank_here_listens(server: Server) -> None:
    await server.ready()
    port = server.address.rpartition(":")[2]
    for listen in (server.address, f"0.0.0.0:{port}"):
        assert await run_openbank("health", environment={"OPENBANK_LISTEN": listen}) == (0, WHOLE, "")


async def test_a_port_where_nothing_listens_is_reported() -> None:
    why = "openbank: nothing listens on port 1 of 127.0.0.1\n"
    assert await run_openbank("health", "--target", "127.0.0.1:1") == (3, "UNAVAILABLE\n", why)


async def test_an_unknown_host_is_reported() -> None:
    code, out, why = await run_openbank("health", "--target", "no.such.name.invalid:50051")
    assert (code, out) == (3, "UNAVAILABLE\n")
    assert why == "openbank: the name no.such.name.invalid is unknown\n"


async def test_a_silent_server_is_reported() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        why = f"openbank: {address} accepts connections, but no bank answers within 3 s\n"
        assert await run_openbank("health", "--target", address) == (3, "DEADLINE_EXCEEDED\n", why)


async def test_a_proxy_that_answers_for_the_bank_is_reported(server: Server) -> None:
    async with proxy_of(server.address) as proxy:
        proxy.answer(404)
        code, out, why = await run_openbank("health", "--target", proxy.address)
    assert (code, out) == (3, "UNIMPLEMENTED\n")
    assert why == f"openbank: no bank answers at {proxy.address}: Received http2 header with status: 404\n"
