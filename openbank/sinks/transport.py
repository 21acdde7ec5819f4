"""What a way out has to do: send, and say what the sink made of it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from openbank.publishing.cloudevent import CloudEvent


class Accepted(NamedTuple):
    """The sink has all of it."""


class Refused(NamedTuple):
    """The sink will not take this, however often it is sent; of several events, at least one is the reason."""

    reason: str


class Later(NamedTuple):
    """Nothing can be sent now, or it is not known whether this was: send it again."""

    reason: str
    after_seconds: float = 0.0
    """No sooner than this, if the sink has said so."""


Answer = Accepted | Refused | Later


class Transport(Protocol):
    events_max: int
    """Events in one message."""
    messages_max: int
    """Messages under way at one time; those of one aggregate follow one another whatever this is."""

    async def send(self, events: Sequence[CloudEvent]) -> Answer:
        """Sends one message. No reason in an answer holds what the sink said in words, or any secret of the address."""
        ...

    async def close(self) -> None: ...


def cannot_connect(error: OSError) -> Later:
    return Later(f"cannot connect: {os.strerror(error.errno) if error.errno else type(error).__name__}")
