"""Asks every second whether the server is there and leads.

A node that was deposed, or is cut off from its cluster, keeps its subscriptions open and sends nothing on them. A
server that is away looks like a slow one. So a read that only a leader answers is sent every second. Several may be on
their way, and any answer on the connection counts as a sign of life.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import grpc
from esdbclient.exceptions import (
    CancelledByClient,
    DeadlineExceeded,
    EventStoreDBClientException,
    NodeIsNotLeader,
    ServiceUnavailable,
)

from openbank.eventstore.errors import StoreUnavailable

PULSE_SECONDS = 1.0
"""The time between two questions."""
LOOK_SECONDS = 2.0
"""After this time without any answer, a leader is looked for on new connections. The old connection stays in use."""
SILENT_SECONDS = 5.0
"""After this time without any answer, callers get an error. It is longer than a server pauses for its disk."""
QUESTIONS_MAX = 10
SILENT = "EventStoreDB does not answer"

_log = logging.getLogger(__name__)


class Pulse:
    def __init__(
        self,
        probe: Callable[[], Awaitable[None]],
        look: Callable[[Exception], None],
        lead_lost: Callable[[], None],
        fallen_silent: Callable[[], None],
    ) -> None:
        """`probe` returns when a leader has answered, and raises esdbclient's errors. `look` finds the leader.
        `lead_lost` is called when this node does not lead any more, `fallen_silent` when it does not answer."""
        self.silent = False
        """Whether there has been no answer for SILENT_SECONDS, so that callers need not wait for one."""
        self._probe = probe
        self._look = look
        self._lead_lost = lead_lost
        self._fallen_silent = fallen_silent
        self._heard_at = 0.0
        self.led_at = 0.0
        """When the last question that a leader answered was sent, by the loop's clock."""
        self.settled_at = 0.0
        """The same for the question before it. What was appended until then has also arrived on a subscription: it had
        the time between two questions to arrive, while answers did arrive."""
        self._beating: asyncio.Task[None] | None = None
        self._asking: set[asyncio.Task[None]] = set()
        self._away = ""

    def start(self) -> None:
        self._beating = asyncio.create_task(self._beat())

    def close(self) -> None:
        for task in (self._beating, *self._asking):
            if task is not None:
                task.cancel()
        self._beating = None

    def heard(self) -> None:
        """Call for every answer of the server."""
        self._heard_at = asyncio.get_running_loop().time()

    def led(self, asked_at: float) -> None:
        """Call when a leader has answered a question that was asked at this time."""
        self.heard()
        if asked_at >= self.led_at + PULSE_SECONDS / 2:
            self.settled_at, self.led_at = self.led_at, asked_at
        if self.silent or self._away:
            _log.info("EventStoreDB answers again")
        self.silent, self._away = False, ""

    def note_away(self, reason: str) -> None:
        """Call when no node was found that leads."""
        if not self._away:
            _log.warning("no leader of EventStoreDB", extra={"values": {"reason": reason}})
        self._away = reason

    def ask(self) -> None:
        """Asks now."""
        if self._beating is not None and len(self._asking) < QUESTIONS_MAX:
            asking = asyncio.create_task(self._ask())
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self.ask()
            woken_at = loop.time() + PULSE_SECONDS
            await asyncio.sleep(PULSE_SECONDS)
            if loop.time() - woken_at > PULSE_SECONDS:
                # This process has paused, not the server.
                self.heard()
            quiet = loop.time() - self._heard_at
            if quiet > SILENT_SECONDS and not self.silent:
                _log.warning(SILENT)
                self.silent = True
                self._fallen_silent()
            if quiet > LOOK_SECONDS:
                self._look(ServiceUnavailable(SILENT))

    async def _ask(self) -> None:
        asked_at = asyncio.get_running_loop().time()
        try:
            await self._probe()
        except (CancelledByClient, DeadlineExceeded, StoreUnavailable, grpc.aio.UsageError):
            return
        except (NodeIsNotLeader, ServiceUnavailable) as error:
            self._lead_lost()
            self._look(error)
        except EventStoreDBClientException:
            self.heard()
        else:
            self.led(asked_at)
