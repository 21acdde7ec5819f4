"""Why a watch is refused or ended. `position` is where another watch may start; the edge makes a token of it."""

from __future__ import annotations

from openbank.domain.errors import Refused
from openbank.eventstore.port import LogPosition


class TooManyWatches(Refused):
    """This process has as many watches as it may have."""

    reason = "TOO_MANY_WATCHES"

    def __init__(self, watches_max: int) -> None:
        message = f"{watches_max} watches are under way, which is this server's limit"
        super().__init__(message, maxCount=str(watches_max))


class SlowConsumer(Refused):
    """The client took no message for too long. What was sent up to `position` it has been given."""

    reason = "SLOW_CONSUMER"

    def __init__(self, position: LogPosition) -> None:
        super().__init__("the client has read nothing for too long")
        self.position = position


class ServerDraining(Refused):
    """The server stops. A watch that has had a message may continue elsewhere, from that message's `position`."""

    reason = "SERVER_DRAINING"

    def __init__(self, position: LogPosition | None = None) -> None:
        super().__init__("the server is stopping; call again, on another instance if there is one")
        self.position = position
