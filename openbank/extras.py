"""The optional parts of an installation: the extras of the package, and what each brings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

MODULES = {
    "auth": ("aiohttp", "jwt"),
    "cli": ("rich", "shtab"),
    "eventstoredb": ("esdbclient",),
    "mongodb": ("motor", "pymongo", "bson"),
    "nats": ("nats",),
    "otel": ("opentelemetry",),
    "web": ("aiohttp",),
}


class ExtraMissing(Exception):
    """A setting asks for a part that is not installed; the message says how to install it."""


@contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
    """Goes around an import that needs the extra. `what` asks for it: "the sink bus". Raises ExtraMissing."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in MODULES[extra]:
            raise
        raise ExtraMissing(f"{what} needs the extra {extra}: pip install 'openbank[{extra}]'") from error
