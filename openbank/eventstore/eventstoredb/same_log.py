"""Whether the server still holds the log that this process has followed.

A server can be restarted on an empty directory, or on an older copy of its own. The connection comes back by itself,
positions past the end are not refused, and the streams look like streams: without a check the bank would go on, and
mix two logs. So the store's identity and the last events known of the log are read again on each new connection.
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
"""A log counts as replaced when it looks so this often, with this between: no short-lived state of a server may stop
the bank for good."""

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
        """The log has this event. Called for every append."""
        if self._witnesses:
            newest = self._witnesses[-1]
            if witness.position <= newest.position:
                return
            if witness.stream == newest.stream:
                self._witnesses[-1] = witness
                return
        self._witnesses.append(witness)

    async def check(self) -> None:
        """Raises LogReplaced for a log that is another, or has lost events; StoreUnavailable."""
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
        """None where the server cannot tell, since the stream was deleted or truncated."""
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
    """Lets nobody through to another log: it is checked once on each connection, for all who come."""

    def __init__(self, targets: str) -> None:
        self._targets = targets
        self.check: Callable[[], Awaitable[None]] | None = None
        """Raises LogReplaced, StoreUnavailable."""
        self._connections = 0
        """How many there have been, as far as is known: gRPC makes a new one without a word."""
        self._checked = 0
        """On which of them the log was last checked."""
        self._replaced = ""
        """Why nothing is read or written any more."""
        self._checking: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        return self._checked == self._connections and not self._replaced

    def lost(self) -> None:
        """A connection may be gone, or a call that was to last: the next one may be to another log."""
        self._connections += 1

    async def passed(self) -> None:
        """Returns once the log has been checked on this connection. Raises LogReplaced, StoreUnavailable."""
        while not self.is_open:
            if self._replaced:
                raise LogReplaced(self._replaced)
            if self._checking is None or self._checking.done():
                self._checking = asyncio.create_task(self._run(self._connections))
                self._checking.add_done_callback(_seen)
            # One that gives up does not take the others' answer away.
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
    """Whoever waits has its error, and there may be nobody."""
    if not checking.cancelled():
        checking.exception()
