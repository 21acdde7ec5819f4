"""What an access file says, as values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from openbank.access.caller import NOBODY, UNLIMITED, Caller, CertificateNames, Limits
from openbank.access.roles import ROLES, Role, grants_of

_LABEL = re.compile(r"[a-z0-9-]{1,63}")
"""Not "*": a wildcard in a certificate stands for many machines, and is no name of one."""


class Key(NamedTuple):
    digest: bytes
    """The SHA-256 of the key."""
    caller: Caller


class Certificate(NamedTuple):
    """A name in a client's certificate, of a SPIFFE id or of DNS: one of the two is empty."""

    spiffe: str
    dns: str
    """Its first label may be "*", which stands for exactly one label."""
    caller: Caller

    def name_in(self, names: CertificateNames) -> str:
        """Which of the names this entry is for; empty for none."""
        if self.spiffe:
            return self.spiffe if self.spiffe in names.spiffe else ""
        return next((name for name in names.dns if self._is_for(name)), "")

    def _is_for(self, name: str) -> bool:
        if not self.dns.startswith("*."):
            return name.lower() == self.dns
        label, _, rest = name.lower().partition(".")
        return rest == self.dns[2:] and _LABEL.fullmatch(label) is not None


@dataclass(frozen=True, slots=True)
class Issuer:
    """An identity provider, and how its tokens are read."""

    issuer: str
    audience: str
    jwks: str
    """The URL of its key set, or the path of a file."""
    jwks_is_file: bool
    algorithms: Sequence[str]
    roles_claim: str
    role_map: Mapping[str, str]
    """From the names in the token to roles of the bank. Others count for nothing."""
    subject_claim: str = "sub"
    owner_claim: str = ""
    leeway_seconds: int = 30


@dataclass(frozen=True, slots=True)
class Policy:
    """All that an access file says. `callers` are those whose rights depend on nothing but the file."""

    keys: Mapping[str, Key] = field(default_factory=dict)
    """By the id in the key."""
    certificates: Sequence[Certificate] = ()
    issuers: Mapping[str, Issuer] = field(default_factory=dict)
    """By the issuer's name, which is the claim `iss`."""
    local: Caller | None = None
    """Anyone who opens the local socket."""
    roles: Mapping[str, Role] = field(default_factory=lambda: dict(ROLES))
    limits: Mapping[str, Limits] = field(default_factory=dict)
    """By role."""
    file: Path = Path()

    def caller(self, name: str, roles: Sequence[str], owner: str = NOBODY, **more: float) -> Caller:
        """A caller with these roles. Those that the file does not have count for nothing."""
        known = tuple(role for role in dict.fromkeys(roles) if role in self.roles)
        grants = grants_of(self.roles[role] for role in known)
        return Caller(name, known, grants, owner, limits=self._limits(known), **more)

    def _limits(self, roles: Sequence[str]) -> Limits:
        """Of several roles the highest counts; a role without limits has none."""
        if not roles:
            return UNLIMITED
        each = [self.limits.get(role, UNLIMITED) for role in roles]
        return Limits(*(max(values) for values in zip(*each, strict=True)))
