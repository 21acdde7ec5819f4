"""A bank whose callers have tokens of an identity provider, which publishes its keys over HTTP."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc.aio
import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.empty_pb2 import Empty

from openbank.access.fetching import BYTES_MAX, fetch
from openbank.access.policy import Issuer
from openbank.persons.v1 import persons_service_pb2 as persons
from tests.access.callers import Asked, ask, issuer_entry, write_access
from tests.callers import john_doe, until
from tests.servers import ServerProcess

SERVICE = "openbank.persons.v1.PersonsService"


class Provider:
    """Serves its key set at /keys, signs tokens, and answers as a test says."""

    def __init__(self) -> None:
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.new_key("1")
        self.fetches = 0
        self.status = 200
        self.url = ""

    def new_key(self, id: str) -> None:
        self.keys[id] = ec.generate_private_key(ec.SECP256R1())

    async def answer(self, _: web.Request) -> web.StreamResponse:
        self.fetches += 1
        if self.status != 200:
            return web.Response(status=self.status, headers={"Location": "/elsewhere"})
        public = {id: jwt.algorithms.ECAlgorithm.to_jwk(key.public_key()) for id, key in self.keys.items()}
        return web.json_response({"keys": [json.loads(one) | {"kid": id} for id, one in public.items()]})

    async def huge(self, _: web.Request) -> web.StreamResponse:
        return web.Response(body=b" " * (BYTES_MAX + 1))

    def token(self, kid: str = "1", seconds: float = 600, role: str = "clerk") -> str:
        claims = {"iss": self.url, "aud": "openbank", "sub": "u-17", "roles": [role], "exp": int(time.time() + seconds)}
        return jwt.encode(claims, self.keys[kid], "ES256", headers={"kid": kid})

    def entry(self) -> str:
        return issuer_entry(self.url, f"{self.url}/keys", {"clerk": "teller", "reviewer": "auditor"}, ["ES256"])


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    application = web.Application()
    application.router.add_get("/keys", provider.answer)
    application.router.add_get("/elsewhere", provider.huge)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield provider
    await runner.cleanup()


def issuer(url: str) -> Issuer:
    return Issuer("i", "a", url, False, ("ES256",), "roles", {})


async def test_tokens_are_accepted_as_long_as_their_keys(provider: Provider, tmp_path: Path) -> None:
    process = ServerProcess(tmp_path / "d", "--access", str(write_access(tmp_path / "a.toml", provider.entry())))
    await process.start()
    tokens = []

    async def call(token: str, method: str = "RegisterPerson", request: Any = None) -> Asked:
        tokens.append(token)
        return await ask(channel, f"{SERVICE}/{method}", request or john_doe(), token)

    async with grpc.aio.insecure_channel(process.address) as channel:
        assert (await call(provider.token())).reason == "OK"
        before = provider.fetches
        provider.new_key("2")
        assert (await call(provider.token("2"))).reason == "OK"
        assert provider.fetches == before + 1
        provider.status = 500
        assert (await call(provider.token("2"))).reason == "OK"
        assert (await call(provider.token(seconds=-5))).reason == "TOKEN_EXPIRED"
        assert (await call(provider.token(role="nobody"))).reason == "PERMISSION_MISSING"
        watch = persons.WatchPersonEventsRequest(beginning=Empty())
        ended = await asyncio.wait_for(call(provider.token(seconds=2, role="reviewer"), "WatchPersonEvents", watch), 10)
        assert ended.reason == "TOKEN_EXPIRED"
        assert ended.refused is not None
        assert ended.refused.metadata["resumeToken"]
    await process.stop()
    callers = {line["caller"] for line in process.said("call") if "caller" in line}
    assert callers == {f"jwt:{provider.url}|u-17"}
    everything = str(process.lines) + str(process.other_output)
    assert not any(part in everything for token in tokens for part in token.split(".")[1:])


async def test_a_watch_ends_when_the_provider_withdraws_the_key_of_its_token(
    provider: Provider, tmp_path: Path
) -> None:
    process = ServerProcess(tmp_path / "d", "--access", str(write_access(tmp_path / "a.toml", provider.entry())))
    await process.start()
    watch, listing = persons.WatchPersonEventsRequest(beginning=Empty()), persons.ListPersonsRequest()
    async with grpc.aio.insecure_channel(process.address) as channel:
        token = provider.token(role="reviewer")
        assert (await ask(channel, f"{SERVICE}/ListPersons", listing, token)).reason == "OK"
        watching = asyncio.create_task(ask(channel, f"{SERVICE}/WatchPersonEvents", watch, token))
        provider.new_key("2")
        del provider.keys["1"]
        assert (await ask(channel, f"{SERVICE}/ListPersons", listing, provider.token("2", role="clerk"))).reason == "OK"
        assert (await asyncio.wait_for(watching, 10)).reason == "TOKEN_INVALID"
    await process.stop()


async def test_a_bank_starts_without_its_provider_and_keeps_the_tokens_until_it_is_there(
    provider: Provider, tmp_path: Path
) -> None:
    provider.status = 503
    process = ServerProcess(tmp_path / "d", "--access", str(write_access(tmp_path / "a.toml", provider.entry())))
    await process.start()
    await until(lambda: bool(process.said("keys not fetched")))
    async with grpc.aio.insecure_channel(process.address) as channel:
        asked = await ask(channel, f"{SERVICE}/RegisterPerson", john_doe(), provider.token())
    await process.stop()
    assert (asked.code, asked.reason) == (grpc.StatusCode.UNAVAILABLE, "TOKEN_KEYS_UNAVAILABLE")
    assert asked.refused is not None
    assert asked.refused.details["RetryInfo"].retry_delay.seconds == 2


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_only_a_direct_answer_is_a_key_set(provider: Provider, status: int) -> None:
    provider.status = status
    with pytest.raises(OSError, match=f"HTTP status {status}"):
        await fetch(issuer(f"{provider.url}/keys"))


async def test_a_key_set_that_is_missing_or_too_large_is_refused(provider: Provider, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="has more than"):
        await fetch(issuer(f"{provider.url}/elsewhere"))
    with pytest.raises(OSError, match="could not be fetched"):
        await fetch(issuer("http://127.0.0.1:1/keys"))
    with pytest.raises(OSError, match="could not be read: No such file"):
        await fetch(replace(issuer(str(tmp_path / "none.json")), jwks_is_file=True))
