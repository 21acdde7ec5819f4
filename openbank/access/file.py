"""The access file: TOML to a Policy. Everything that is wrong in it is reported by entry and key."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from math import inf
from pathlib import Path
from typing import TypeVar

from openbank.access import values
from openbank.access.caller import NOBODY, Caller, Limits
from openbank.access.errors import BadAccessFile
from openbank.access.policy import Certificate, Issuer, Key, Policy
from openbank.access.roles import OWNABLE, PERMISSIONS, ROLES, Role
from openbank.access.table import Problem, Table

VERSION = 1
BYTES_MAX = 1 << 20
_SECTIONS = ("version", "key", "certificate", "jwt", "local", "role", "limits")

Entry = TypeVar("Entry")


def load(path: Path) -> Policy:
    """Raises BadAccessFile, also for a file that cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(BYTES_MAX)
    except OSError as error:
        raise BadAccessFile(str(path), [f"cannot be read: {error.strerror}"]) from None
    return read(data, path)


def read(data: bytes, path: Path) -> Policy:
    """Raises BadAccessFile, also for what may be the beginning of a longer file."""
    if len(data) >= BYTES_MAX:
        raise BadAccessFile(str(path), [f"has {BYTES_MAX} bytes or more"])
    try:
        content = tomllib.loads(data.decode())
    except UnicodeDecodeError:
        raise BadAccessFile(str(path), ["is not UTF-8"]) from None
    except tomllib.TOMLDecodeError as error:
        # Its message may hold a character of what is written there, but no more.
        raise BadAccessFile(str(path), [f"is not TOML: {error}"]) from None
    return _Reader(content, path).policy()


class _Reader:
    """Reads entry by entry: of each entry the first problem is reported."""

    def __init__(self, content: Mapping[str, object], path: Path) -> None:
        self._content = content
        self._path = path
        self._problems: list[str] = []

    def policy(self) -> Policy:
        self._check_top()
        roles = dict(ROLES) | dict(self._named("role", self._role))
        limits = dict(self._named("limits", _limits))
        for role in limits:
            if role not in roles:
                self._problems.append(f"[limits.{role}]: is not a role")
        self._policy = Policy(roles=roles, limits=limits)
        keys = list(self._numbered("key", self._key))
        self._distinct("[[key]]: id", [id for id, _ in keys])
        self._distinct("[[key]]: name", [key.caller.name for _, key in keys])
        certificates = list(self._numbered("certificate", self._certificate))
        self._distinct("[[certificate]]: name", [one.spiffe or one.dns for one in certificates])
        issuers = list(self._numbered("jwt", self._issuer))
        self._distinct("[[jwt]]: issuer", [one.issuer for one in issuers])
        local = self._local() if "local" in self._content else None
        if self._problems:
            raise BadAccessFile(str(self._path), self._problems)
        by_issuer = {one.issuer: one for one in issuers}
        return Policy(dict(keys), certificates, by_issuer, local, roles, limits, self._path)

    def _check_top(self) -> None:
        version = self._content.get("version")
        if version != VERSION or isinstance(version, bool):
            self._problems.append(f"version: must be {VERSION}, the only version that this server knows")
        if any(section not in _SECTIONS for section in self._content):
            self._problems.append(f"has an entry that is none of {', '.join(_SECTIONS)}")

    def _numbered(self, section: str, read: Callable[[Table], Entry]) -> Iterator[Entry]:
        entries = self._content.get(section, [])
        if not isinstance(entries, list):
            self._problems.append(f"[[{section}]]: must be written with two brackets")
            return
        for number, values_ in enumerate(entries, 1):
            yield from self._try(f"[[{section}]] {number}", values_, read)

    def _named(self, section: str, read: Callable[[Table], Entry]) -> Iterator[tuple[str, Entry]]:
        entries = self._content.get(section, {})
        if not isinstance(entries, Mapping):
            self._problems.append(f"[{section}.NAME]: must be a table")
            return
        for name, values_ in entries.items():
            try:
                values.name(name)
            except ValueError as error:
                self._problems.append(f"[{section}.NAME]: the name {error}")
                continue
            for entry in self._try(f"[{section}.{name}]", values_, read):
                yield name, entry

    def _try(self, entry: str, values_: object, read: Callable[[Table], Entry]) -> Iterator[Entry]:
        try:
            table = Table(entry, values_)
            found = read(table)
            table.end()
        except Problem as problem:
            self._problems.append(str(problem))
        else:
            yield found

    def _distinct(self, what: str, found: list[str]) -> None:
        if len(set(found)) < len(found):
            self._problems.append(f"{what}: is the same in two entries")

    def _role(self, table: Table) -> Role:
        name = table.entry.removeprefix("[role.").removesuffix("]")
        if name in ROLES:
            raise table.problem("the name", "is that of a built-in role")
        permissions = frozenset(table.required("permissions", values.names))
        own_only = table.optional("own_only", values.flag, False)
        known = OWNABLE if own_only else PERMISSIONS
        if not permissions <= known:
            what = "permissions that can be restricted to what the caller owns" if own_only else "permissions"
            raise table.problem("permissions", f"must be {what}: {', '.join(sorted(known))}")
        return Role(permissions, own_only)

    def _roles(self, table: Table, key: str = "roles") -> list[str]:
        roles = table.required(key, values.names)
        self._check_roles(table, key, roles)
        return roles

    def _check_roles(self, table: Table, key: str, roles: list[str]) -> None:
        if not set(roles) <= set(self._policy.roles):
            raise table.problem(key, f"must be roles: {', '.join(self._policy.roles)}")

    def _key(self, table: Table) -> tuple[str, Key]:
        name = table.required("name", values.name)
        table.entry += f' "{name}"'
        id = table.required("id", values.key_id)
        digest = table.required("sha256", values.sha256)
        roles = self._roles(table)
        owner = table.optional("owner", values.person_id, NOBODY)
        expires = table.optional("expires", values.time, inf)
        return id, Key(digest, self._policy.caller(f"key:{name}", roles, owner, expires=expires))

    def _certificate(self, table: Table) -> Certificate:
        if table.has("spiffe") == table.has("dns"):
            raise table.problem("spiffe or dns", "is required, one of the two")
        spiffe = table.optional("spiffe", values.spiffe, "")
        dns = table.optional("dns", values.dns, "")
        roles = self._roles(table)
        owner = table.optional("owner", values.person_id, NOBODY)
        return Certificate(spiffe, dns, self._policy.caller(f"cert:{spiffe or dns}", roles, owner))

    def _issuer(self, table: Table) -> Issuer:
        issuer = table.required("issuer", values.issuer)
        table.entry += f' "{issuer}"'
        jwks = table.required("jwks", values.key_set_url)
        is_file = jwks.startswith("file:")
        if is_file:
            jwks = str(self._path.parent / jwks.removeprefix("file:").removeprefix("//"))
        role_map = table.required("role_map", values.texts_by_text)
        self._check_roles(table, "role_map", list(role_map.values()))
        return Issuer(
            issuer,
            table.required("audience", values.text),
            jwks,
            is_file,
            tuple(table.required("algorithms", values.algorithms)),
            table.required("roles_claim", values.text),
            role_map,
            table.optional("subject_claim", values.text, "sub"),
            table.optional("owner_claim", values.text, ""),
            table.optional("leeway_seconds", values.whole(0, 300), 30),
        )

    def _local(self) -> Caller | None:
        def read(table: Table) -> Caller:
            return self._policy.caller("local", self._roles(table), table.optional("owner", values.person_id, NOBODY))

        return next(self._try("[local]", self._content["local"], read), None)


def _limits(table: Table) -> Limits:
    calls_per_second = table.optional("calls_per_second", values.rate, inf)
    burst = table.optional("burst", values.whole(1, 1_000_000_000), max(1.0, calls_per_second))
    watches = table.optional("watches", values.whole(0, 1_000_000), inf)
    return Limits(calls_per_second, float(burst), float(watches))
