"""Exit codes, and how a command ends that cannot continue."""

from __future__ import annotations

EXIT_NO = 1
"""The answer is no: faults found, not serving, refused by the bank."""
EXIT_FAILED = 2
"""The command could not do what it was asked to; also for what was typed wrong."""
EXIT_UNAVAILABLE = 3
"""No bank has answered, or it cannot serve now."""
EXIT_DENIED = 4
"""The caller is unknown to the bank, or may not do this."""
EXIT_BUG = 70


class CommandFailed(Exception):
    """The message says why."""

    def __init__(self, message: str, code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.code = code


class OutputFailed(Exception):
    """Standard output cannot be written. A reader that has closed the pipe is no such case."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write to standard output: {error.strerror}")
