"""Exit codes, and how a command ends that cannot continue."""

from __future__ import annotations

EXIT_OK = 0
EXIT_NO = 1
"""The answer to the command's question is no: faults found, not serving."""
EXIT_FAILED = 2
EXIT_INTERRUPTED = 130


class CommandFailed(Exception):
    """The message says why, in one line."""

    def __init__(self, message: str, code: int = EXIT_FAILED) -> None:
        super().__init__(message)
        self.code = code
