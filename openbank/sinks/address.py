"""Where a sink is and how it wants its events, as `openbank serve --sink` says it.

    NAME=https://user:password@crm.example/events?key=secret#mode=batched&start=live&park_after=600

The part after # is for the bank. No HTTP client ever sends it, so it cannot be meant for the receiver.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from openbank import address

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
SUBJECT_LENGTH_MAX = 200

_NAMED = re.compile(r"([A-Za-z0-9_-]{1,64})=(.*)")
_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
_SUBJECT = re.compile(r"/?|/[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


class SinkAddress(NamedTuple):
    name: str
    url: str
    """To connect to: with credentials, without options."""
    mode: str
    start: str
    """Where a new sink begins."""
    park_after_seconds: float | None = None
    """How long the sink may fail on one event before the event's aggregate is parked. None: without limit."""

    @property
    def scheme(self) -> str:
        return urlsplit(self.url).scheme

    @property
    def shown(self) -> str:
        """The URL for people, without what may be secret: user, password and query."""
        return address.shown(self.url)


def parse(text: str) -> SinkAddress:
    """Reads `URL` or `NAME=URL`. Raises ValueError, which names the sink and does not repeat the address."""
    named = _NAMED.fullmatch(text)
    name, whole = named.groups() if named else ("", text)
    try:
        return _parse(name, whole)
    except ValueError as error:
        # Without the address: while it is wrong, it is unclear which part of it is secret.
        raise ValueError(f"{error} (the sink {name})" if name else str(error)) from None


def _parse(name: str, whole: str) -> SinkAddress:
    url, _, fragment = whole.partition("#")
    scheme = _scheme(url)
    _check(scheme, whole)
    options = _options(fragment)
    mode = options.pop("mode", MODES[scheme][0])
    if mode not in MODES[scheme]:
        raise ValueError(f"must have a mode of {', '.join(MODES[scheme])} for {scheme}://")
    start = options.pop("start", BEGINNING)
    if start not in STARTS:
        raise ValueError(f"must have a start of {' or '.join(STARTS)}")
    park_after = _seconds(options.pop("park_after", ""))
    if options:
        raise ValueError(f"must have no options but mode, start and park_after behind #, such as {min(options)}")
    name = name or address.shown(url)
    if len(name) > NAME_LENGTH_MAX:
        raise ValueError("must have a name (NAME=URL): the URL is too long to be one")
    return SinkAddress(name, address.normal(url), mode, start, park_after)


def parse_all(texts: list[str]) -> tuple[SinkAddress, ...]:
    """Raises ValueError, also for two of one name."""
    addresses = tuple(parse(text) for text in texts)
    names = [one.name for one in addresses]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"must have a name of its own (NAME=URL) for each sink: {name} is there twice")
    return addresses


def _scheme(url: str) -> str:
    scheme = address.scheme(url)
    if scheme not in MODES or "://" not in url:
        raise ValueError("must be URL or NAME=URL, the name of [A-Za-z0-9_-], the URL of https://, http:// or nats://")
    return scheme


def _check(scheme: str, whole: str) -> None:
    address.check(whole)
    address.host(whole)
    parts = urlsplit(whole)
    user = parts.netloc.rpartition("@")[0].partition(":")[0]
    if scheme != NATS and "%3a" in user.lower():
        raise ValueError("must have a user without a colon: HTTP can't send one")
    if scheme == NATS and not (_SUBJECT.fullmatch(parts.path) and len(parts.path) <= SUBJECT_LENGTH_MAX):
        raise ValueError("must have, as the path of nats://, what subjects begin with: letters, digits, _, - and dots")


def _seconds(text: str) -> float | None:
    if not text:
        return None
    if not _SECONDS.fullmatch(text) or float(text) <= 0:
        raise ValueError("must have a park_after of seconds, more than 0")
    return float(text)


def _options(fragment: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(fragment, strict_parsing=True)) if fragment else {}
    except ValueError:
        raise ValueError("must have options of the form mode=batched&start=live behind #") from None
