"""Addresses of other systems (URLs): telling them from paths, checking them, and showing them without secrets."""

from __future__ import annotations

import ipaddress
import re
import socket
from pathlib import Path
from urllib.parse import parse_qsl, unquote, unquote_to_bytes, urlsplit

SCHEMES = frozenset(
    {"esdb", "esdb+discover", "kurrentdb", "kurrentdb+discover", "kdb", "kdb+discover", "mongodb", "mongodb+srv"}
    | {"http", "https", "nats", "tls", "file"}
)
"""What nobody means as the beginning of a path."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(//)?")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[^\[\]:]*)(?::([0-9]{0,9}))?")
HOST_LENGTH_MAX = 253
PORT_MAX = 65_535

ESCAPE = "must have %, /, ?, #, @ of a user or password written as %25, %2F, %3F, %23, %40, and any other @ as %40"


def scheme(text: str) -> str:
    """The scheme in lower case; empty for a path or anything else that is not an address."""
    match = _SCHEME.match(text)
    return match[1].lower() if match and (match[2] or match[1].lower() in SCHEMES) else ""


def normal(address: str) -> str:
    """The address with its scheme in lower case: some drivers know no other."""
    return address if not scheme(address) else scheme(address) + address[len(scheme(address)) :]


def path(text: str) -> Path:
    """A path of this machine. Raises ValueError for an address, which may hold a password, and for an empty text."""
    if not text or "\0" in text:
        raise ValueError("must be a path")
    if scheme(text) or "://" in text:
        raise ValueError("must be a path, not an address")
    return Path(text).expanduser()


def shown(address: str) -> str:
    """The address for logs, errors and people: without user, password, query and fragment. A path is shown as it is.

    Where characters that should have been escaped leave open what is secret, more is hidden than need be.
    """
    if not (scheme(address) or "@" in address):
        return address
    before, separator, rest = address.partition("://")
    beginning = before + separator if separator and _SCHEME.match(address) else ""
    userinfo, at, host = (rest if separator else address).rpartition("@")
    if at and re.search(r"[?#]", userinfo):
        return f"{beginning}..."
    return beginning + re.split(r"[?#]", host, maxsplit=1)[0]


def reason(error: Exception, address: str) -> str:
    """What an error says about an address that `check` has passed; only its name if it quotes what may be secret."""
    text = str(error)
    authority, _, rest = _parts(address)
    userinfo = authority.rpartition("@")[0]
    parts = {
        address,
        userinfo,
        *userinfo.split(":", 1),
        *(value for _, value in parse_qsl(rest.partition("?")[2] or rest)),
    }
    quotes = any(part in text or unquote(part) in text for part in parts if part)
    return type(error).__name__ if quotes else text


def check(address: str) -> None:
    """Raises ValueError, which says what is wrong and repeats nothing, for an address whose parts are not clear."""
    if not address.isprintable() or " " in address:
        raise ValueError("must be an address without spaces and control characters")
    try:
        urlsplit(address)
    except ValueError:
        raise ValueError("must be an address of the form SCHEME://HOST:PORT") from None
    authority, _, rest = _parts(address)
    userinfo, _, hosts = authority.rpartition("@")
    if "@" in rest or "@" in userinfo or _BAD_ESCAPE.search(userinfo):
        raise ValueError(ESCAPE)
    for part in userinfo.split(":", 1):
        try:
            if not unquote_to_bytes(part).decode().isprintable():
                raise ValueError("must have a user and password without control characters")
        except UnicodeDecodeError:
            raise ValueError("must have a user and password in UTF-8") from None
    for one in hosts.split(","):
        match = _HOST_AND_PORT.fullmatch(one)
        if match is None or not match[1]:
            raise ValueError("must have HOST or HOST:PORT behind //")
        if match[2] and not 1 <= int(match[2]) <= PORT_MAX:
            raise ValueError(f"must have a port from 1 to {PORT_MAX}")


def _parts(address: str) -> tuple[str, str, str]:
    """What is between // and the first of / ? #, that character, and the rest."""
    _, _, behind = address.partition("://")
    match = re.search(r"[/?#]", behind)
    return (behind, "", "") if match is None else (behind[: match.start()], match[0], behind[match.end() :])


def host(address: str) -> str:
    """The host of an address that `check` has passed, as it is resolved: an international name in its ASCII form.

    Raises ValueError for several hosts, and for what can never be one.
    """
    if "," in urlsplit(address).netloc.rpartition("@")[2]:
        raise ValueError("must have one host")
    name = urlsplit(address).hostname or ""
    if not name:
        raise ValueError("must have a host")
    if ":" in name:
        try:
            ipaddress.IPv6Address(name)
        except ValueError:
            raise ValueError("must have an IPv6 address in its brackets") from None
        return name
    if not name.isascii():
        import idna  # Late: few need its tables.

        try:
            name = idna.encode(name, uts46=True).decode()
        except idna.IDNAError:
            raise ValueError("must have a host that is a valid international name") from None
    labels = name.removesuffix(".").split(".")
    if len(name) > HOST_LENGTH_MAX or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("must have a host of labels of letters, digits, - and _, 63 characters at most each")
    if labels[-1].isdigit():
        try:
            socket.inet_aton(name)
        except OSError:
            raise ValueError("must have a host that is a name or an IP address") from None
    return name
