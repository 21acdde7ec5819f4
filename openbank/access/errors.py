"""Why a caller is refused. No message repeats anything of a token."""

from __future__ import annotations

from openbank.domain.errors import Refused
from openbank.reloading import BadFile


class TokenMissing(Refused):
    reason = "TOKEN_MISSING"

    def __init__(self) -> None:
        super().__init__("the call names no caller: send the metadata authorization: Bearer TOKEN")


class TokenInvalid(Refused):
    """`why` continues "the token": "is signed with an unknown key"."""

    reason = "TOKEN_INVALID"

    def __init__(self, why: str) -> None:
        super().__init__(f"the token {why}")


class TokenExpired(Refused):
    reason = "TOKEN_EXPIRED"

    def __init__(self) -> None:
        super().__init__("the token has expired: get a new one")


class TokenKeysUnavailable(Refused):
    """Whether the token is valid is not known: its issuer's keys were never fetched."""

    reason = "TOKEN_KEYS_UNAVAILABLE"

    def __init__(self) -> None:
        super().__init__("the keys of the token's issuer are not available yet; call again with the same token")


class PermissionMissing(Refused):
    reason = "PERMISSION_MISSING"

    def __init__(self, permission: str) -> None:
        super().__init__(f"the caller's roles do not have the permission {permission}", permission=permission)


class RateLimited(Refused):
    """The caller is beyond a limit of its roles: `limit` is the key in the access file."""

    reason = "RATE_LIMITED"

    def __init__(self, limit: str, count: float, retry_ms: int) -> None:
        message = f"the caller is at its limit of {limit}, {count:g}: call again in {retry_ms} ms"
        super().__init__(message, limit=limit, maxCount=f"{count:g}", retryMilliseconds=str(retry_ms))


DENIALS = frozenset(
    refusal.reason for refusal in (TokenMissing, TokenInvalid, TokenExpired, PermissionMissing, RateLimited)
)
"""Reasons of calls that their caller may not make, or not now."""


class BadAccessFile(BadFile):
    """An access file that cannot be used. Each problem names the entry and the key, and repeats no value."""

    def __init__(self, file: str, problems: list[str]) -> None:
        super().__init__("\n".join(f"{file}: {problem}" for problem in problems))
        self.problems = problems
