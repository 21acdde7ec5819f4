"""What an access file lets a caller do, in words."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from openbank.access.caller import Caller, CertificateNames
from openbank.access.errors import PermissionMissing, TokenInvalid
from openbank.access.policy import Policy
from openbank.cli.errors import CommandFailed
from openbank.extras import ExtraMissing, needs
from openbank.rpc.permissions import permissions

CLAIMS_BYTES_MAX = 1 << 20


class Explained(NamedTuple):
    allowed: bool
    lines: Sequence[tuple[str, str]]
    """Names and values, to be printed."""


def explain(policy: Policy, who: str, claims: Path | None, method: str, id: str | None) -> Explained:
    """Raises CommandFailed for a caller that the file does not have, and for an unknown method."""
    caller = _caller(policy, who, claims)
    permission = _permission(method)
    lines = [
        ("caller", caller.name),
        ("roles", ", ".join(caller.roles) or "none"),
        ("person", caller.owner or "none"),
        ("method", f"{method} needs {permission}"),
    ]
    allowed, answer = _answer(caller, permission, id)
    return Explained(allowed, [*lines, ("answer", answer)])


def _answer(caller: Caller, permission: str, id: str | None) -> tuple[bool, str]:
    if caller.expires <= time.time():
        return False, "no, its token has expired: TOKEN_EXPIRED"
    try:
        person = caller.scope(permission)
    except PermissionMissing as error:
        return False, f"no, none of its roles has the permission: {error.reason}"
    if person is None:
        return True, "yes"
    if not person:
        return False, "no, its roles are for what it owns, and it has no person: NOT_FOUND"
    if id == person:
        return True, "yes, it is its own person"
    return True, f"yes, if {id or 'the account'} belongs to {person}; else NOT_FOUND"


def _permission(method: str) -> str:
    known = permissions()
    found = {permission for name, permission in known.items() if method in (name, name.rpartition("/")[2])}
    if len(found) != 1:
        raise CommandFailed(f"{method} is not a method of the bank")
    return found.pop()


def _caller(policy: Policy, who: str, claims: Path | None) -> Caller:
    kind, _, name = who.partition(":")
    if kind == "jwt":
        return _of_token(policy, name, claims)
    if claims is not None:
        raise CommandFailed("--claims is for jwt:ISSUER|SUBJECT")
    found: Caller | None = None
    if kind == "key":
        found = next((key.caller for key in policy.keys.values() if key.caller.name == who), None)
    elif kind == "cert":
        names = CertificateNames((name,), ()) if name.startswith("spiffe:") else CertificateNames((), (name,))
        found = next((entry.caller for entry in policy.certificates if entry.name_in(names)), None)
    elif who == "local":
        found = policy.local
    else:
        raise CommandFailed("--as must be key:NAME, cert:NAME, jwt:ISSUER|SUBJECT or local")
    if found is None:
        raise CommandFailed(f"the access file has no entry for {who}")
    return found


def _of_token(policy: Policy, name: str, file: Path | None) -> Caller:
    issuer_name, _, subject = name.rpartition("|")
    issuer = policy.issuers.get(issuer_name)
    if issuer is None:
        raise CommandFailed(f"the access file has no issuer {issuer_name}: --as 'jwt:ISSUER|SUBJECT'")
    claims: dict[str, Any] = {"exp": 2**40} | _read_claims(file)
    claims.setdefault(issuer.subject_claim, subject)
    try:
        with needs("auth", "--as jwt:..."):
            from openbank.access.web_tokens import caller_of
        return caller_of(policy, issuer, claims)
    except (ExtraMissing, TokenInvalid) as error:
        raise CommandFailed(str(error)) from None


def _read_claims(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        with file.open("rb") as opened:
            claims = json.loads(opened.read(CLAIMS_BYTES_MAX))
    except OSError as error:
        raise CommandFailed(f"{file} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict) or not isinstance(claims.get("exp", 0), int):
        raise CommandFailed(f"{file} must be a JSON object of claims, with exp as a number if it is there")
    return claims
