"""A bank whose callers have tokens of a real identity provider, oidc-provider, where Node.js is."""

from __future__ import annotations

import asyncio
import json
import shutil
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import grpc.aio

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.persons.v1 import persons_service_pb2 as persons
from tests.access.callers import ask, issuer_entry, write_access
from tests.callers import john_doe, opening
from tests.clients.programs import node_program
from tests.servers import ServerProcess

HERE = Path(__file__).parent / "oidc_provider"
SECRET = "of-a-client-of-the-provider"
CLIENTS = {
    "clerk": {"secret": SECRET, "seconds": 600, "claims": {"roles": ["bank-clerk"]}},
    "john": {"secret": SECRET, "seconds": 600, "claims": {"roles": ["bank-client"], "openbank_person": "john"}},
    "briefly": {"secret": SECRET, "seconds": 1, "claims": {"roles": ["bank-clerk"]}},
}
REGISTER = "openbank.persons.v1.PersonsService/RegisterPerson"
LIST = "openbank.persons.v1.PersonsService/ListPersons"
OPEN = "openbank.accounts.v1.AccountsService/OpenAccount"
GET = "openbank.accounts.v1.AccountsService/GetAccount"


class Provider(NamedTuple):
    process: asyncio.subprocess.Process
    session: aiohttp.ClientSession
    issuer: str

    async def token(self, client: str, resource: str = "urn:openbank") -> str:
        """By the grant of client credentials. Without a resource it is opaque, and no JWT."""
        asked = {"grant_type": "client_credentials", "client_id": client, "client_secret": SECRET}
        asked |= {"resource": resource} if resource else {}
        async with self.session.post(f"{self.issuer}/token", data=asked) as response:
            answer: Mapping[str, Any] = await response.json()
        return str(answer["access_token"])

    async def replace_key(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        assert await said(self.process) == self.issuer

    def entry(self) -> str:
        roles = {"bank-clerk": "teller", "bank-client": "customer"}
        return issuer_entry(self.issuer, f"{self.issuer}/jwks", roles, ["RS256"])


async def said(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    return (await asyncio.wait_for(process.stdout.readline(), 30)).decode().strip()


@asynccontextmanager
async def provider() -> AsyncIterator[Provider]:
    program = await asyncio.to_thread(node_program, "oidc-provider", HERE)
    process = await asyncio.create_subprocess_exec(
        *program, json.dumps(CLIENTS), stdin=PIPE, stdout=PIPE, stderr=DEVNULL,
    )  # fmt: skip
    try:
        async with aiohttp.ClientSession() as session:
            yield Provider(process, session, await said(process))
    finally:
        process.kill()
        await process.wait()


# Only where its tools are: the project needs Node.js for nothing else.
if shutil.which("node") and shutil.which("npm"):

    async def test_tokens_of_a_real_identity_provider_are_those_of_its_clients(tmp_path: Path) -> None:
        async with provider() as issuing:
            access = write_access(tmp_path / "access.toml", issuing.entry())
            bank = ServerProcess(tmp_path / "data", "--access", str(access))
            await bank.start()
            async with grpc.aio.insecure_channel(bank.address) as channel:
                clerk, john = await issuing.token("clerk"), await issuing.token("john")

                async def reason(method: str, request: Any, token: str) -> str:
                    return (await ask(channel, method, request, token)).reason

                for name in ("john", "mary"):
                    assert await reason(REGISTER, john_doe(person_id=name), clerk) == "OK"
                    assert await reason(OPEN, opening(name, account_id=f"{name}-1"), clerk) == "OK"
                assert await reason(GET, accounts.GetAccountRequest(account_id="john-1"), john) == "OK"
                assert await reason(GET, accounts.GetAccountRequest(account_id="mary-1"), john) == "ACCOUNT_NOT_FOUND"

                listing = persons.ListPersonsRequest()
                assert await reason(LIST, listing, john) == "PERMISSION_MISSING"
                for other in ("", "urn:another-bank"):
                    assert await reason(LIST, listing, await issuing.token("clerk", other)) == "TOKEN_INVALID"

                briefly = await issuing.token("briefly")
                await asyncio.sleep(1)
                assert await reason(LIST, listing, briefly) == "TOKEN_EXPIRED"

                await issuing.replace_key()
                assert await reason(LIST, listing, clerk) == "OK"
                assert await reason(LIST, listing, await issuing.token("clerk")) == "OK"
                # The fetch that brought the new key has taken the old one away.
                assert await reason(LIST, listing, clerk) == "TOKEN_INVALID"
            await bank.stop()
        assert {line["caller"] for line in bank.said("call") if "caller" in line} == {
            f"jwt:{issuing.issuer}|clerk",
            f"jwt:{issuing.issuer}|john",
        }
