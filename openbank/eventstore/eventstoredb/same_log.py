"""Whether the server still holds the log that this process has followed.

A server can be restarted on an empty directory, or on an older copy of its own. The connection comes back by itself,
positions past the end are not refused, and the streams look like streams: without a check the bank would continue, and
mix two logs. So the store's identity and the last known events of the log are read again on each new connection.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

from esdbclient.exceptions import NotFound

from openbank.eventstore.errors import LogReplaced, StoreDamaged
from openbank.eventstore.eventstoredb.reading import Stored

WITNESSES = 4
"""Events of different streams that are remembered: operators may truncate a stream, but hardly the last four."""
LOOKS = 5
LOOK_PAUSE_SECONDS = 0.5
"""A log counts as replaced after this many checks in a row, with this pause between them: a short-lived state of a
server must not stop the bank permanently."""

_Read = Callable[..., Awaitable[list[Stored]]]
"""Reads from the leader. Raises NotFound, StoreDamaged for a tombstone, and StoreUnavailable."""


class Witness(NamedTuple):
    """An event that the log had."""

    position: int
    stream: str
    number: int
    """Its revision as the server counts, from 0."""
    id: bytes


class SameLog:
    def __init__(self, read: _Read, prefix: str, store_stream: str) -> None:
        self._read = read
        self._prefix = prefix
        self._store_stream = store_stream
        self._store_id = ""
        self._witnesses: deque[Witness] = deque(maxlen=WITNESSES)

    def identify(self, store_id: str) -> None:
        self._store_id = store_id

    def note(self, witness: Witness) -> None:
        """Call for every event that the log is known to have."""
        if self._witnesses:
            newest = self._witnesses[-1]
            if witness.position <= newest.position:
                return
            if witness.stream == newest.stream:
                self._witnesses[-1] = witness
                return
        self._witnesses.append(witness)

    async def check(self) -> None:
        """Raises LogReplaced for another log, or one that has lost events; StoreUnavailable."""
        fault = await self._fault()
        for _ in range(LOOKS - 1):
            if fault is None:
                return
            await asyncio.sleep(LOOK_PAUSE_SECONDS)
            fault = await self._fault()
        if fault is not None:
            raise LogReplaced(fault)

    async def _fault(self) -> str | None:
        if not self._store_id:
            return None
        identity = await self._last(self._store_stream)
        if identity is None:
            return "it holds no bank"
        store_id = _field(identity, "storeId")
        if store_id != self._store_id:
            return f"it holds the log of the store {store_id}, not of {self._store_id}"
        for witness in reversed(self._witnesses):
            if (known := await self._holds(witness)) is not None:
                lost = f"its log does not have the event at position {witness.position} any more: it has lost events"
                return None if known else lost
        return None

    async def _holds(self, witness: Witness) -> bool | None:
        """None if the server cannot say, because the stream was deleted or truncated."""
        name = self._prefix + witness.stream
        events: list[Stored] = []
        try:
            with suppress(NotFound):
                events = await self._read(stream_name=name, stream_position=witness.number, limit=1)
        except StoreDamaged:
            return None
        if events and events[0].stream_position == witness.number:
            return events[0].id == witness.id
        return None if events or await self.hides_events(witness.stream) else False

    async def hides_events(self, stream: str) -> bool:
        """Whether a stream was truncated or deleted: its metadata says so."""
        try:
            events = await self._read(stream_name="$$" + self._prefix + stream, backwards=True, limit=1)
        except NotFound:
            return False
        except StoreDamaged:
            return True
        hiding = ("$tb", "$maxCount", "$maxAge")
        return any(_field(event, name) is not None for event in events for name in hiding)

    async def _last(self, name: str) -> Stored | None:
        try:
            events = await self._read(stream_name=name, backwards=True, limit=1)
        except (NotFound, StoreDamaged):
            return None
        return events[0] if events else None


def _field(event: Stored, name: str) -> Any:
    try:
        data = json.loads(event.data)
    except ValueError:
        return None
    return data.get(name) if isinstance(data, dict) else None


class SameLogGuard:
    """Lets no call through to another log. The log is checked once on each connection, for all calls."""

    def __init__(self, targets: str) -> None:
        self._targets = targets
        self.check: Callable[[], Awaitable[None]] | None = None
        """Raises LogReplaced, StoreUnavailable."""
        self._connections = 0
        """The number of connections, as far as is known: gRPC makes new ones silently."""
        self._checked = 0
        """The connection on which the log was last checked."""
        self._replaced = ""
        """Why nothing is read or written any more."""
        self._checking: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        return self._checked == self._connections and not self._replaced

    def lost(self) -> None:
        """Call when a connection or a long-lived call has ended: the next one may reach another log."""
        self._connections += 1

    async def passed(self) -> None:
        """Returns once the log has been checked on this connection. Raises LogReplaced, StoreUnavailable."""
        while not self.is_open:
            if self._replaced:
                raise LogReplaced(self._replaced)
            if self._checking is None or self._checking.done():
                self._checking = asyncio.create_task(self._run(self._connections))
                self._checking.add_done_callback(_seen)
            # A caller that gives up does not cancel the check for the others.
            await asyncio.shield(self._checking)

    def close(self) -> None:
        if self._checking is not None:
            self._checking.cancel()

    async def _run(self, connection: int) -> None:
        try:
            if self.check is not None:
                await self.check()
            self._checked = connection
        except LogReplaced as error:
            self._replaced = (
                f"EventStoreDB at {self._targets} does not hold the log that this bank has followed: {error};"
                " stop all instances, bring back all of the log, and start them; or continue with what is left of it:"
                " openbank accept-loss --event-store ADDRESS"
            )
            raise LogReplaced(self._replaced) from None


def _seen(checking: asyncio.Task[None]) -> None:
    """Callers that wait get its error. There may be none."""
    if not checking.cancelled():
        checking.exception()
