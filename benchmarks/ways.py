"""Ways to call a bank: plain, and by TLS with a token."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from openbank.access.keys import new_key
from tests.certificates import Authority

ISSUER, AUDIENCE = "https://id.example", "openbank"
HOUR = 3_600


class Way(NamedTuple):
    """How a bank is called."""

    name: str
    serve: Sequence[str]
    call: Sequence[str]


def ways(directory: Path) -> Sequence[Way]:
    """Plain, with a key, with a JWT. Makes the certificates and the access file in `directory`."""
    authority, key = Authority(directory), new_key()
    pair = authority.sign("bank")
    tls = ("--tls-cert", str(pair.cert), "--tls-key", str(pair.key))
    trusting = ("-ca", str(authority.file))
    access, token = _access(directory, key.id, key.sha256)
    return (
        Way("plain", (), ()),
        Way("TLS with a key", (*tls, "--access", str(access)), (*trusting, "-token", key.key)),
        Way("TLS with a JWT", (*tls, "--access", str(access)), (*trusting, "-token", token)),
    )


def _access(directory: Path, id: str, sha256: str) -> tuple[Path, str]:
    """An access file with a key and an issuer of JWTs, and a JWT of it. The bank verifies it once."""
    private = rsa.generate_private_key(65537, 2048)
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key()))
    (directory / "keys.json").write_text(json.dumps({"keys": [{**public, "kid": "one"}]}))
    path = directory / "access.toml"
    path.write_text(
        f"""\
version = 1
[[key]]
name = "teller"
id = "{id}"
sha256 = "{sha256}"
roles = ["teller", "auditor"]
[[jwt]]
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
jwks = "file:{directory}/keys.json"
algorithms = ["RS256"]
roles_claim = "roles"
role_map = {{ clerk = "teller" }}
"""
    )
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": int(time.time()) + HOUR, "roles": ["clerk"]}
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return path, jwt.encode(claims, pem, "RS256", {"kid": "one"})
