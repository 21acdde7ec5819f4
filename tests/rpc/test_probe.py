"""`openbank health`, which a container's health check runs."""

from __future__ import annotations

from openbank.server import Server
from tests.servers import run_openbank


async def test_it_says_whether_a_bank_is_serving_and_which_part_of_it(server: Server) -> None:
    assert await run_openbank("health", "--target", server.address) == (0, "SERVING\n", "")
    for part in ("openbank.commands", "openbank.persons.v1.PersonsService"):
        assert await run_openbank("health", part, "--target", server.address) == (0, "SERVING\n", "")
    assert await run_openbank("health", "nothing", "--target", server.address) == (1, "NOT_FOUND\n", "")


async def test_without_a_target_it_asks_where_the_bank_here_listens(server: Server) -> None:
    port = server.address.rpartition(":")[2]
    for listen in (server.address, f"0.0.0.0:{port}"):
        assert await run_openbank("health", environment={"OPENBANK_LISTEN": listen}) == (0, "SERVING\n", "")


async def test_where_there_is_none_it_fails() -> None:
    assert await run_openbank("health", "--target", "127.0.0.1:1") == (1, "UNAVAILABLE\n", "")
