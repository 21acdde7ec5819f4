"""One message of a watch."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import NamedTuple

from openbank.eventstore.port import LogPosition, RecordedEvent
from openbank.feeds.filter import Form
from openbank.following.entry import Entry


class Signal(Enum):
    """Why a message was sent."""

    EVENTS = "EVENTS"
    CONFIRMED = "CONFIRMED"
    HEARTBEAT = "HEARTBEAT"
    CLOSING = "CLOSING"


class FeedMessage(NamedTuple):
    entries: Sequence[Entry]
    position: LogPosition
    """The log up to here has been sent, as far as it passes the filter: where the next watch starts."""
    signal: Signal
    caught_up: bool
    """Whether, with this message, the watch has all there is."""
    as_of_time: int | None
    """While caught up: the time up to which this is known to be everything. Otherwise the record time of the last event
    passed; None before the first."""
    kept: dict[object, tuple[bytes, int]]
    """A cache shared by watches that send the same events: encoded messages, by everything that they depend on beside
    the events, the position and the signal. With each, the `as_of_time` in it, which differs between watches."""
    form: Form = Form.EVENT

    @property
    def events(self) -> Sequence[RecordedEvent]:
        return [entry.event for entry in self.entries if not entry.notice]

    @property
    def encoded(self) -> bytes:
        """The events as the feed's `encode` made them, one after another."""
        return b"".join([entry.encoded[self.form] for entry in self.entries])


Send = Callable[[FeedMessage], Awaitable[None]]
