"""The errors of an event store. Each says what is known of the outcome: nothing was done, or the outcome is unknown."""

from __future__ import annotations

from openbank.domain.errors import Refused


class PositionOutOfRange(Refused):
    """A caller's token is beyond the end of the log. Waiting does not help."""

    reason = "POSITION_OUT_OF_RANGE"

    def __init__(self) -> None:
        super().__init__(
            "the token is beyond the end of this log; use a token from a newer answer, or start without one"
        )


class WrongExpectedRevision(Exception):
    """The stream was not at the expected revision; nothing was written. Read the stream to learn its revision."""


class StoreUnavailable(Exception):
    """The store cannot be reached or cannot write. This append or read did nothing."""


class NewerVersionNeeded(StoreUnavailable):
    """A stream has something that only a newer version of the bank knows: an event, or a state in the views.

    This is not a fault of the log. A follower that must not miss an event waits here until the newer version replaces
    this one.
    """

    def __init__(self, stream: str, revision: int, unknown: str) -> None:
        """`unknown` is the type of the stream's first such event, or the name of a state."""
        super().__init__(f"{stream} has {unknown} at revision {revision}, which only a newer version knows")
        self.stream = stream
        self.revision = revision
        self.unknown = unknown

    def again(self) -> NewerVersionNeeded:
        """A copy to raise instead of a stored error, without the frames of its traceback."""
        return NewerVersionNeeded(self.stream, self.revision, self.unknown)


class LogReplaced(StoreUnavailable):
    """The store holds another log than the one that this process has followed, or has lost events of it.

    Nothing is read or written any more: an operator must act and restart the process.
    """


class OutcomeUnknown(Exception):
    """It is unknown whether the append is in the log: the store could not be asked."""


class AppendTooLarge(Exception):
    """More than APPEND_BYTES_MAX; nothing was written."""


class StoreDamaged(Exception):
    """The stored data is not what was written: a checksum differs, or a stream has a gap."""


class StreamDamaged(StoreDamaged):
    """One stream has lost its events from `revision` on, or was deleted. The others are not affected."""

    def __init__(self, message: str, revision: int = 1) -> None:
        super().__init__(message)
        self.revision = revision


class StoreRefused(Exception):
    """This store must not be opened: it belongs to another program or another bank, or a newer version wrote it."""
