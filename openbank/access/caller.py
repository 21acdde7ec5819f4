"""One caller, once the bank knows who it is."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import NamedTuple, Protocol

from openbank.access.errors import PermissionMissing
from openbank.access.roles import ACTORS_READ, Grants

NOBODY = ""
"""The person of a caller that has none: nothing belongs to it."""


class Limits(NamedTuple):
    """The limits of one caller; infinite where the access file says nothing."""

    calls_per_second: float = inf
    burst: float = inf
    """Calls that may come at once, after a pause."""
    watches: float = inf


UNLIMITED = Limits()


@dataclass(frozen=True, slots=True)
class Caller:
    name: str
    """Its name in events and logs: "key:teller-web", "jwt:<issuer>|<subject>", "cert:<name>", "local"."""
    roles: tuple[str, ...]
    grants: Grants
    owner: str = NOBODY
    """The id of the caller's person."""
    expires: float = inf
    """In seconds since 1970 UTC: from then on the caller's token is not valid."""
    limits: Limits = UNLIMITED

    @property
    def sees_actors(self) -> bool:
        """Whether it may see who caused an event."""
        return ACTORS_READ in self.grants.unrestricted

    def scope(self, permission: str) -> str | None:
        """The id of the person to whose accounts a permission is restricted, or None for everybody's.

        Raises PermissionMissing.
        """
        if permission in self.grants.unrestricted:
            return None
        if permission in self.grants.own_only:
            return self.owner
        raise PermissionMissing(permission)


class Credentials(Protocol):
    """What a call brings along to say who makes it."""

    @property
    def authorization(self) -> str | None:
        """The metadata of this name; None where there is none."""
        ...

    @property
    def is_local(self) -> bool:
        """Whether the call came through the local socket."""
        ...

    def certificate_names(self) -> CertificateNames:
        """The names in the client's certificate, which TLS has verified."""
        ...


class CertificateNames(NamedTuple):
    spiffe: tuple[str, ...] = ()
    dns: tuple[str, ...] = ()
