"""Tokens of strangers: whatever they bring, the bank finds out whose it is or refuses."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from openbank.access import key_sets
from openbank.access.caller import Caller, CertificateNames
from openbank.access.errors import TokenExpired, TokenInvalid, TokenKeysUnavailable, TokenMissing
from openbank.access.file import read
from openbank.access.gate import VERIFIED_MAX, Gate
from openbank.access.key_sets import read_keys
from openbank.access.keys import new_key
from openbank.domain.clock import system_clock

ISSUER, AUDIENCE = "https://id.example", "openbank"
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
OTHER_KEY = rsa.generate_private_key(65537, 2048)
KEY = new_key()
SHARED = secrets.token_bytes(32)
ACCESS = f"""
version = 1
[[key]]
name = "web"
id = "{KEY.id}"
sha256 = "{KEY.sha256}"
roles = ["teller"]
[[jwt]]
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
jwks = "https://id.example/keys"
algorithms = ["RS256", "ES256", "EdDSA"]
roles_claim = "realm_access.roles"
owner_claim = "openbank_person"
role_map = {{ clerk = "teller", client = "customer" }}
leeway_seconds = 0
"""


def jwk(key: Any, id: str, **more: Any) -> dict[str, Any]:
    make: dict[type, Any] = {
        rsa.RSAPublicKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePublicKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PublicKey: jwt.algorithms.OKPAlgorithm,
    }
    public = key.public_key()
    algorithm = next(algorithm for kind, algorithm in make.items() if isinstance(public, kind))
    return {**json.loads(algorithm.to_jwk(public)), "kid": id, **more}


def octet_key() -> dict[str, Any]:
    return {"kty": "oct", "kid": "shared", "k": base64.urlsafe_b64encode(SHARED).decode().rstrip("="), "alg": "HS256"}


KEYS = [jwk(RSA_KEY, "rsa"), jwk(EC_KEY, "ec", use="sig", alg="ES256"), jwk(ED_KEY, "ed"), octet_key()]


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


def claims(**changes: Any) -> dict[str, Any]:
    """Good ones; None leaves one out."""
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "u-17",
        "iat": now,
        "exp": now + 600,
        "realm_access": {"roles": ["client", "unknown"]},
        "openbank_person": "person-1",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def signed(key: Any = RSA_KEY, algorithm: str = "RS256", kid: str | None = "rsa", **changes: Any) -> str:
    return jwt.encode(claims(**changes), key, algorithm, headers={"kid": kid} if kid else None)


def made_by_hand(header: Any, payload: Any, sign: Callable[[bytes], bytes]) -> str:
    def part(value: Any) -> bytes:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    text = part(header) + b"." + part(payload)
    return (text + b"." + base64.urlsafe_b64encode(sign(text)).rstrip(b"=")).decode()


def hs256(key: bytes) -> Callable[[bytes], bytes]:
    return lambda text: hmac.new(key, text, sha256).digest()


def public_pem(key: Any) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return bytes(key.public_key().public_bytes(serialization.Encoding.PEM, form))


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


def hostile() -> dict[str, str]:
    now = int(time.time())
    none = made_by_hand({"alg": "none"}, claims(), lambda _: b"")
    return {
        "alg none": none,
        "alg None": made_by_hand({"alg": "None", "kid": "rsa"}, claims(), lambda _: b""),
        "no alg": made_by_hand({"kid": "rsa"}, claims(), lambda _: b""),
        "alg none without a signature": none.rstrip("."),
        "HS256 by the public key": made_by_hand({"alg": "HS256", "kid": "rsa"}, claims(), hs256(public_pem(RSA_KEY))),
        "HS256 called RS256": made_by_hand({"alg": "RS256", "kid": "rsa"}, claims(), hs256(public_pem(RSA_KEY))),
        "HS256 by an oct key of the set": made_by_hand({"alg": "HS256", "kid": "shared"}, claims(), hs256(SHARED)),
        "RS256 by an oct key of the set": made_by_hand({"alg": "RS256", "kid": "shared"}, claims(), hs256(SHARED)),
        "another's key": signed(OTHER_KEY),
        "another's key in the header": jwt.encode(
            claims(), OTHER_KEY, "RS256", headers={"kid": "rsa", "jwk": jwk(OTHER_KEY, "rsa")}
        ),
        "another algorithm of the key": signed(algorithm="RS512"),
        "the key of another algorithm": signed(EC_KEY, "ES256", "rsa"),
        "a critical header": jwt.encode(claims(), RSA_KEY, "RS256", headers={"kid": "rsa", "crit": ["x"], "x": 1}),
        "no aud": signed(aud=None),
        "another aud": signed(aud="openbank-other"),
        "an aud that begins the same": signed(aud="open"),
        "no iss": signed(iss=None),
        "another iss": signed(iss="https://evil.example"),
        "no exp": signed(exp=None),
        "an exp that is no number": made_by_hand(
            {"alg": "RS256", "kid": "rsa"}, {**claims(), "exp": "never"}, lambda _: b"x"
        ),
        "an infinite exp": signed(exp=float("inf")),
        "an exp beyond all numbers": signed(exp=10**400),
        "no sub": signed(sub=None),
        "an empty sub": signed(sub=""),
        "a sub with a line break": signed(sub="u\nactor: root"),
        "a sub beyond ASCII": signed(sub="ü"),
        "a long sub": signed(sub="u" * 256),
        "a future nbf": signed(nbf=now + 600),
        "a future iat": signed(iat=now + 600),
        "a list for claims": made_by_hand({"alg": "RS256", "kid": "rsa"}, [1], lambda _: b"x"),
        "deep claims": made_by_hand({"alg": "RS256", "kid": "rsa"}, b"[" * 5000, lambda _: b"x"),
        "a list for a header": made_by_hand([], claims(), lambda _: b"x"),
        "a kid that is a list": made_by_hand({"alg": "RS256", "kid": ["rsa"]}, claims(), lambda _: b"x"),
        "an alg that is a list": made_by_hand({"alg": ["RS256"], "kid": "rsa"}, claims(), lambda _: b"x"),
        "an iss that is a list": made_by_hand(
            {"alg": "RS256", "kid": "rsa"}, {**claims(), "iss": [ISSUER]}, lambda _: b"x"
        ),
        "a huge token": signed(more="x" * 10_000),
        "dots": "....",
        "nothing": "",
        "no base64": "a.b.c",
        "zero bytes": "a\0b",
        "another bank's key": new_key().key,
        "another secret for the id of a key": KEY.key[:-43] + new_key().key[-43:],
        "a secret that differs in the last letter": KEY.key[:-1] + ("A" if KEY.key[-1] != "A" else "B"),
        "a key cut short": KEY.key[:-1],
        "a key with more": KEY.key + "A",
        "a key of another id": KEY.key.replace(KEY.id, "zzzz"),
        "the stored hash": KEY.sha256,
    }


HOSTILE = hostile()


@pytest.mark.parametrize("name", HOSTILE)
async def test_what_is_no_token_of_the_issuer_is_refused(gate: Gate, name: str) -> None:
    with pytest.raises(TokenInvalid) as caught:
        await admit(gate, HOSTILE[name])
    assert all(part not in str(caught.value) for part in HOSTILE[name].split(".") if len(part) > 3)


async def test_a_damaged_token_is_refused_wherever_it_is_damaged(gate: Gate) -> None:
    token = signed(EC_KEY, "ES256", "ec")
    await admit(gate, token)
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    accepted = []
    for place, letter in enumerate(token):
        if letter == ".":
            continue
        # The last letter of a part has bits that mean nothing: the first bit of a letter always means something.
        other = letters[letters.index(letter) ^ 32]
        try:
            await admit(gate, token[:place] + other + token[place + 1 :])
        except (TokenInvalid, TokenExpired):
            continue
        accepted.append(place)
    assert accepted == []


@pytest.mark.parametrize("authorization", ["Basic dXNlcjpwYXNz", "Bearer", "Bearer ", "bearer  ", "", "Token x"])
def test_an_authorization_that_is_no_bearer_token_is_refused(gate: Gate, authorization: str) -> None:
    with pytest.raises(TokenInvalid):
        gate.admit(Bearer(authorization))
    with pytest.raises(TokenMissing):
        gate.admit(Bearer(None))


def test_a_key_counts_whatever_the_case_of_bearer(gate: Gate) -> None:
    for scheme in ("Bearer", "bearer", "BEARER"):
        caller = gate.admit(Bearer(f"{scheme} {KEY.key}"))
        assert isinstance(caller, Caller)
        assert caller.name == "key:web"


async def test_an_expired_token_is_told_apart_from_a_wrong_one(gate: Gate) -> None:
    with pytest.raises(TokenExpired):
        await admit(gate, signed(exp=int(time.time()) - 1))


async def test_a_token_that_was_verified_expires_nevertheless(provider: Provider) -> None:
    now = [system_clock()]
    gate = gate_for(provider, lambda: now[0])
    token = signed()
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


async def test_the_last_good_set_stays_whatever_comes_after_it(
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
def test_a_key_that_must_not_count_is_left_out_and_the_others_count(entry: Any) -> None:
    document = json.dumps({"keys": [entry, KEYS[1]]}).encode()
    assert list(read_keys(document, ("RS256", "ES256", "EdDSA"))) == [("ec", "ES256")]


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": 1}', b"[" * 100_000, b"\xff", b"null"])
def test_what_is_no_key_set_is_refused(document: bytes) -> None:
    with pytest.raises(ValueError, match=r"is not|does not have"):
        read_keys(document, ("RS256",))


async def test_of_ten_thousand_changes_to_tokens_and_keys_none_lets_anybody_in(gate: Gate) -> None:
    """Bits that are flipped, parts that are cut, swapped and repeated. A change that is none is left out."""
    chance = Random(18)
    good = [signed(ED_KEY, "EdDSA", "ed"), signed(EC_KEY, "ES256", "ec"), KEY.key]
    others = [signed(ED_KEY, "EdDSA", "ed", sub="u-99", realm_access={"roles": ["clerk"]}), new_key().key]
    for token in good:
        await admit(gate, token)
    for _ in range(10_000):
        token = chance.choice(good)
        changed = change(token, chance, others)
        if same_bytes(changed, token) or changed in others:
            continue
        with pytest.raises((TokenInvalid, TokenExpired)):
            await admit(gate, changed)


def change(token: str, chance: Random, others: Sequence[str]) -> str:
    place = chance.randrange(len(token))
    match chance.randrange(5):
        case 0:
            return token[:place] + chr(ord(token[place]) ^ 1 << chance.randrange(7)) + token[place + 1 :]
        case 1:
            return token[:place]
        case 2:
            return token[:place] + token[place + 1 :]
        case 3:
            return token[:place] + token[chance.randrange(len(token)) :]
        case _:
            parts, theirs = token.split("."), chance.choice(others).split(".")
            part = chance.randrange(len(parts))
            return ".".join([*parts[:part], theirs[part % len(theirs)], *parts[part + 1 :]])


def same_bytes(one: str, other: str) -> bool:
    """Base64 has bits at the end of a part that mean nothing."""

    def content(token: str) -> list[bytes] | str:
        try:
            return [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split(".")]
        except ValueError:
            return token

    return content(one) == content(other)
