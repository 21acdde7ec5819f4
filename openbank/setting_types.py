"""The kinds of values that settings have: each reads a text, and raises ValueError, which says what it must be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from openbank import address
from openbank.sinks import address as sinks
from openbank.sinks.address import SinkAddress

WHOLE_MAX = 100_000_000
SECONDS_MAX = 31_536_000
"""A year. What the libraries below take is not much more, and differs."""

EMBEDDED = "embedded"
"""The event store or the views in SQLite, in the data directory."""

OTLP_PATH = "/v1/traces"
UNIX = "unix:"
SOCKET_PATH_BYTES_MAX = 107
"""The system's limit."""


def is_embedded(address: str) -> bool:
    return address == EMBEDDED


def whole(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        digits = text.isascii() and text.isdigit() and len(text) <= len(str(WHOLE_MAX))
        if not (digits and least <= int(text) <= WHOLE_MAX):
            raise ValueError(f"must be a whole number, {least} to {WHOLE_MAX}")
        return int(text)

    return read


def seconds(least: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= SECONDS_MAX:
            raise ValueError(f"must be a number of seconds, {least:g} to {SECONDS_MAX}")
        return value

    return read


def one_of(choices: Sequence[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}")
        return text

    return read


def yes_or_no(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError("must be true or false")
    return text.lower() == "true"


def file(text: str) -> Path:
    try:
        return address.path(text)
    except ValueError:
        raise ValueError("must be a file") from None


def host_and_port(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError("must be HOST:PORT, such as 127.0.0.1:50051 or [::]:50051")
    return text


def trace_endpoint(text: str) -> str:
    """The address of a collector; without a path, with that of OTLP/HTTP."""
    if address.scheme(text) not in ("http", "https") or "://" not in text:
        raise ValueError("must be an address that begins with http:// or https://")
    address.check(text)
    address.host(text)
    parts = urlsplit(address.normal(text))
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("must have no user, password or query: OTEL_EXPORTER_OTLP_HEADERS can hold what is secret")
    return parts._replace(path=OTLP_PATH if parts.path in ("", "/") else parts.path).geturl()


def directory(text: str) -> Path:
    try:
        return address.path(text)
    except ValueError:
        raise ValueError("must be a directory") from None


def store(*schemes: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if address.scheme(text) not in schemes or "://" not in text:
            raise ValueError(f"must be an address that begins with {' or '.join(f'{one}://' for one in schemes)}")
        address.check(text)
        return address.normal(text)

    return read


def embedded_or(*schemes: str) -> Callable[[str], str]:
    read_address = store(*schemes)

    def read(text: str) -> str:
        if text == EMBEDDED:
            return text
        if not address.scheme(text):
            raise ValueError(f"must be {EMBEDDED} or an address that begins with {schemes[0]}://")
        return read_address(text)

    return read


def sink_addresses(text: str) -> tuple[SinkAddress, ...]:
    if not text.split():
        raise ValueError("must be URL or NAME=URL, or several with spaces between")
    return sinks.parse_all(text.split())


def local_socket(text: str) -> str:
    """unix:PATH."""
    socket = text.removeprefix(UNIX)
    if socket == text or not socket or "\0" in socket or len(socket.encode()) > SOCKET_PATH_BYTES_MAX:
        raise ValueError(f"must be unix:PATH, with a path of at most {SOCKET_PATH_BYTES_MAX} bytes")
    return text


def bank_address(text: str) -> str:
    """What a client calls: HOST:PORT or unix:PATH."""
    if text.startswith(UNIX):
        return local_socket(text)
    try:
        return host_and_port(text)
    except ValueError as error:
        raise ValueError(f"{error}, or unix:PATH") from None
