"""JSON Web Tokens: from a token that verifies to a caller."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from typing import Any

import jwt
from jwt import PyJWK
from jwt import exceptions as wrong

from openbank.access.caller import NOBODY, Caller
from openbank.access.errors import TokenExpired, TokenInvalid
from openbank.access.key_sets import KeySet
from openbank.access.policy import Issuer, Policy

_SUBJECT = re.compile(r"[ -~]{1,255}")
_PERSON = re.compile(r"[A-Za-z0-9_-]{1,64}")
_WHY = {
    wrong.InvalidSignatureError: "is not signed by its issuer",
    wrong.InvalidAudienceError: "is for another audience",
    wrong.ImmatureSignatureError: "is not valid yet",
    wrong.InvalidIssuedAtError: "was issued at no valid time",
    wrong.InvalidAlgorithmError: "is signed with an algorithm that is not allowed",
    wrong.MissingRequiredClaimError: "lacks one of the claims exp, sub, iss, aud",
    wrong.InvalidSubjectError: "has a subject that is no text",
}
REQUIRED = ("exp", "sub", "iss", "aud")


class KeyUnknown(TokenInvalid):
    """The token may be valid: `key_set` does not have its key, and can be asked again."""

    def __init__(self, key_set: KeySet) -> None:
        super().__init__("is signed with an unknown key")
        self.key_set = key_set


class WebTokens:
    def __init__(self, policy: Policy, key_sets: Mapping[str, KeySet]) -> None:
        """`key_sets` by issuer."""
        self._policy = policy
        self._key_sets = key_sets

    def caller(self, token: str) -> Caller:
        """The holder of this token. Raises TokenInvalid, TokenExpired, and KeyUnknown where another fetch may help."""
        id, algorithm, issuer = self._claimed(token)
        key_set = self._key_sets[issuer.issuer]
        key = key_set.find(id, algorithm)
        if key is None:
            raise KeyUnknown(key_set)
        return self._verified(token, key, issuer)

    def _claimed(self, token: str) -> tuple[str, str, Issuer]:
        """What the token says of itself, before anything is verified: its key, its algorithm, its issuer."""
        parts = _read(lambda: jwt.decode_complete(token, options={"verify_signature": False}))
        header, claims = parts["header"], parts["payload"]
        # Parsers pass over what is no base64 in the signature, which nothing signs. One token has one form.
        if urlsafe_b64encode(parts["signature"]).rstrip(b"=").decode() != token.rpartition(".")[2]:
            raise TokenInvalid("is malformed")
        issuer = self._policy.issuers.get(str(claims.get("iss")))
        if issuer is None:
            raise TokenInvalid("is from an unknown issuer")
        algorithm = header.get("alg")
        if algorithm not in issuer.algorithms:
            raise TokenInvalid(_WHY[wrong.InvalidAlgorithmError])
        return header.get("kid", ""), algorithm, issuer

    def _verified(self, token: str, key: PyJWK, issuer: Issuer) -> Caller:
        claims = _read(
            lambda: jwt.decode(
                token,
                key,
                algorithms=list(issuer.algorithms),
                audience=issuer.audience,
                issuer=issuer.issuer,
                leeway=issuer.leeway_seconds,
                options={"require": list(REQUIRED)},
            )
        )
        return caller_of(self._policy, issuer, claims)


def caller_of(policy: Policy, issuer: Issuer, claims: Mapping[str, Any]) -> Caller:
    """The caller that verified claims describe. Raises TokenInvalid."""
    subject = find(claims, issuer.subject_claim)
    if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
        raise TokenInvalid("has no subject of 1 to 255 printable ASCII characters")
    named = find(claims, issuer.roles_claim)
    if isinstance(named, str):
        named = named.split()
    names = [one for one in named if isinstance(one, str)] if isinstance(named, list) else []
    roles = [issuer.role_map[one] for one in names if one in issuer.role_map]
    owner = find(claims, issuer.owner_claim) if issuer.owner_claim else None
    if not isinstance(owner, str) or not _PERSON.fullmatch(owner):
        owner = NOBODY
    expires = _read(lambda: float(int(claims["exp"]) + issuer.leeway_seconds))
    return policy.caller(f"jwt:{issuer.issuer}|{subject}", roles, owner, expires=expires)


def find(claims: Mapping[str, Any], path: str) -> object:
    """A claim by its name, which may have dots in it, or else by the path to it: "realm_access.roles"."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _read(decode: Callable[[], Any]) -> Any:
    try:
        return decode()
    except wrong.ExpiredSignatureError:
        raise TokenExpired from None
    except wrong.PyJWTError as error:
        raise TokenInvalid(_WHY.get(type(error), "is malformed")) from None
    # The token is a stranger's: whatever a parser stumbles over in it (numbers, depth, encodings) is its fault.
    except (ValueError, TypeError, OverflowError, RecursionError, AttributeError, KeyError):
        raise TokenInvalid("is malformed") from None
