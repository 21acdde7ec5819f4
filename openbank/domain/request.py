"""A request as its caller named it, and the fingerprint by which the same request is known again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import is_dataclass
from operator import attrgetter
from typing import Any, NamedTuple, get_type_hints

from openbank.domain.errors import InvalidFields, Violation

_HASH_VERSION = b"\x01"


class Request(NamedTuple):
    """What comes with a command beside what it is to do.

    `id` is the request_id's 16 bytes, empty without one. `hash` is the request's fingerprint, where there is an id.
    `expected_revision` is the one the aggregate must be at; None accepts any.
    `other_hashes` are the fingerprints that the same request has under another currency table.
    `violations` says which fields this version refuses, given the aggregate's state (None before its first event). They
    are raised unless the request repeats one that was acknowledged, whose answer no later rule, table or clock changes.
    """

    id: bytes = b""
    correlation_id: str = ""
    expected_revision: int | None = None
    hash: bytes = b""
    other_hashes: Callable[[], Iterable[bytes]] = tuple
    violations: Callable[[Any], Sequence[Violation]] | None = None

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
    command's own values by name, never over wire bytes. Values that are empty (sequences too) or zero are left out, so
    that a field which a later version adds changes no fingerprint of a request that does not use it.
    """
    shape = _SHAPES.get(type(command)) or _shape(type(command))
    content = [rpc.encode()]
    for label, value in zip(shape.labels, shape.values(command), strict=True):
        if type(value) is not str:
            value = str(getattr(value, "value", value)) if value else ""
        if value:
            text = value.encode()
            content.append(b"%b%d\0%b" % (label, len(text), text))
    return _HASH_VERSION + hashlib.blake2b(b"".join(content), digest_size=15).digest()


class _Shape(NamedTuple):
    """Where the values of a command are, dataclasses and named tuples in it walked by field."""

    values: Callable[[object], Sequence[Any]]
    labels: Sequence[bytes]
    """Their paths, as they are hashed."""


_SHAPES: dict[type, _Shape] = {}
"""Of the commands, which are few: to look at a type costs more than the hash."""


def _shape(command: type) -> _Shape:
    paths = list(_paths("", command))
    # With one path attrgetter gives the value itself, and not a sequence of one.
    get = attrgetter(*paths)
    values = get if len(paths) > 1 else lambda command: (get(command),)
    shape = _SHAPES[command] = _Shape(values, [b"\0.%b\0" % path.encode() for path in paths])
    return shape


def _paths(path: str, kind: Any) -> Iterator[str]:
    if not (is_dataclass(kind) or hasattr(kind, "_fields")):
        yield path
        return
    for name, type_ in get_type_hints(kind).items():
        yield from _paths(f"{path}.{name}" if path else name, type_)
