"""A request as its caller named it, and the fingerprint by which the same request is known again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from operator import attrgetter
from typing import Any, NamedTuple, get_type_hints

from openbank.domain.errors import InvalidFields, Violation

_HASH_VERSION = b"\x01"


class RequestKey(NamedTuple):
    """A request id and whose it is. A caller may send any id, also one that the bank uses for a step of its own: the
    two are different requests, and neither stands in the way of the other."""

    id: bytes
    internal: bool

    @classmethod
    def of(cls, id: bytes, hash: bytes) -> RequestKey:
        """Makes a key from the id and the fingerprint of a request, or from stored ones."""
        return cls(id, not hash)


class Request(NamedTuple):
    """What comes with a command beside what it is to do.

    `id` is the request_id's 16 bytes, empty without one. `hash` is the fingerprint of a caller's request, where there
    is an id. A request that the bank makes for itself has an id and no hash: see `key`.
    `expected_revision` is the one the aggregate must be at; None accepts any.
    `other_hashes` are the fingerprints that the same request has under another currency table.
    `violations` says which fields this version refuses, given the aggregate's state (None before its first event). They
    are raised unless the request repeats one that was acknowledged, whose answer no later rule, table or clock changes.
    `causation_id` is the id of the event that led to this command, as `show_uuid` writes it; empty for a caller's.
    `validate_only` makes a dry run: the command is decided as any other, and nothing of it is recorded. It is not part
    of what the request id compares.
    `owner` is the id of the person to whom the aggregate must belong; None accepts any. Somebody else's aggregate is as
    if it were not there: it is refused like one that does not exist, also where the request repeats another.
    `actor` is the name of the caller, "key:teller-web", or of the part of the bank that acts by itself; empty where
    callers are not known.
    """

    id: bytes = b""
    correlation_id: str = ""
    expected_revision: int | None = None
    hash: bytes = b""
    other_hashes: Callable[[], Iterable[bytes]] = tuple
    violations: Callable[[Any], Sequence[Violation]] | None = None
    causation_id: str = ""
    validate_only: bool = False
    owner: str | None = None
    actor: str = ""

    @property
    def key(self) -> RequestKey:
        """What the request is remembered by."""
        return RequestKey.of(self.id, self.hash)

    def repeats(self, hash: bytes) -> bool:
        """Whether the earlier request with this fingerprint was this one."""
        return hash == self.hash or hash in self.other_hashes()

    def check(self, state: Any) -> None:
        """Raises InvalidFields with the violations, given the aggregate's state. Not for a replay."""
        if self.violations and (violations := self.violations(state)):
            raise InvalidFields(violations)


def fingerprint(rpc: str, command: object) -> bytes:
    """16 bytes that tell one request from another: a format version and a hash.

    It is stored with every event and compared for as long as events live, so it is over the RPC's name and the
    command's own values by name, never over wire bytes. A field at its default leaves no trace, so a field that a later
    version adds changes no fingerprint of a request that does not use it. Where no default is declared, an empty or
    zero value leaves none.
    """
    return _HASH_VERSION + hashlib.blake2b(_content(rpc.encode(), command), digest_size=15).digest()


def _content(name: bytes, command: object) -> bytes:
    shape = _SHAPES.get(type(command)) or _shape(type(command))
    content = [name]
    for (label, default), value in zip(shape.fields, shape.values(command), strict=True):
        if value == default or not (value or default):
            continue
        kind = type(value)
        text = value.encode() if kind is str else b"%d" % value if kind is int else _bytes(value)
        content.append(b"%b%d\0%b" % (label, len(text), text))
    return b"".join(content)


def _bytes(value: Any) -> bytes:
    """The parts of a sequence are written by their fields too, so that a later version may add a field to them."""
    if type(value) is int:
        return b"%d" % value
    if type(value) in _SHAPES:
        return _content(b"", value)
    if isinstance(value, Enum):
        value = value.value
    if _has_fields(value):
        return _content(b"", value)
    if isinstance(value, tuple | list):
        return b"".join(b"%d\0%b" % (len(part), part) for part in map(_bytes, value))
    return str(value).encode()


class _Shape(NamedTuple):
    """Where the values of a command are. Dataclasses and named tuples in it are walked by field."""

    values: Callable[[object], Sequence[Any]]
    fields: Sequence[tuple[bytes, Any]]
    """The path of each, as it is hashed, and what it is where the request does not say it."""


_SHAPES: dict[type, _Shape] = {}
"""By command, which are few: to look at a type costs more than the hash."""


def _shape(command: type) -> _Shape:
    paths = dict(_paths("", command, ""))
    # With one path attrgetter gives the value itself, and not a sequence of one.
    get = attrgetter(*paths)
    values = get if len(paths) > 1 else lambda command: (get(command),)
    fields = [(b"\0.%b\0" % path.encode(), default) for path, default in paths.items()]
    shape = _SHAPES[command] = _Shape(values, fields)
    return shape


def _paths(path: str, kind: Any, default: Any) -> Iterator[tuple[str, Any]]:
    """The path of each value, and its default: "" where none is declared."""
    if not _has_fields(kind):
        yield path, default
        return
    defaults = _defaults(default if _has_fields(default) else kind)
    for name, type_ in get_type_hints(kind).items():
        yield from _paths(f"{path}.{name}" if path else name, type_, defaults.get(name, ""))


def _defaults(kind: Any) -> dict[str, Any]:
    """The defaults that a type declares for its fields, or the values of one that is itself a default."""
    if not isinstance(kind, type):
        return {name: getattr(kind, name) for name in get_type_hints(type(kind))}
    if is_dataclass(kind):
        return {field.name: field.default for field in fields(kind) if field.default is not MISSING}
    return dict(getattr(kind, "_field_defaults"))  # noqa: B009


def _has_fields(kind: Any) -> bool:
    return is_dataclass(kind) or hasattr(kind, "_fields")
