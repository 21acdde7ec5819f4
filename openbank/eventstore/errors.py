"""What an event store raises. Each says what is known of the outcome: nothing was done, or nobody knows."""

from __future__ import annotations

from openbank.domain.errors import Refused


class PositionOutOfRange(Refused):
    """A caller's token is beyond the end of the log: no wait will help."""

    reason = "POSITION_OUT_OF_RANGE"

    def __init__(self) -> None:
        super().__init__(
            "the token is beyond the end of this log; use a token from a newer answer, or start without one"
        )


class WrongExpectedRevision(Exception):
    """The stream was not at the expected revision; nothing was written. Where it is now, the reader must ask."""


class StoreUnavailable(Exception):
    """The store cannot be reached or cannot write; this append or read surely did nothing."""


class NewerVersionNeeded(StoreUnavailable):
    """A stream has what only a newer version of the bank knows: from an event on, or in the state that views keep.

    It says nothing about this log being wrong. This version passes it by nothing that must not miss an event: it waits
    until it is replaced by the newer version.
    """

    def __init__(self, stream: str, revision: int, unknown: str) -> None:
        """`unknown` is the type of the stream's first such event, or the name of a state."""
        super().__init__(f"{stream} has {unknown} at revision {revision}, which only a newer version knows")
        self.stream = stream
        self.revision = revision
        self.unknown = unknown

    def again(self) -> NewerVersionNeeded:
        """To be raised in the place of one that is kept: without the frames of its traceback."""
        return NewerVersionNeeded(self.stream, self.revision, self.unknown)


class LogReplaced(StoreUnavailable):
    """The store holds another log than the one that this process has followed, or has lost events of it.

    Nothing is read or written any more: an operator must act, and start again.
    """


class OutcomeUnknown(Exception):
    """The append may be in the log or not, and the store could not be asked."""


class AppendTooLarge(Exception):
    """More than APPEND_BYTES_MAX; nothing was written."""


class StoreDamaged(Exception):
    """What is stored is not what was written: a checksum differs, or a stream has a gap."""


class StreamDamaged(StoreDamaged):
    """One stream has lost its events from `revision` on, or was deleted: all others are what they were."""

    def __init__(self, message: str, revision: int = 1) -> None:
        super().__init__(message)
        self.revision = revision


class StoreRefused(Exception):
    """This store must not be opened: another program's, written by a newer version, or of another bank."""
