"""Where a sink is and how it wants its events, as `openbank serve --sink` says it.

    NAME=https://user:password@crm.example/events?key=secret#mode=batched&start=live

What stands behind # is for the bank: it is never sent, by any HTTP client, so it cannot be the receiver's.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

STRUCTURED = "structured"
BINARY = "binary"
BATCHED = "batched"
BEGINNING = "beginning"
LIVE = "live"

NATS = "nats"
MODES = {"http": (STRUCTURED, BINARY, BATCHED), "https": (STRUCTURED, BINARY, BATCHED), NATS: (STRUCTURED, BINARY)}
"""By the scheme of the URL; the first is the default."""
STARTS = (BEGINNING, LIVE)
NAME_LENGTH_MAX = 200

_NAMED = re.compile(r"([A-Za-z0-9_-]{1,64})=(.*)")
_SUBJECT = re.compile(r"/?|/[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


class SinkAddress(NamedTuple):
    name: str
    url: str
    """To connect to: with credentials, without options."""
    mode: str
    start: str
    """Where a sink begins of which nothing is known yet."""

    @property
    def scheme(self) -> str:
        return urlsplit(self.url).scheme

    @property
    def shown(self) -> str:
        """The URL for people, without what may be secret: user, password and query."""
        return _shown(self.url)


def parse(text: str) -> SinkAddress:
    """Reads `URL` or `NAME=URL`. Raises ValueError, which says what it must be and does not repeat it."""
    named = _NAMED.fullmatch(text)
    name, address = named.groups() if named else ("", text)
    url, _, fragment = address.partition("#")
    scheme = _scheme(url)
    options = _options(fragment)
    mode = options.pop("mode", MODES[scheme][0])
    if mode not in MODES[scheme]:
        raise ValueError(f"must have a mode of {', '.join(MODES[scheme])} for {scheme}://")
    start = options.pop("start", BEGINNING)
    if start not in STARTS:
        raise ValueError(f"must have a start of {' or '.join(STARTS)}")
    if options:
        raise ValueError(f"must have no options but mode and start behind #, such as {min(options)}")
    name = name or _shown(url)
    if len(name) > NAME_LENGTH_MAX:
        raise ValueError("must have a name (NAME=URL): the URL is too long to be one")
    return SinkAddress(name, url, mode, start)


def parse_all(texts: list[str]) -> tuple[SinkAddress, ...]:
    """Raises ValueError, also for two of one name."""
    addresses = tuple(parse(text) for text in texts)
    names = [address.name for address in addresses]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"must have a name of its own (NAME=URL) for each sink: {name} is there twice")
    return addresses


def _scheme(url: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in MODES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not url.isprintable() or " " in url:
        raise ValueError("must be URL or NAME=URL, the name of [A-Za-z0-9_-], the URL of https://, http:// or nats://")
    if parts.scheme == NATS and not _SUBJECT.fullmatch(parts.path):
        raise ValueError("must have, as the path of nats://, what subjects begin with: letters, digits, _, - and dots")
    return parts.scheme


def _options(fragment: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(fragment, strict_parsing=True)) if fragment else {}
    except ValueError:
        raise ValueError("must have options of the form mode=batched&start=live behind #") from None


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
