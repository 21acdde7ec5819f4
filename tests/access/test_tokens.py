"""Tokens of strangers: whatever they bring, the bank finds out whose it is or refuses."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from openbank.access import key_sets
from openbank.access.caller import Caller, CertificateNames
from openbank.access.errors import TokenExpired, TokenInvalid, TokenKeysUnavailable, TokenMissing
from openbank.access.file import read
from openbank.access.gate import VERIFIED_MAX, Gate
from openbank.access.key_sets import read_keys
from openbank.access.keys import new_key
from openbank.domain.clock import system_clock
from tests.access.callers import issuer_entry
from tests.access.forging import (
    AUDIENCE,
    EC_KEY,
    ED_KEY,
    ISSUER,
    KEY,
    KEYS,
    OTHER_KEY,
    RSA_KEY,
    change,
    hostile,
    jwk,
    octet_key,
    signed,
)

ACCESS = f"""
version = 1
[[key]]
name = "web"
id = "{KEY.id}"
sha256 = "{KEY.sha256}"
roles = ["teller"]
"""
ACCESS += issuer_entry(
    ISSUER,
    "https://id.example/keys",
    {"clerk": "teller", "client": "customer"},
    ["RS256", "ES256", "EdDSA"],
    roles_claim="realm_access.roles",
)


class Provider:
    """An identity provider whose key set is `keys`; None does not answer."""

    def __init__(self, keys: list[dict[str, Any]] | None) -> None:
        self.keys = keys
        self.fetches = 0
        self.gate: Awaitable[Any] | None = None

    async def fetch(self, _: Any) -> bytes:
        self.fetches += 1
        await asyncio.sleep(0)
        if self.gate is not None:
            await self.gate
        if self.keys is None:
            raise OSError("was not fetched")
        return json.dumps({"keys": self.keys}).encode()


class Bearer:
    is_local = False

    def __init__(self, authorization: str | None) -> None:
        self.authorization = authorization

    def certificate_names(self) -> CertificateNames:
        return CertificateNames()


def gate_for(provider: Provider, clock: Callable[[], int] = system_clock) -> Gate:
    return Gate(read(ACCESS.encode(), Path("access.toml")), clock, provider.fetch)


@pytest.fixture
def provider() -> Provider:
    return Provider(list(KEYS))


@pytest.fixture
def gate(provider: Provider) -> Gate:
    return gate_for(provider)


async def admit(gate: Gate, token: str) -> Caller:
    admitted = gate.admit(Bearer(f"Bearer {token}"))
    return admitted if isinstance(admitted, Caller) else await admitted


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"), [(RSA_KEY, "RS256", "rsa"), (EC_KEY, "ES256", "ec"), (ED_KEY, "EdDSA", "ed")]
)
async def test_a_token_of_the_issuer_names_its_caller(gate: Gate, key: Any, algorithm: str, kid: str) -> None:
    caller = await admit(gate, signed(key, algorithm, kid))
    assert (caller.name, caller.roles, caller.owner) == (f"jwt:{ISSUER}|u-17", ("customer",), "person-1")
    assert await admit(gate, signed(key, algorithm, None)) == caller


async def test_a_list_of_audiences_and_roles_in_a_text_are_understood(gate: Gate) -> None:
    token = signed(aud=["other", AUDIENCE], realm_access={"roles": "clerk client"})
    assert (await admit(gate, token)).roles == ("teller", "customer")


HOSTILE = hostile()


@pytest.mark.parametrize("name", HOSTILE)
async def test_anything_but_a_token_of_the_issuer_is_refused(gate: Gate, name: str) -> None:
    with pytest.raises(TokenInvalid) as caught:
        await admit(gate, HOSTILE[name])
    assert all(part not in str(caught.value) for part in HOSTILE[name].split(".") if len(part) > 3)


async def test_a_damaged_token_is_refused_wherever_it_is_damaged(gate: Gate) -> None:
    token = signed(EC_KEY, "ES256", "ec")
    await admit(gate, token)
    accepted = []
    for place, letter in enumerate(token):
        for bit in range(7):
            try:
                await admit(gate, token[:place] + chr(ord(letter) ^ 1 << bit) + token[place + 1 :])
            except (TokenInvalid, TokenExpired):
                continue
            accepted.append((place, bit))
    assert accepted == []


@pytest.mark.parametrize("authorization", ["Basic dXNlcjpwYXNz", "Bearer", "Bearer ", "bearer  ", "", "Token x"])
def test_an_authorization_that_is_not_a_bearer_token_is_refused(gate: Gate, authorization: str) -> None:
    with pytest.raises(TokenInvalid):
        gate.admit(Bearer(authorization))
    with pytest.raises(TokenMissing):
        gate.admit(Bearer(None))


def test_the_case_of_bearer_is_ignored(gate: Gate) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        caller = gate.admit(Bearer(f"{scheme} {KEY.key}"))
        assert isinstance(caller, Caller)
        assert caller.name == "key:web"


async def test_an_expired_token_is_distinguished_from_a_wrong_one(gate: Gate) -> None:
    with pytest.raises(TokenExpired):
        await admit(gate, signed(exp=int(time.time()) - 1))


async def test_a_token_that_was_verified_expires_nevertheless(provider: Provider) -> None:
    now = [system_clock()]
    gate = gate_for(provider, lambda: now[0])
    token = signed(exp=now[0] // 1_000_000 + 600)
    await admit(gate, token)
    now[0] += 600_000_000
    with pytest.raises(TokenExpired):
        await admit(gate, token)


async def test_a_token_is_verified_once_and_again_after_a_change(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    token = signed()
    await admit(gate, token)
    counted: list[object] = []
    decode = jwt.decode

    def counting(*arguments: Any, **more: Any) -> Any:
        counted.append(arguments)
        return decode(*arguments, **more)

    monkeypatch.setattr(jwt, "decode", counting)
    for _ in range(3):
        await admit(gate, token)
    assert counted == []
    gate.apply(read(ACCESS.replace('client = "customer"', 'client = "teller"').encode(), Path("access.toml")))
    assert (await admit(gate, token)).roles == ("teller",)
    assert len(counted) == 1


async def test_the_memory_for_verified_tokens_is_bounded(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openbank.access.gate.VERIFIED_MAX", 3)
    assert VERIFIED_MAX > 3
    for number in range(10):
        await admit(gate, signed(ED_KEY, "EdDSA", "ed", sub=f"u-{number}"))
    assert len(gate._verified) == 3


async def test_a_token_with_a_new_key_waits_for_one_fetch_that_all_share(gate: Gate, provider: Provider) -> None:
    await admit(gate, signed())
    assert provider.fetches == 1
    provider.keys = [*KEYS, jwk(OTHER_KEY, "new")]
    tokens = [signed(OTHER_KEY, kid="new", sub=f"u-{number}") for number in range(5)]
    callers = await asyncio.gather(*(admit(gate, token) for token in tokens))
    assert {caller.roles for caller in callers} == {("customer",)}
    assert provider.fetches == 2


async def test_a_flood_of_unknown_keys_causes_one_fetch_in_half_a_minute(
    gate: Gate, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(key_sets, "monotonic", lambda: now[0])
    await admit(gate, signed())
    before = provider.fetches
    for number in range(200):
        with pytest.raises(TokenInvalid, match="is signed with an unknown key"):
            await admit(gate, signed(OTHER_KEY, kid=f"k-{number}"))
    assert provider.fetches <= before + 1
    now[0] += 31
    for number in range(200):
        with pytest.raises(TokenInvalid):
            await admit(gate, signed(OTHER_KEY, kid=f"k-{number}"))
    assert provider.fetches <= before + 2
    await admit(gate, signed())


async def test_without_a_key_set_ever_the_token_may_be_kept(provider: Provider) -> None:
    provider.keys = None
    gate = gate_for(provider)
    for _ in range(20):
        with pytest.raises(TokenKeysUnavailable):
            await admit(gate, signed())
    assert provider.fetches == 1
    admitted = gate.admit(Bearer(f"Bearer {KEY.key}"))
    assert isinstance(admitted, Caller)


async def test_the_last_good_key_set_stays_when_a_fetch_fails(
    gate: Gate, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr(key_sets, "monotonic", lambda: now[0])
    token = signed()
    await admit(gate, token)
    for keys in (None, [], [octet_key()]):
        provider.keys = keys
        now[0] += 400
        (key_set,) = gate._key_sets.values()
        await key_set.refresh_when_due()
        assert (await admit(gate, token)).roles == ("customer",)
    provider.keys = [jwk(OTHER_KEY, "rsa")]
    now[0] += 400
    await key_set.refresh_when_due()
    with pytest.raises(TokenInvalid):
        await admit(gate, token)


@pytest.mark.parametrize(
    "entry",
    [
        octet_key(),
        jwk(rsa.generate_private_key(65537, 1024), "short"),
        jwk(RSA_KEY, "for-encryption", use="enc"),
        jwk(RSA_KEY, "for-another", alg="RS512"),
        jwk(RSA_KEY, "symmetric", alg="HS256"),
        {**jwk(RSA_KEY, "damaged"), "n": "!"},
        {**jwk(EC_KEY, "off-the-curve"), "x": jwk(EC_KEY, "")["y"]},
        {"kty": "EC", "crv": "P-521"},
        {"kty": 7},
        {},
        "text",
    ],
)
def test_unusable_keys_are_left_out_and_the_others_count(entry: Any) -> None:
    document = json.dumps({"keys": [entry, KEYS[1]]}).encode()
    assert list(read_keys(document, ("RS256", "ES256", "EdDSA"))) == [("ec", "ES256")]


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": 1}', b"[" * 100_000, b"\xff", b"null"])
def test_anything_but_a_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"is not|does not have"):
        read_keys(document, ("RS256",))


async def test_none_of_ten_thousand_changed_tokens_and_keys_lets_anybody_in(gate: Gate) -> None:
    """Bits that are flipped, parts that are cut, swapped and repeated. A change that is none is left out."""
    chance = Random(18)
    good = [signed(ED_KEY, "EdDSA", "ed"), signed(EC_KEY, "ES256", "ec"), KEY.key]
    others = [signed(ED_KEY, "EdDSA", "ed", sub="u-99", realm_access={"roles": ["clerk"]}), new_key().key]
    for token in good:
        await admit(gate, token)
    for _ in range(10_000):
        token = chance.choice(good)
        changed = change(token, chance, others)
        if changed in (token, *others):
            continue
        with pytest.raises((TokenInvalid, TokenExpired)):
            await admit(gate, changed)
