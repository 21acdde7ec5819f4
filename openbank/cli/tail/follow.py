"""`openbank tail`: prints a feed until it is stopped."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Self

import grpc

from openbank.cli.errors import CommandFailed
from openbank.cli.output.values import times_in
from openbank.cli.tail.delivery import TailPrinter
from openbank.cli.tail.lines import Lines, TextLines, json_lines
from openbank.cli.tail.request import TailOptions, feed_and_filter, filter_of, start_at
from openbank.cli.tail.resume_file import ResumeFile
from openbank.cli.terminal import is_coloured, shown
from openbank.cli.unreachable import tls_trouble
from openbank.client.resumption import Interruption
from openbank.client.watch import CHANNEL_OPTIONS
from openbank.client.watch_sync import watch_sync
from openbank.common.v1.feed_pb2 import FEED_SIGNAL_CONFIRMED

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
STOP_SECONDS = 1.0
WAIT_SECONDS = 2.0
"""A longer wait is reported."""


def follow(wanted: TailOptions) -> None:
    """Prints until a signal, or until caught up if that was asked for. Raises CommandFailed."""
    request = feed_and_filter(wanted)
    # Finds closed output now, not at the first event.
    sys.stdout.buffer.write(b"")
    with _resume_file(wanted, request) as file:
        token = file.token() if file else None
        if token is not None:
            request.resume_token = token
        else:
            start_at(request, wanted.start)
        request.stop_when_caught_up = wanted.until_caught_up
        lines: Lines = json_lines
        if wanted.format == "text":
            times = times_in(wanted.time_format, timespec="microseconds")
            lines = TextLines(is_coloured(sys.stdout, wanted.color), times)
        try:
            _print(wanted, request, lines, file)
        except grpc.RpcError as error:
            status: Any = error
            raise CommandFailed(
                f"{wanted.bank.target} refuses: {status.code().name}: {shown(status.details() or '')}"
            ) from error


def _print(wanted: TailOptions, request: Any, lines: Lines, file: ResumeFile | None) -> None:
    stop = _stop_at_signals()
    with (
        _Told(wanted) as told,
        wanted.bank.channel(CHANNEL_OPTIONS) as channel,
        TailPrinter(sys.stdout.fileno(), file.keep if file else None, stop) as delivery,
    ):
        for response in watch_sync(channel, request, stop, told.interrupted):
            told.came(response)
            text = "".join(f"{line}\n" for line in lines(response.events))
            data = text.encode(sys.stdout.encoding, sys.stdout.errors or "strict")
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            delivery.printed(len(data), response.resume_token)


class _Told:
    """Reports on standard error when the connection is made and lost, once each, not at every try. Also reports what it
    waits for if that takes longer: otherwise a tail that waits looks like one that hangs.
    """

    def __init__(self, wanted: TailOptions) -> None:
        self._bank = wanted.bank
        self._target = wanted.bank.target
        self._waits_for_events = not wanted.until_caught_up
        self._connected = False
        self._lost = False
        self._waits: threading.Timer | None = None

    def __enter__(self) -> Self:
        self._wait("an answer")
        return self

    def __exit__(self, *_: object) -> None:
        self._end_wait()

    def interrupted(self, interruption: Interruption) -> None:
        self._end_wait()
        if not self._lost:
            _say(f"no connection to {self._target}, trying again: {tls_trouble(self._bank) or interruption.why}")
        self._lost = True

    def came(self, response: Any) -> None:
        self._end_wait()
        if response.signal == FEED_SIGNAL_CONFIRMED:
            self._confirmed()
        for one in response.quarantined:
            _say(
                f"{one.aggregate} is quarantined, its events from revision {one.revision} on are left out: {one.reason}"
            )
        if not self._waits_for_events and not response.caught_up:
            self._wait("the rest of its events")

    def _confirmed(self) -> None:
        # Also the first time, as a live tail prints nothing until there is an event.
        if self._waits_for_events and not self._connected:
            _say(f"connected to {self._target}, waiting for events; Ctrl-C ends")
        elif self._lost:
            _say(f"connected to {self._target}")
        self._connected, self._lost = True, False

    def _wait(self, for_what: str) -> None:
        self._waits = threading.Timer(WAIT_SECONDS, _say, [f"waiting for {for_what} from {self._target}"])
        self._waits.daemon = True
        self._waits.start()

    def _end_wait(self) -> None:
        if self._waits:
            self._waits.cancel()


def _say(what: str) -> None:
    print(f"openbank: {shown(what)}", file=sys.stderr, flush=True)


def _stop_at_signals() -> threading.Event:
    """Set by the first signal."""
    stop = threading.Event()
    # Not in a signal handler: it must not set an event that the interrupted thread is waiting for.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    threading.Thread(target=_wait_for_signals, args=(stop,), daemon=True).start()
    return stop


def _wait_for_signals(stop: threading.Event) -> None:
    signal.sigwait(STOP_SIGNALS)
    stop.set()
    # The current output is finished and its position kept. A write to a reader that does not read is not waited for,
    # and after a second signal nothing is.
    signal.sigtimedwait(STOP_SIGNALS, STOP_SECONDS)
    os._exit(0)


def _resume_file(wanted: TailOptions, request: Any) -> AbstractContextManager[ResumeFile | None]:
    if wanted.resume is None:
        return nullcontext()
    return ResumeFile(wanted.resume, wanted.bank.target, wanted.feed, filter_of(request))
