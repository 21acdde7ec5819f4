"""What hostile calls say of who makes them: good credentials on most, and what strangers try on some."""

from __future__ import annotations

import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from openbank.access.roles import ROLES
from openbank.rpc.permissions import permissions
from tests.access.callers import Keys, issuer_entry, write_access
from tests.access.forging import (
    EC_KEY,
    ED_KEY,
    ISSUER,
    KEY,
    KEYS,
    RSA_KEY,
    change,
    hostile,
    octet_key,
    signed,
)
from tests.hostile.verdict import Broken

HOSTILE_PART = 0.05
"""The part of the calls that come without good credentials, or with those of a role that may do less."""
OWNER, ACCOUNT = "hostile-customer", "hostile-customers-account"
"""The person of the customer, and its account."""
SUBJECTS = ("u-17", "u|key:root", '{"caller": "key:root"}', "%s%n", "' or 1=1 --", "..", "x" * 255)
"""Subjects that may be in a token, and say nothing else of who calls."""
STAFF = {"roles": ["clerk", "reviewer", "engineer"]}
PERMISSIONS = {f"/{method}": permission for method, permission in permissions().items()}
"""By the path of the method. Health checks and reflection need none."""
SECRET_LENGTH_MIN = 20

Metadata = Sequence[tuple[str, str | bytes]]

UNAUTHENTICATED = frozenset({"TOKEN_MISSING", "TOKEN_INVALID", "TOKEN_EXPIRED", "TOKEN_KEYS_UNAVAILABLE"})
BAD = frozenset({"TOKEN_INVALID", "TOKEN_EXPIRED"})
DENIED = UNAUTHENTICATED | {"PERMISSION_MISSING", "RATE_LIMITED"}


class Attempt(NamedTuple):
    """The credentials of one call, and what must come of them."""

    kind: str
    metadata: Metadata = ()
    reasons: frozenset[str] = frozenset()
    """Nothing else may be the answer. Empty for a caller that the bank knows."""
    roles: Sequence[str] = tuple(ROLES)
    by_socket: bool = False

    @property
    def is_full(self) -> bool:
        """Whether the caller may do everything."""
        return not self.reasons and tuple(self.roles) == tuple(ROLES)

    def check(self, path: str, ended: str) -> None:
        """Raises Broken for an answer that the caller must not get."""
        # What a reason is not, gRPC has answered, or the call was left: docs/hostile-input.md.
        if path not in PERMISSIONS or not re.fullmatch(r"[A-Z_]+", ended):
            return
        allowed = any(PERMISSIONS[path] in ROLES[role].permissions for role in self.roles)
        reasons = self.reasons or (frozenset() if allowed else {"PERMISSION_MISSING"})
        if ended not in reasons if reasons else ended in DENIED:
            raise Broken(f"{ended} with the credentials {self.kind!r}")


OPEN = Attempt("none")
"""For a bank without an access file."""


class Credentials:
    """The access file of one bank, `file`, and credentials for calls to it."""

    def __init__(self, directory: Path, random: Random) -> None:
        self._random = random
        self._keys = Keys()
        (directory / "keys.json").write_text(json.dumps({"keys": KEYS}))
        entries = [self._keys.entry(role, role) for role in ROLES if role != "customer"]
        entries += [
            self._keys.entry("all", *ROLES),
            self._keys.entry("customer", "customer", more=f'owner = "{OWNER}"'),
            self._keys.entry("old", *ROLES, more="expires = 2020-01-01T00:00:00Z"),
            # Hostile tokens are made of this one.
            f'[[key]]\nname = "forged"\nid = "{KEY.id}"\nsha256 = "{KEY.sha256}"\nroles = ["teller"]',
            _issuer(),
            '[local]\nroles = ["auditor"]',
        ]
        self.file = write_access(directory / "access.toml", *entries)
        signers = ((RSA_KEY, "RS256", "rsa"), (EC_KEY, "ES256", "ec"), (ED_KEY, "EdDSA", "ed"))
        self._tokens = [signed(*signer, sub=subject, realm_access=STAFF) for subject in SUBJECTS for signer in signers]
        self._full = [*map(_bearer, self._tokens), _bearer(self._keys["all"].key)]
        self._others = [
            *(Attempt(role, _bearer(self._keys[role].key), roles=(role,)) for role in ROLES),
            Attempt("customer by a JWT", _bearer(signed(openbank_person=OWNER)), roles=("customer",)),
            Attempt("no role", _bearer(signed(realm_access={"roles": ["teller", "operator"]})), roles=()),
            Attempt("socket", roles=("auditor",), by_socket=True),
            Attempt("teller by the socket", _bearer(self._keys["teller"].key), roles=("teller",), by_socket=True),
        ]
        self._forged = [
            *(Attempt(kind, _bearer(token), BAD) for kind, token in hostile().items() if token.isprintable()),
            Attempt("expired", _bearer(signed(exp=int(time.time()) - 1)), frozenset({"TOKEN_EXPIRED"})),
            Attempt("an old key", _bearer(self._keys["old"].key), frozenset({"TOKEN_EXPIRED"})),
        ]
        self._tried: Sequence[Callable[[], Attempt]] = (
            *[lambda: self._random.choice(self._others)] * 3,
            *[lambda: self._random.choice(self._forged)] * 3,
            *[self._damaged] * 3,
            self._misplaced,
            self._malformed,
        )
        used = [str(one.metadata[0][1]) for one in (*self._others, *self._forged) if one.metadata]
        parts = [part for token in (*self._tokens, *used) for part in token.removeprefix("Bearer ").split(".")[-2:]]
        keys = [secret for key in (KEY, *self._keys.values()) for secret in (key.key[-43:], key.sha256)]
        self._secrets = {one for one in (*parts, *keys, octet_key()["k"]) if len(one) >= SECRET_LENGTH_MIN}
        self.callers = {f"jwt:{ISSUER}|{subject}" for subject in SUBJECTS} | {f"key:{name}" for name in self._keys}
        self.callers |= {"local"}
        """The names of all callers that the bank knows."""

    @property
    def key(self) -> str:
        """The key of a caller that may do everything."""
        return self._keys["all"].key

    @property
    def customer(self) -> Attempt:
        return self._others[list(ROLES).index("customer")]

    def keep_secret(self, secret: str) -> None:
        self._secrets.add(secret)

    def check_for_secrets(self, shown: str | bytes, where: str) -> None:
        """Raises Broken for text that has a part of a credential in it."""
        text = shown if isinstance(shown, str) else shown.decode("latin-1")
        if found := [secret for secret in self._secrets if secret in text]:
            raise Broken(f"{where} has {found[0]!r} in it")

    def full(self) -> Attempt:
        return Attempt("all", self._random.choice(self._full))

    def choose(self) -> Attempt:
        if self._random.random() >= HOSTILE_PART:
            return self.full()
        return self._random.choice(self._tried)()

    def _damaged(self) -> Attempt:
        """A key or a token, of which some bits or parts are others."""
        good = [*self._tokens, self._keys["all"].key]
        changed = token = self._random.choice(good)
        while changed in good or not changed.isprintable() or changed.strip() != changed:
            changed = change(token, self._random, good)
        return Attempt("damaged", _bearer(changed), BAD)

    def _misplaced(self) -> Attempt:
        """Good credentials where none are looked for: nobody has named a caller."""
        token = f"Bearer {self._keys['all'].key}"
        metadata: Metadata = self._random.choice(
            (
                (),
                (("authorization-bin", token.encode()),),
                (("proxy-authorization", token),),
                (("x-authorization", token), ("cookie", f"authorization={token}")),
                (("x-actor", "key:all"), ("x-caller", "key:all"), ("caller", "key:all")),
            )
        )
        return Attempt("misplaced", metadata, frozenset({"TOKEN_MISSING"}))

    def _malformed(self) -> Attempt:
        """Good credentials, in a form that could mean two things to two readers."""
        key, token = self._keys["all"].key, self._random.choice(self._tokens)
        good = ("authorization", f"Bearer {key}")
        metadata: Metadata = self._random.choice(
            (
                (good, good),
                (good, ("authorization", f"Bearer {token}")),
                (("authorization", "Bearer x"), good),
                (("authorization", f"Basic {b64encode(key.encode()).decode()}"),),
                (("authorization", f"Token {key}"),),
                (("authorization", f"Bearer:{key}"),),
                (("authorization", key),),
                (("authorization", f"Bearer {key} {token}"),),
                (("authorization", f"Bearer {key}, Bearer {token}"),),
                (("authorization", f"Bearer {key}.{token}"),),
                (("authorization", f'Bearer "{key}"'),),
                (("authorization", ""),),
                (("authorization", "Bearer"),),
                (("authorization", "Bearer " + "x" * self._random.choice((4_000, 7_999, 8_001))),),
            )
        )
        return Attempt("malformed", metadata, BAD)


def _bearer(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),)


def _issuer() -> str:
    roles: Mapping[str, str] = {"clerk": "teller", "client": "customer", "reviewer": "auditor", "engineer": "operator"}
    algorithms = ["RS256", "ES256", "EdDSA"]
    return issuer_entry(ISSUER, "file:keys.json", roles, algorithms, roles_claim="realm_access.roles")
