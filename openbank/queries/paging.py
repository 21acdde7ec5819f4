"""Pages of a list, and the opaque tokens that lead from one to the next.

A token says where its page ended and how far the views were then: no page is older than the one before it, whichever
instance gives it. Format 2 is version (1 byte), and the last item's key, the log position and what else the list fixes
(8 bytes each, big-endian, signed), sealed for the list; URL-safe base64 without padding.

Format 1 was not sealed: 8 bytes of a hash of all that and of the list find a token that was cut, changed or made for
another list. It is still read. Anybody can make one; it grants nothing.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Generic, NamedTuple, TypeVar

from openbank.domain.fields import Fields
from openbank.eventstore.port import BEGINNING, LogPosition
from openbank.eventstore.seal import Seal
from openbank.queries.reader import Reader, answer
from openbank.views.port import LogId

PAGE_SIZE_DEFAULT = 50
PAGE_SIZE_MAX = 1_000
AFTER_THE_LAST = 2**63 - 1
"""Where a list begins that is read from its newest item: beyond every revision and position."""
SLICE = 100
"""Items that are read and encoded in one turn of the event loop: together they cost about as much as a few calls."""

_FORMAT = 2
_OPEN_FORMAT = 1
_HASH_BYTES = 8
_TOKEN_CHARACTERS_MAX = 200

Item = TypeVar("Item")


class Listing(NamedTuple):
    """One list, which a page token belongs to."""

    name: str
    of: str
    """The id of the owner or account that the list belongs to; empty for the list of all."""
    log: LogId | None
    """The id of the store whose positions order the list: positions differ between stores."""
    seal: Seal
    """Seals the list's tokens."""


class PageStart(NamedTuple):
    """Between two items of a list: after the one with this key, in views at this position of the log."""

    key: int
    position: int


class PageRequest(NamedTuple):
    """Which page of a list: at most `size` items after `after`, or from the beginning."""

    listing: Listing
    size: int
    after: PageStart | None


class ListPage(NamedTuple, Generic[Item]):
    """A part of a list. `next_page_token` is empty on the last page; `place` is that of an Answer."""

    items: Sequence[Item]
    next_page_token: str
    place: LogPosition


def read_page_request(fields: Fields, listing: Listing, size: int, token: str) -> PageRequest:
    """The page that a caller asks for: size 0 is the default, the empty token the first page.

    Violations go to `fields`: INVALID_PAGE_SIZE, INVALID_PAGE_TOKEN.
    """
    size = read_page_size(fields, size)
    start = read_token(fields, listing, token, len(PageStart._fields))
    return PageRequest(listing, size, PageStart(*start) if start else None)


async def read_page(
    reader: Reader,
    request: PageRequest,
    at: LogPosition | None,
    beginning: int,
    rows: Callable[[int, int], Awaitable[Sequence[Item]]],
    key: Callable[[Item], int],
) -> ListPage[Item]:
    """The page that was asked for, of `rows(key, limit)`: those that follow a key, `beginning` for the first ones.

    Raises ViewBehind.
    """
    size, start = request.size, request.after or PageStart(beginning, 0)
    if at is None or at.position < start.position:
        at = BEGINNING._replace(position=start.position)

    async def read() -> Sequence[Item]:
        # One more than the page holds, to know whether another page follows.
        return await read_in_slices(reader, start.key, size + 1, rows, key)

    found = await answer(reader, at, read)
    if len(found.value) <= size:
        return ListPage(found.value, "", found.place)
    items = found.value[:size]
    token = page_token(request.listing, PageStart(key(items[-1]), found.place.position))
    return ListPage(items, token, found.place)


async def read_in_slices(
    reader: Reader,
    after: int,
    limit: int,
    rows: Callable[[int, int], Awaitable[Sequence[Item]]],
    key: Callable[[Item], int],
) -> Sequence[Item]:
    """A later slice may be of newer views than an earlier one; an item's place in a list never changes."""
    if limit <= SLICE + 1:
        return await rows(after, limit)
    found: list[Item] = []
    while len(found) < limit:
        await reader.turn()
        wanted = min(SLICE, limit - len(found))
        some = await rows(after, wanted)
        found += some
        if len(some) < wanted:
            break
        after = key(some[-1])
    return found


async def in_slices(reader: Reader, items: Sequence[Item]) -> AsyncIterator[Sequence[Item]]:
    """The items, SLICE at a time, with a pause for others between."""
    for start in range(0, len(items), SLICE):
        if start:
            await reader.turn()
        yield items[start : start + SLICE]


async def encoded(reader: Reader, items: Sequence[Item], encode: Callable[[Sequence[Item]], bytes]) -> bytes:
    """The items as `encode` makes them of each slice, one after another."""
    if len(items) <= SLICE:
        return encode(items)
    return b"".join([encode(some) async for some in in_slices(reader, items)])


def read_page_size(fields: Fields, size: int) -> int:
    """The size of a page. A size that is too large is made smaller, a negative one is refused."""
    if size < 0:
        fields.refuse("page_size", "INVALID_PAGE_SIZE", "must not be negative")
    return min(size, PAGE_SIZE_MAX) if size > 0 else PAGE_SIZE_DEFAULT


def read_token(fields: Fields, listing: Listing, token: str, count: int) -> Sequence[int] | None:
    """The values in a page token of this list; None for the first page. Violations: INVALID_PAGE_TOKEN."""
    if not token:
        return None
    start = _decode(listing, token, count)
    if start is None:
        fields.refuse("page_token", "INVALID_PAGE_TOKEN", "is not a next_page_token of this list")
    return start


def page_token(listing: Listing, values: Sequence[int]) -> str:
    packed = struct.pack(f">{len(values)}q", *values)
    if listing.seal.in_use():
        raw = bytes([_FORMAT]) + listing.seal.seal(packed, [_words(listing)])
    else:
        packed = bytes([_OPEN_FORMAT]) + packed
        raw = packed + _hash(listing, packed)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(listing: Listing, token: str, count: int) -> Sequence[int] | None:
    if len(token) > _TOKEN_CHARACTERS_MAX:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        if raw[:1] == bytes([_FORMAT]):
            start = listing.seal.open(raw[1:], [_words(listing)])
            return struct.unpack(f">{count}q", start) if start is not None else None
        packed, digest = raw[:-_HASH_BYTES], raw[-_HASH_BYTES:]
        version, *values = struct.unpack(f">B{count}q", packed)
    except (ValueError, struct.error):
        return None
    if listing.seal.required or version != _OPEN_FORMAT or digest != _hash(listing, packed):
        return None
    return values


def _hash(listing: Listing, packed: bytes) -> bytes:
    return blake2b(packed + _words(listing), digest_size=_HASH_BYTES).digest()


def _words(listing: Listing) -> bytes:
    """What tells the list from all others."""
    return "\0".join((listing.name, listing.of, *(listing.log or ()))).encode()
