"""The command as a process: its standard streams, Ctrl-C, and its end.

These hold for every command. None of them prints a traceback:

- Standard output that cannot be written is one line on standard error, and EXIT_FAILED.
- If the reader has closed the pipe, the rest is not printed, and nothing else changes.
- Standard error that cannot be written is ignored.
- Characters that the terminal's encoding lacks are printed as escapes.
- Signals end the command as `signals` says.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import traceback
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import Any, NoReturn

from openbank.cli import main as command_line
from openbank.cli import signals
from openbank.cli.errors import EXIT_BUG, EXIT_FAILED, OutputFailed

INPUT, OUTPUT, ERRORS = 0, 1, 2


def main() -> NoReturn:
    """Runs the command in `sys.argv`, and ends the process with its exit code."""
    _open_standard_streams()
    try:
        signals.interrupt()
        code = _run()
        signals.end_at_once()
    except signals.Interrupted as interrupted:
        code = interrupted.exit_code
        # The signal may have come between a write and its return. Then the buffer still has what was written, and must
        # not write it again.
        _kept, sys.stderr = sys.stderr, _text(_Errors(ERRORS, "wb", closefd=False), sys.stderr)
    # Ends at once. Python's own shutdown waits for threads of libraries. With many messages under way, gRPC then waits
    # for its own thread, which waits for an event loop that is gone.
    logging.shutdown()
    os._exit(code)


def _run() -> int:
    try:
        code = _exit_code()
        sys.stdout.flush()
    except OutputFailed as failed:
        print(f"openbank: {failed}", file=sys.stderr)
        return EXIT_FAILED
    except Exception:
        traceback.print_exc()
        return EXIT_BUG
    return code


def _exit_code() -> int:
    try:
        return command_line.main()
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else 0


def _open_standard_streams() -> None:
    """Replaces closed standard streams by empty ones. Otherwise the bank's files would get their numbers, and the
    output of a library would be written to them."""
    for number, stream, flags in (
        (INPUT, sys.stdin, os.O_RDONLY),
        # So that writing stays the error that it was.
        (OUTPUT, sys.stdout, os.O_RDONLY),
        (ERRORS, sys.stderr, os.O_WRONLY),
    ):
        if stream is None:
            _open_at(number, flags)
    sys.stdout = _text(_Output(OUTPUT, "wb", closefd=False), sys.stdout)
    sys.stderr = _text(_Errors(ERRORS, "wb", closefd=False), sys.stderr)


def _open_at(number: int, flags: int) -> None:
    null = os.open(os.devnull, flags)
    if null != number:
        os.dup2(null, number)
        os.close(null)


def _text(raw: FileIO, like: Any) -> TextIOWrapper:
    """A stream with the buffering and the encoding that the environment asks for."""
    return TextIOWrapper(
        BufferedWriter(raw),
        encoding=like.encoding if like else "utf-8",
        errors="backslashreplace",
        line_buffering=like is not None and bool(like.line_buffering or like.write_through),
    )


class _Output(FileIO):
    """Standard output. The first error is raised as an error of its own kind. After it, and once the reader has closed
    the pipe, output is dropped.
    """

    _dropping = False

    def write(self, data: Any) -> int:
        if self._dropping:
            return len(data)
        try:
            while (written := super().write(data)) is None:
                # Another process with the same terminal or pipe may have made it non-blocking.
                select.select([], [self], [])
            return written
        except BrokenPipeError:
            self._dropping = True
            return len(data)
        except OSError as error:
            self._dropping = True
            raise OutputFailed(error) from error


class _Errors(FileIO):
    """Standard error. If it cannot be written, the error is ignored."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)
