"""Exit codes, and how a command ends that cannot continue."""

from __future__ import annotations

EXIT_NO = 1
"""The answer to the command's question is no: faults found, not serving."""
EXIT_FAILED = 2
"""The command could not do what it was asked to."""
EXIT_BUG = 70


class CommandFailed(Exception):
    """The message says why, in one line."""

    def __init__(self, message: str, code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.code = code


class OutputFailed(Exception):
    """Standard output cannot be written. A reader that has closed the pipe is no such case."""

    def __init__(self, error: OSError) -> None:
        super().__init__(f"cannot write to standard output: {error.strerror}")
