"""Signals that end a command: Ctrl-C, SIGTERM and SIGHUP, where the process was not started to ignore them.

The exit code is 128 and the signal's number, as shells have it: 130 for Ctrl-C.
"""

from __future__ import annotations

# Not `signal`, which builds its enums first: until there is a handler, Ctrl-C is a traceback.
import _signal as signal  # type: ignore[import-not-found]
import os
import time

# For the same reason: `typing` takes as long to import as all the rest of Python's start.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import sys
    from collections.abc import Callable
    from types import FrameType
    from typing import NoReturn

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
REPEAT_SECONDS = 1.0
"""Ctrl-C goes to every process of the terminal, and some parents forward it: a second signal this soon is the same."""


class Interrupted(KeyboardInterrupt):
    """A signal arrived: the command cleans up and ends."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


def end_at_once() -> None:
    """For the parts of a command in which there is nothing to clean up."""
    _handle(_exit)


def interrupt() -> None:
    """Raises Interrupted in the main thread at the first signal; a second ends the process at once."""
    _handle(_interrupt)


def end_at_next() -> None:
    """After a first signal: the next one ends the process at once, unless it comes so soon that it counts as the
    same."""
    first = time.monotonic()
    _handle(lambda number, _: _exit(number, _) if time.monotonic() - first > REPEAT_SECONDS else None)


def _handle(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _exit(number: int, _: FrameType | None) -> NoReturn:
    os._exit(128 + number)


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    import logging
    import sys

    end_at_next()
    sys.unraisablehook = _raise_again
    # The interrupted work need not be reported.
    logging.disable()
    raise Interrupted(number)


def _raise_again(unraisable: sys.UnraisableHookArgs) -> None:
    """The signal came inside a callback that cannot raise, such as that of an import: it is raised a little later."""
    import sys

    interrupted = unraisable.exc_value
    if not isinstance(interrupted, Interrupted):
        sys.__unraisablehook__(unraisable)
        return

    def again(_: int, __: FrameType | None) -> NoReturn:
        raise interrupted

    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
