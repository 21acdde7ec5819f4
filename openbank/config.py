"""What can be set: every limit of a running bank with its unit, its default and what it is for.

Each setting is a flag of `openbank serve` (`--drain-seconds`) and an environment variable (`OPENBANK_DRAIN_SECONDS`);
the flag wins. They are read once, at start. What callers rely on (page sizes, lengths of texts, sizes of responses)
is the contract's and cannot be set.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from openbank import address
from openbank.setting_types import (
    EMBEDDED,
    SECONDS_MAX,
    WHOLE_MAX,
    directory,
    embedded_or,
    file,
    host_and_port,
    is_embedded,
    local_socket,
    one_of,
    seconds,
    sink_addresses,
    store,
    trace_endpoint,
    whole,
    yes_or_no,
)
from openbank.sinks.address import SinkAddress

__all__ = ["EMBEDDED", "SECONDS_MAX", "WHOLE_MAX", "BadSetting", "Settings", "is_embedded", "settings"]

ENVIRONMENT = "OPENBANK_"
OTHER_VARIABLES = (
    "OPENBANK_TEST_",
    "OPENBANK_MODEL_EXAMPLES",
    "OPENBANK_ESDB_TRANSCRIPTS",
    "OPENBANK_MONGODB_PASSWORD",
    "OPENBANK_TOKEN",
)
"""What variables begin with that are no settings: those of tests, of deploy/compose.yaml, and of clients."""
NEAR = 0.65
"""How much of a variable's name must be that of a setting to be taken for a mistyped one, from 0 to 1."""

EVENT_STORES = ("esdb", "esdb+discover")
VIEWS = ("mongodb", "mongodb+srv")

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("console", "json")


def read_location(text: str) -> str | Path:
    """Where a bank can be copied from or to: an address of EventStoreDB, or a data directory.

    Raises ValueError, which says what it must be and repeats nothing.
    """
    if not address.scheme(text):
        return address.path(text)
    return store(*EVENT_STORES)(text)


class BadSetting(ValueError):
    """A value that cannot be used; the message names the flag or the variable it came from."""


def _as(read: Callable[[str], Any], help: str, **more: Any) -> Mapping[str, Any]:
    return {"read": read, "help": help, **more}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    listen: str = field(
        default="127.0.0.1:50051",
        metadata=_as(host_and_port, "address to serve on, HOST:PORT; port 0 takes a free one"),
    )
    tls_cert: Path | None = field(
        default=None, metadata=_as(file, "certificate of the bank, with those between it and its authority, in PEM")
    )
    tls_key: Path | None = field(
        default=None, metadata=_as(file, "private key of the certificate, in PEM; TLS needs both")
    )
    tls_client_ca: Path | None = field(
        default=None,
        metadata=_as(file, "authorities of clients' certificates, in PEM: only clients that have one may connect"),
    )
    local_socket: str = field(
        default="",
        metadata=_as(
            local_socket, "also serve, without TLS, on this socket, unix:PATH, which only the bank's own user can open"
        ),
    )
    insecure: bool = field(
        default=False,
        metadata=_as(
            yes_or_no,
            "listen beyond this machine without TLS or an access file: anybody who reaches the port is let in",
            action="store_const",
        ),
    )
    data: Path = field(default=Path("data"), metadata=_as(directory, "directory of the bank's files"))
    access: Path | None = field(
        default=None,
        metadata=_as(file, "who may call, and what: a TOML file, see docs/access.md; without it everybody may"),
    )
    event_store: str = field(
        default=EMBEDDED,
        metadata=_as(
            embedded_or(*EVENT_STORES), "where the events are: embedded, or EventStoreDB at esdb://HOST:PORT?OPTIONS"
        ),
    )
    views: str = field(
        default=EMBEDDED,
        metadata=_as(embedded_or(*VIEWS), "where the views are: embedded, or MongoDB at mongodb://HOST:PORT/DATABASE"),
    )
    sink: tuple[SinkAddress, ...] = field(
        default=(),
        metadata=_as(
            sink_addresses,
            "where integration events are sent as CloudEvents, URL or NAME=URL of https://, http:// or nats://, with"
            " #mode=structured|binary|batched&start=beginning|live&park_after=SECONDS behind it; may be given more than"
            " once, in the environment with spaces between",
            action="append",
        ),
    )
    sink_timeout_seconds: float = field(default=10.0, metadata=_as(seconds(0.01), "how long a sink may take to answer"))
    sink_retry_seconds_max: float = field(
        default=30.0, metadata=_as(seconds(0.01), "the longest pause before a sink that fails is tried again")
    )
    store_wait_seconds: float = field(
        default=60.0, metadata=_as(seconds(0), "how long the start waits for EventStoreDB and MongoDB")
    )
    log_level: str = field(
        default="info", metadata=_as(one_of(LOG_LEVELS), "least level that is logged: " + ", ".join(LOG_LEVELS))
    )
    log_format: str = field(
        default="console", metadata=_as(one_of(LOG_FORMATS), "console, for people, or json, one object a line")
    )

    trace_endpoint: str | None = field(
        default=None,
        metadata=_as(
            trace_endpoint,
            "where spans of calls with a sampled traceparent are sent over OTLP/HTTP, URL such as http://HOST:4318; off"
            " without one",
        ),
    )
    metrics_listen: str | None = field(
        default=None,
        metadata=_as(
            host_and_port, "address to serve /metrics, /livez and /readyz on over HTTP, HOST:PORT; off without one"
        ),
    )

    message_bytes_max: int = field(
        default=1 << 20, metadata=_as(whole(1024), "largest request in bytes; no request needs more")
    )
    concurrent_calls_max: int = field(
        default=1000,
        metadata=_as(
            whole(1),
            "commands at one time, and as many queries, and as many queries that wait for their consistency token; one"
            " more is RESOURCE_EXHAUSTED",
        ),
    )
    watches_max: int = field(
        default=10_000, metadata=_as(whole(1), "watches at one time; one more is RESOURCE_EXHAUSTED")
    )

    view_wait_seconds: float = field(
        default=5.0, metadata=_as(seconds(0), "how long a query waits for its consistency token")
    )
    heartbeat_seconds: float = field(
        default=15.0, metadata=_as(seconds(0.01), "a watch without events gets a heartbeat this often")
    )
    silence_seconds_max: float = field(
        default=300.0,
        metadata=_as(seconds(0.01), "end a watch whose client reads nothing for this long; lag alone never does"),
    )
    drain_seconds: float = field(
        default=10.0, metadata=_as(seconds(0), "how long a stop waits, for watches and calls together")
    )
    ring_events: int = field(
        default=10_000, metadata=_as(whole(1), "recent events kept in memory for all watches together")
    )
    cached_aggregates: int = field(
        default=20_000,
        metadata=_as(whole(1), "persons and accounts each, kept in memory to decide on, about 1.4 KB each"),
    )

    @property
    def reloads(self) -> bool:
        """Whether there are files that can be replaced while the bank serves, and SIGHUP is about them."""
        return self.tls_cert is not None or self.access is not None

    @property
    def stores(self) -> str:
        """Where the bank's data is, to be shown to people."""
        here = str(self.data.resolve())
        parts = [here if is_embedded(at) else address.shown(at) for at in (self.event_store, self.views)]
        return " and ".join(dict.fromkeys(parts))


def add_flags(parser: argparse.ArgumentParser, *names: str) -> None:
    """A flag for each setting, or for those named. Values are read by `settings`, with those of the environment."""
    for setting in fields(Settings):
        if names and setting.name not in names:
            continue
        kind = setting.metadata.get("action", "store")
        value: dict[str, Any] = (
            {"const": "true"} if kind == "store_const" else {"metavar": setting.name.rpartition("_")[2].upper()}
        )
        parser.add_argument(
            _flag(setting),
            dest=setting.name,
            action=kind,
            **value,
            help=f"{setting.metadata['help']} (default: {setting.default or 'none'}; {_variable(setting)})",
        )


def settings(flags: Mapping[str, str | list[str] | None], environment: Mapping[str, str]) -> Settings:
    """The settings that flags and environment give. Raises BadSetting, also for a variable that looks mistyped."""
    _refuse_mistyped(environment)
    values = {}
    for setting in fields(Settings):
        flag, variable = flags.get(setting.name), environment.get(_variable(setting))
        if flag is not None:
            # A flag that was given more than once; no address has a space in it.
            text = flag if isinstance(flag, str) else " ".join(flag)
            values[setting.name] = _read(setting, _flag(setting), text)
        elif variable is not None:
            values[setting.name] = _read(setting, _variable(setting), variable)
    return Settings(**values)


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Names of variables that look like settings, and are none. Other programs and newer versions may have such."""
    return sorted(
        name
        for name in environment
        if name.startswith(ENVIRONMENT) and name not in _VARIABLES and not name.startswith(OTHER_VARIABLES)
    )


def _refuse_mistyped(environment: Mapping[str, str]) -> None:
    for name in unknown_variables(environment):
        # Late, as it is seldom needed.
        from difflib import get_close_matches

        if near := get_close_matches(name.removeprefix(ENVIRONMENT).upper(), _VARIABLES.values(), n=1, cutoff=NEAR):
            raise BadSetting(f"{name} is no setting: did you mean {ENVIRONMENT}{near[0]}?")


def _read(setting: Field[Any], source: str, text: str) -> Any:
    try:
        return setting.metadata["read"](text)
    except ValueError as error:
        # An address may hold a password, also where nobody would look for one.
        shown = "what was given" if re.search("[@?]|://", text) else repr(text)
        raise BadSetting(f"{source} {error}, not {shown}") from None


def _flag(setting: Field[Any]) -> str:
    return "--" + setting.name.replace("_", "-")


def _variable(setting: Field[Any]) -> str:
    return ENVIRONMENT + setting.name.upper()


_VARIABLES = {_variable(setting): setting.name.upper() for setting in fields(Settings)}
