"""Permissions, and the roles that have them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

OWNABLE = frozenset(
    {
        "persons.read",
        "persons.write",
        "accounts.read",
        "accounts.deposit",
        "accounts.withdraw",
        "accounts.control",
        "transfers.create",
        "holds.write",
        "batches.execute",
        "events.watch",
        "integration.watch",
    }
)
"""Permissions that a role may have for the caller's own person and accounts only."""

ACTORS_READ = "actors.read"
"""Shows who caused an event, in what else the caller may read. No method names it."""

PERMISSIONS = OWNABLE | {
    "persons.register",
    "persons.list",
    "accounts.open",
    "accounts.reverse",
    ACTORS_READ,
    "sinks.read",
    "sinks.write",
    "quarantine.read",
    "quarantine.write",
    "views.read",
    "views.write",
}
"""All permissions. Every method of the contract names one of them."""


class Role(NamedTuple):
    permissions: frozenset[str]
    own_only: bool = False
    """Whether the permissions are for the caller's own person and accounts only."""


ROLES = {
    "teller": Role(
        frozenset(
            {
                "persons.register",
                "persons.write",
                "persons.read",
                "persons.list",
                "accounts.open",
                "accounts.deposit",
                "accounts.reverse",
                "accounts.withdraw",
                "accounts.read",
                "transfers.create",
                "holds.write",
                "batches.execute",
                ACTORS_READ,
            }
        )
    ),
    "customer": Role(
        frozenset(
            {
                "persons.write",
                "persons.read",
                "accounts.withdraw",
                "accounts.read",
                "transfers.create",
                "holds.write",
                "batches.execute",
                "events.watch",
            }
        ),
        own_only=True,
    ),
    "auditor": Role(
        frozenset(
            {
                "persons.read",
                "persons.list",
                "accounts.read",
                "events.watch",
                "integration.watch",
                "sinks.read",
                "quarantine.read",
                "views.read",
                ACTORS_READ,
            }
        )
    ),
    "operator": Role(
        frozenset(
            {
                "accounts.control",
                "integration.watch",
                "sinks.read",
                "sinks.write",
                "quarantine.read",
                "quarantine.write",
                "views.read",
                "views.write",
            }
        )
    ),
}
"""The built-in roles. An access file may add others, and does not change these."""


class Grants(NamedTuple):
    """What several roles allow together."""

    unrestricted: frozenset[str] = frozenset()
    own_only: frozenset[str] = frozenset()
    """Permissions for what belongs to the caller's person, where it has one."""


def grants_of(roles: Iterable[Role]) -> Grants:
    """A permission that one role restricts and another does not is not restricted."""
    unrestricted: set[str] = set()
    own_only: set[str] = set()
    for role in roles:
        (own_only if role.own_only else unrestricted).update(role.permissions)
    return Grants(frozenset(unrestricted), frozenset(own_only - unrestricted))
