"""What it costs to know who calls: processor time of a GetAccount by TLS and with a token, beside a plain one."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benchmarks import messages, servers
from benchmarks.load import load, write_bodies
from benchmarks.measure import Measure, median, ratios
from benchmarks.seed import ACCOUNTS, seed
from benchmarks.servers import ServerProcess
from benchmarks.serving import MANY
from openbank.access.keys import new_key
from tests.certificates import Authority

METHOD = "GetAccount"
AIM = 1.2
ISSUER, AUDIENCE = "https://id.example", "openbank"
HOUR = 3_600


class Way(NamedTuple):
    """How a bank is called."""

    name: str
    serve: Sequence[str]
    call: Sequence[str]


def rows(scratch: Path, rounds: int, seconds: float) -> list[Measure]:
    """Each way has a bank of its own with the same accounts; all take turns."""
    directory = scratch / "callers"
    directory.mkdir()
    with servers.bank(directory / "plain") as bank:
        seed(bank.address)
    plain, *others = _ways(directory)
    for way in others:
        shutil.copytree(directory / plain.name, directory / way.name)
    bodies = write_bodies(directory / "gets", map(messages.get_account, range(ACCOUNTS)))
    used: dict[str, list[float]] = {way.name: [] for way in (plain, *others)}
    with ExitStack() as running:
        banks = {
            way.name: running.enter_context(servers.bank(directory / way.name, flags=way.serve))
            for way in (plain, *others)
        }
        for _ in range(rounds):
            for way in (plain, *others):
                used[way.name].append(_cpu_us(banks[way.name], way, bodies, seconds))
    return [
        Measure(
            f"server CPU time a {METHOD} by {way.name} / plain, {MANY} in flight",
            ratios(used[way.name], used[plain.name]),
            AIM,
            f"{median(used[way.name]):,.0f} of {median(used[plain.name]):,.0f} us",
            at_most=True,
        )
        for way in others
    ]


def _cpu_us(bank: ServerProcess, way: Way, bodies: Path, seconds: float) -> float:
    begin = bank.cpu_nanoseconds()
    done = load(bank.address, messages.path(METHOD), bodies, MANY, seconds=seconds, more=way.call)
    return (bank.cpu_nanoseconds() - begin) / done.all_calls / 1_000


def _ways(directory: Path) -> Sequence[Way]:
    authority, key = Authority(directory), new_key()
    pair, client = authority.sign("bank"), authority.sign("client", ["client.example"])
    tls = ("--tls-cert", str(pair.cert), "--tls-key", str(pair.key))
    trusting = ("-ca", str(authority.file))
    access, token = _access(directory, key.id, key.sha256)
    return (
        Way("plain", (), ()),
        Way("TLS", tls, trusting),
        Way(
            "mutual TLS",
            (*tls, "--tls-client-ca", str(authority.file)),
            (*trusting, "-cert", str(client.cert), "-key", str(client.key)),
        ),
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
roles = ["teller"]
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
