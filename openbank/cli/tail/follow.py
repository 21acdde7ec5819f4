"""`openbank tail`: prints a feed for as long as it is let."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import grpc
from google.protobuf.json_format import MessageToDict

from openbank.accounts.v1 import account_events_pb2
from openbank.accounts.v1.accounts_service_pb2 import WatchAccountEventsRequest
from openbank.cli.errors import CommandFailed
from openbank.cli.tail.lines import Lines, TextLines, json_lines
from openbank.cli.tail.resume_file import ResumeFile
from openbank.client.resumption import Interruption
from openbank.client.watch import CHANNEL_OPTIONS
from openbank.client.watch_sync import watch_sync
from openbank.common.v1.feed_pb2 import FEED_SIGNAL_CONFIRMED
from openbank.persons.v1 import person_events_pb2
from openbank.persons.v1.persons_service_pb2 import WatchPersonEventsRequest

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
STOP_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be printed, as it was typed."""

    feed: str
    target: str
    accounts: Sequence[str] = ()
    persons: Sequence[str] = ()
    owners: Sequence[str] = ()
    types: Sequence[str] = ()
    start: str = "live"
    resume: Path | None = None
    format: str = "text"
    until_caught_up: bool = False


def follow(wanted: Wanted) -> None:
    """Until a signal, or caught up where that is wanted. Raises CommandFailed."""
    request = _request(wanted)
    file = _resume_file(wanted, request)
    token = file.token() if file else None
    if token is not None:
        request.resume_token = token
    else:
        _start_at(request, wanted.start)
    request.stop_when_caught_up = wanted.until_caught_up
    lines: Lines = json_lines if wanted.format == "json" else TextLines(_is_for_eyes(sys.stdout))
    try:
        _print(wanted.target, request, lines, file, _stop())
    except grpc.RpcError as error:
        status: Any = error
        raise CommandFailed(f"{wanted.target} refuses: {status.code().name}: {status.details()}") from error


def _print(target: str, request: Any, lines: Lines, file: ResumeFile | None, stop: threading.Event) -> None:
    told = _Told(target)
    with grpc.insecure_channel(target, options=CHANNEL_OPTIONS) as channel:
        for response in watch_sync(channel, request, stop, told.interrupted):
            if response.signal == FEED_SIGNAL_CONFIRMED:
                told.confirmed()
            for line in lines(response.events):
                sys.stdout.write(line + "\n")
            sys.stdout.flush()
            # Only what has been printed is behind us: ended in between, it is printed again, and nothing is left out.
            if file is not None:
                file.keep(response.resume_token)


class _Told:
    """Says on standard error when the connection is lost and when it is back: once each, not at every try."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._lost = False

    def interrupted(self, interruption: Interruption) -> None:
        if not self._lost:
            _say(f"no connection to {self._target}, trying again: {interruption.why}")
        self._lost = True

    def confirmed(self) -> None:
        if self._lost:
            _say(f"connected to {self._target}")
        self._lost = False


def _say(what: str) -> None:
    print(f"openbank: {what}", file=sys.stderr, flush=True)


def _stop() -> threading.Event:
    """Set by the first signal, and when nobody is there to read any more: a quiet feed would never find out."""
    stop = threading.Event()
    # Not by a handler: it may not set what the thread that it interrupts is waiting for.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    for wait in (_stop_at_signals, _stop_unread):
        threading.Thread(target=wait, args=(stop,), daemon=True).start()
    return stop


def _stop_at_signals(stop: threading.Event) -> None:
    signal.sigwait(STOP_SIGNALS)
    stop.set()
    # What is being printed is printed and kept, but a write to somebody who doesn't read is not waited for, nor is
    # anything after a second signal.
    signal.sigtimedwait(STOP_SIGNALS, STOP_SECONDS)
    os._exit(0)


def _stop_unread(stop: threading.Event) -> None:
    output = select.poll()
    output.register(sys.stdout, 0)
    # Of errors one is always told: that the other end of a pipe, or the terminal, is closed.
    output.poll()
    stop.set()


def _request(wanted: Wanted) -> Any:
    """The feed and the filter, without a start."""
    if wanted.feed == "persons":
        if wanted.owners or wanted.accounts:
            raise CommandFailed("--owner and --account are for accounts")
        types = _types(person_events_pb2.PersonEventType.DESCRIPTOR, wanted.types)
        return WatchPersonEventsRequest(person_ids=wanted.persons, event_types=types)
    if wanted.persons:
        raise CommandFailed("--person is for persons; accounts of a person are those of an --owner")
    types = _types(account_events_pb2.AccountEventType.DESCRIPTOR, wanted.types)
    return WatchAccountEventsRequest(account_ids=wanted.accounts, owner_ids=wanted.owners, event_types=types)


def _types(enum: Any, names: Sequence[str]) -> list[Any]:
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    numbers = {value.name.removeprefix(prefix): value.number for value in enum.values if value.number}
    try:
        return [numbers[name.upper().replace("-", "_").removeprefix(prefix)] for name in names]
    except KeyError as error:
        raise CommandFailed(f"--type must be one of {', '.join(numbers)}, not {error.args[0]}") from None


def _resume_file(wanted: Wanted, request: Any) -> ResumeFile | None:
    if wanted.resume is None:
        return None
    filter = MessageToDict(request, preserving_proto_field_name=True)
    sets = {name: sorted(set(values)) for name, values in filter.items()}
    return ResumeFile(wanted.resume, wanted.target, wanted.feed, sets)


def _start_at(request: Any, start: str) -> None:
    if start in ("beginning", "live"):
        getattr(request, start).SetInParent()
        return
    try:
        time = datetime.fromisoformat(start)
    except ValueError:
        raise CommandFailed(
            f"--from must be beginning, live or a time such as 2026-11-23T15:25Z, not {start}"
        ) from None
    request.time.FromDatetime(time if time.tzinfo else time.replace(tzinfo=UTC))


def _is_for_eyes(stream: TextIO) -> bool:
    """Whether colours are of use: not in files and pipes, and not for those who don't want them (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
