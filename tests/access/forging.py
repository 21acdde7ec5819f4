"""Tokens of an identity provider and keys of a bank: good ones, and what attackers make of them."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import time
from collections.abc import Callable, Sequence
from hashlib import sha256
from random import Random
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from openbank.access.keys import new_key

ISSUER, AUDIENCE = "https://id.example", "openbank"
RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
OTHER_KEY = rsa.generate_private_key(65537, 2048)
KEY = new_key()
SHARED = secrets.token_bytes(32)
DAY_SECONDS = 86_400


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


def claims(**changes: Any) -> dict[str, Any]:
    """Good ones; None leaves one out."""
    now = int(time.time())
    good = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "u-17",
        "iat": now,
        "exp": now + DAY_SECONDS,
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
        "a sub that is a number": signed(sub=17),
        "a sub with a line break": signed(sub="u\nactor: root"),
        "a sub beyond ASCII": signed(sub="ü"),
        "a long sub": signed(sub="u" * 256),
        "a future nbf": signed(nbf=now + DAY_SECONDS // 2),
        "a future iat": signed(iat=now + DAY_SECONDS // 2),
        "a list for claims": made_by_hand({"alg": "RS256", "kid": "rsa"}, [1], lambda _: b"x"),
        "deep claims": made_by_hand({"alg": "RS256", "kid": "rsa"}, b"[" * 5000, lambda _: b"x"),
        "a list for a header": made_by_hand([], claims(), lambda _: b"x"),
        "a kid that is a list": made_by_hand({"alg": "RS256", "kid": ["rsa"]}, claims(), lambda _: b"x"),
        "an alg that is a list": made_by_hand({"alg": ["RS256"], "kid": "rsa"}, claims(), lambda _: b"x"),
        "an iss that is a list": made_by_hand(
            {"alg": "RS256", "kid": "rsa"}, {**claims(), "iss": [ISSUER]}, lambda _: b"x"
        ),
        "bits in the signature that mean nothing": spare_bits(signed(ED_KEY, "EdDSA", "ed")),
        "padding": signed() + "==",
        "other characters in the signature": signed()[:-9] + "!~*" + signed()[-9:],
        "the other base64": signed(ED_KEY, "EdDSA", "ed", sub="u-1").replace("-", "+").replace("_", "/") + "+",
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


def spare_bits(token: str) -> str:
    """The last letter of the signature has bits that no byte has; others are set here."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return token[:-1] + letters[letters.index(token[-1]) ^ 1]


def change(token: str, chance: Random, others: Sequence[str]) -> str:
    """The token with a bit flipped, cut, or with a part repeated or of another one. It may still be the same."""
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
