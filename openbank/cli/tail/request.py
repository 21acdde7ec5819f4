"""Makes the request of a watch from what was typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from openbank.accounts.v1 import account_events_pb2
from openbank.accounts.v1.accounts_service_pb2 import WatchAccountEventsRequest
from openbank.cli.connection import Connection
from openbank.cli.errors import CommandFailed
from openbank.persons.v1 import person_events_pb2
from openbank.persons.v1.persons_service_pb2 import WatchPersonEventsRequest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(1, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class TailOptions:
    """What is to be printed, as it was typed."""

    feed: str
    bank: Connection
    accounts: Sequence[str] = ()
    persons: Sequence[str] = ()
    owners: Sequence[str] = ()
    types: Sequence[str] = ()
    start: str = "live"
    resume: Path | None = None
    format: str = "text"
    color: str = "auto"
    time_format: str = "utc"
    until_caught_up: bool = False


def feed_and_filter(wanted: TailOptions) -> Any:
    """The request without a start. Raises CommandFailed."""
    if wanted.feed == "persons":
        if wanted.owners or wanted.accounts:
            raise CommandFailed("--owner and --account are for accounts")
        types = _types(person_events_pb2.PersonEventType.DESCRIPTOR, wanted.types)
        return WatchPersonEventsRequest(person_ids=wanted.persons, event_types=types)
    if wanted.persons:
        raise CommandFailed("--person is for persons; accounts of a person are those of an --owner")
    types = _types(account_events_pb2.AccountEventType.DESCRIPTOR, wanted.types)
    return WatchAccountEventsRequest(account_ids=wanted.accounts, owner_ids=wanted.owners, event_types=types)


def filter_of(request: Any) -> Mapping[str, object]:
    """A key that is equal for requests that ask for the same events, in any order."""
    filter = MessageToDict(request, preserving_proto_field_name=True)
    return {name: sorted(set(values)) for name, values in filter.items()}


def start_at(request: Any, start: str) -> None:
    """Sets where a watch begins: `beginning`, `live` or a time. Raises CommandFailed."""
    if start in ("beginning", "live"):
        getattr(request, start).SetInParent()
        return
    try:
        time = datetime.fromisoformat(start)
    except ValueError:
        raise CommandFailed(
            f"--from must be beginning, live or a time such as 2026-11-23T15:25Z, not {start}"
        ) from None
    time = time if time.tzinfo else time.replace(tzinfo=UTC)
    # An offset may move a time that has four digits in its year out of those years.
    if not _EARLIEST <= time <= _LATEST:
        raise CommandFailed(f"--from must be a time of the years 1 to 9999 in UTC, not {start}")
    microseconds = (time - _EPOCH) // timedelta(microseconds=1)
    request.time.CopyFrom(Timestamp(seconds=microseconds // 10**6, nanos=microseconds % 10**6 * 1000))


def _types(enum: Any, names: Sequence[str]) -> list[Any]:
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    numbers = {value.name.removeprefix(prefix): value.number for value in enum.values if value.number}
    try:
        return [numbers[name.upper().replace("-", "_").removeprefix(prefix)] for name in names]
    except KeyError as error:
        raise CommandFailed(f"--type must be one of {', '.join(numbers)}, not {error.args[0]}") from None
