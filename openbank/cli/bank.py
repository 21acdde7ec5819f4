"""The bank that a command calls: one try for a question, as many as there is time for a change."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import grpc

from openbank.cli.connection import Connection, connection
from openbank.cli.errors import EXIT_DENIED, EXIT_NO, EXIT_UNAVAILABLE, CommandFailed
from openbank.cli.output.printout import Columns, Printout, print_answer
from openbank.cli.terminal import shown
from openbank.cli.unreachable import UNREACHABLE, unreachable
from openbank.client.call import Retry, call_sync
from openbank.client.errors import BankError, bank_error
from openbank.config import Settings

PAGE_SIZE = 100
DENIED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


class RemoteBank:
    """A channel to a bank, and the time that is left for all calls together."""

    def __init__(self, where: Connection, channel: grpc.Channel, timeout_seconds: float) -> None:
        self.channel = channel
        self._where = where
        self._timeout_seconds = timeout_seconds
        self.restart_clock()

    def restart_clock(self) -> None:
        """The time limit counts from now: for a question that is asked repeatedly."""
        self._until = time.monotonic() + self._timeout_seconds

    def ask(self, method: Any, request: Any) -> Any:
        """The response to a question. Raises CommandFailed."""
        with failing(self._where):
            return method(request, timeout=self._seconds)

    def listing(
        self, method: Any, request: Any, response: Any, field: str, columns: Columns, limit: int | None
    ) -> Printout:
        """All pages of a list, or as many as have `limit` resources in `field`."""
        return Printout(self._pages(method, request, field, limit), response, field, columns)

    def change(self, method: Any, request: Any) -> Any:
        """The response to a change, which is sent with one request_id until the bank has decided. The request_id is
        printed first: with it, the same command can be given again. Raises CommandFailed."""
        request.request_id = request.request_id or str(uuid4())
        say(f"request_id {request.request_id}")
        with failing(self._where, f"; whether it was done is not known: --request-id {request.request_id}"):
            response = call_sync(method, request, timeout_seconds=self._seconds, on_retry=_say_retry)
        if response.replayed:
            say("an earlier call with this request_id has done it; nothing was done now")
        elif request.validate_only:
            say("nothing was done: --validate-only")
        return response

    def _pages(self, method: Any, request: Any, field: str, limit: int | None) -> Iterator[Any]:
        left = limit
        while True:
            # A long list takes long: each of its pages has the time limit.
            self.restart_clock()
            request.page_size = PAGE_SIZE if left is None else min(left, PAGE_SIZE)
            page = self.ask(method, request)
            yield page
            left = None if left is None else left - len(getattr(page, field))
            if not page.next_page_token or left == 0:
                return
            request.page_token = page.next_page_token

    @property
    def _seconds(self) -> float:
        return max(self._until - time.monotonic(), 0.0)


BankAction = Callable[[RemoteBank, argparse.Namespace], Printout]
"""Calls the bank as was typed."""


def run(action: BankAction, settings: Settings, flags: argparse.Namespace) -> int:
    """Runs what was typed and prints the answer. Returns the exit code. Raises CommandFailed."""
    where = connection(settings, flags)
    with where.channel() as channel:
        print_answer(action(RemoteBank(where, channel, flags.timeout), flags), flags)
    return 0


@contextmanager
def failing(where: Connection, undecided: str = "") -> Iterator[None]:
    """Raises CommandFailed for the error of a call. `undecided` is added to an error that is not the bank's."""
    try:
        yield
    except BankError as decision:
        raise _refused(decision) from decision
    except grpc.RpcError as error:
        if decided := bank_error(error):
            raise _refused(decided) from error
        status: Any = error
        why = unreachable(where) if status.code().name in UNREACHABLE else ""
        why = why or f"no bank answers at {where.target}: {status.code().name}: {shown(status.details() or '')}"
        raise CommandFailed(why + undecided, EXIT_DENIED if status.code() in DENIED else EXIT_UNAVAILABLE) from error


def _refused(decision: BankError) -> CommandFailed:
    code = EXIT_NO
    if decision.code in DENIED:
        code = EXIT_DENIED
    elif decision.code is grpc.StatusCode.UNAVAILABLE:
        code = EXIT_UNAVAILABLE
    reasons = [f"{each.reason}: {each.field}: {each.message}" for each in decision.violations]
    return CommandFailed("\n".join(map(shown, reasons or [f"{decision.reason}: {decision.message}"])), code)


def say(what: str) -> None:
    """A line for people."""
    print(f"openbank: {shown(what)}", file=sys.stderr, flush=True)


def _say_retry(retry: Retry) -> None:
    say(f"{retry.why}; again in {retry.retry_seconds:.1f} s")
