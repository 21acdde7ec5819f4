"""Calls to EventStoreDB, by esdbclient's connection.

esdbclient's own retries are not used: they would make a caller wait while the server is away, and they close the
connection that other calls are using. In esdbclient a cancelled call looks to its reader like one that has ended. Here
it is an error: half a stream taken for the whole would let a command be done twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any
from weakref import WeakSet

import grpc
from esdbclient import NewEvent
from esdbclient.exceptions import (
    CancelledByClient,
    EventStoreDBClientException,
    NotFound,
    StreamIsDeleted,
    UnknownError,
    WrongCurrentVersion,
)
from esdbclient.streams import StreamState

from openbank.eventstore.errors import LogReplaced, StoreDamaged, StoreUnavailable
from openbank.eventstore.eventstoredb.client import CONNECT_SECONDS, make_client
from openbank.eventstore.eventstoredb.discovery import short
from openbank.eventstore.eventstoredb.leader import Leader
from openbank.eventstore.eventstoredb.pulse import SILENT
from openbank.eventstore.eventstoredb.read_request import read_request
from openbank.eventstore.eventstoredb.reading import CaughtUp, Reading, Stored
from openbank.eventstore.eventstoredb.refusals import AccessRefused, access_refused, wrong_about_tls
from openbank.eventstore.eventstoredb.same_log import SameLogGuard

READ_SECONDS = 10.0
"""The time limit of a page of a stream. A page of the log has none, as the server may pass millions of other programs'
events on the way. It is given up when the server falls silent."""
VISIBLE_SECONDS = 5.0
"""How long the cause of a refused append may take to become readable: about as long as a commit."""
VISIBLE_PAUSE_SECONDS = 0.01
PATIENCE_PAUSE_SECONDS = 0.2


class PositionRefused(Exception):
    """There is no event at this position of the log, or no longer."""


class Link:
    """Calls to the node that leads; safe for any number of calls at once.

    A server that is down refuses. One that has fallen silent would make every caller wait until the connection counts
    as broken. So `Pulse` asks it all the time. Once it is silent, callers get an error at once, and `Leader` looks for
    a new connection, to the node that leads now.
    """

    def __init__(self, uri: str) -> None:
        """Raises StoreRefused for an invalid address. The message holds no secret of the address."""
        self._client = make_client(uri)
        self.targets = ", ".join(self._client.connection_spec.targets)
        self.guard = SameLogGuard(self.targets)
        self.leader = Leader(self._client, self.guard, self._cut_subscriptions, self._fall_silent)
        self.pulse = self.leader.pulse
        self.patience_seconds = 0.0
        """How long a read is retried while the store is away: for jobs and starts."""
        self._waiting: set[asyncio.Timeout] = set()
        self._subscriptions: WeakSet[Reading] = WeakSet()

    def append_call(self, requests: Any) -> Any:
        """A `BatchAppend` call on esdbclient's connection, with its stubs, metadata and credentials."""
        streams = self.leader.connection.streams
        return streams._stub.BatchAppend(
            requests,
            metadata=streams._metadata(self._client._call_metadata, requires_leader=True),
            credentials=self._client._call_credentials,
        )

    async def read(self, **options: Any) -> list[Stored]:
        """All events of one read. Raises what `errors` does, and LogReplaced."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.patience_seconds
        while True:
            connection = self.leader.current
            try:
                if not self.guard.is_open:
                    await self.guard.passed()
                return await self.read_unchecked(**options)
            except (LogReplaced, AccessRefused):
                raise
            except StoreUnavailable:
                # A failure of a connection that was replaced meanwhile says nothing about the new one.
                if self.leader.closed or (loop.time() >= until and connection is self.leader.current):
                    raise
            if connection is self.leader.current:
                await asyncio.sleep(PATIENCE_PAUSE_SECONDS)

    async def read_unchecked(self, **options: Any) -> list[Stored]:
        """The same, without the check that the store still holds this log."""
        async with self.answered():
            reading = self._read(timeout=READ_SECONDS if "stream_name" in options else None, **options)
            events = [item async for item in reading.items() if isinstance(item, Stored)]
            self.pulse.heard()
            return events

    async def subscribe(self, **options: Any) -> Reading:
        """Returns a subscription once the server has confirmed it."""
        # Not wait_for, which makes a task: esdbclient would turn its cancellation into an error.
        async with self.answered(), asyncio.timeout(CONNECT_SECONDS):
            subscription = self._read(subscribe=True, **options)
            self._subscriptions.add(subscription)
            await subscription.check_confirmation()
        self.pulse.heard()
        self.guard.lost()
        try:
            await self.guard.passed()
        except BaseException:
            await subscription.stop()
            raise
        return subscription

    async def history(self, **options: Any) -> AsyncIterator[Stored]:
        """Events of the log up to its end, by a subscription, which has no time limit on the server."""
        subscription = await self.subscribe(**options)
        try:
            with self.errors():
                async for item in subscription.items():
                    if isinstance(item, CaughtUp):
                        return
                    if isinstance(item, Stored):
                        yield item
        finally:
            await subscription.stop()
        raise StoreUnavailable("the subscription has ended")

    async def write(self, stream: str, event: NewEvent, after: int | None) -> bool:
        """Writes the event right after `after` (None: as the first). Returns False if another event is there."""
        await self.guard.passed()
        with self.errors():
            try:
                await self.leader.connection.streams.batch_append(
                    stream,
                    StreamState.NO_STREAM if after is None else after,
                    [event],
                    timeout=CONNECT_SECONDS,
                    metadata=self._client._call_metadata,
                    credentials=self._client._call_credentials,
                )
            except WrongCurrentVersion:
                await self._until_visible(stream, 0 if after is None else after + 1)
                return False
        return True

    async def _until_visible(self, stream: str, number: int) -> None:
        """Waits until the cause of a refusal can be read: the server refuses before that."""
        loop = asyncio.get_running_loop()
        until = loop.time() + VISIBLE_SECONDS
        while loop.time() < until:
            with suppress(NotFound):
                if await self.read(stream_name=stream, stream_position=number, limit=1):
                    return
            await asyncio.sleep(VISIBLE_PAUSE_SECONDS)

    def _read(self, timeout: float | None = None, **options: Any) -> Reading:
        """Like esdbclient's `read` on a stream or on `$all`, but with a filter by prefixes."""
        streams = self.leader.connection.streams
        call = streams._stub.Read(
            read_request(**options),
            timeout=timeout,
            metadata=streams._metadata(self._client._call_metadata),
            credentials=self._client._call_credentials,
        )
        return Reading(call, options.get("stream_name"), streams._grpc_streamers)

    def check(self) -> None:
        """Raises StoreUnavailable while the server is silent."""
        if self.pulse.silent:
            raise StoreUnavailable(SILENT)

    @asynccontextmanager
    async def answered(self) -> AsyncIterator[None]:
        """Ends a wait for an answer once the server is silent. Raises what `errors` does."""
        self.check()
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._waiting.add(limit)
                with self.errors():
                    yield
        except TimeoutError:
            raise StoreUnavailable(SILENT) from None
        finally:
            self._waiting.discard(limit)

    def _fall_silent(self) -> None:
        """Ends all waits at once. Without this, calls would notice one after another, and subscriptions never."""
        now = asyncio.get_running_loop().time()
        for limit in self._waiting:
            if not limit.expired():
                limit.reschedule(now)
        self._waiting.clear()
        self._cut_subscriptions()

    def _cut_subscriptions(self) -> None:
        for subscription in list(self._subscriptions):
            subscription.aio_call.cancel()
        self._subscriptions.clear()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turns errors into StoreUnavailable, except NotFound (no such stream), StoreDamaged (a tombstone) and
        PositionRefused."""
        try:
            yield
        except (NotFound, StoreUnavailable):
            raise
        except StreamIsDeleted as error:
            raise StoreDamaged("a stream of the bank was deleted permanently, by a tombstone") from error
        except CancelledByClient as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # esdbclient reports the cancellation of its caller as one of the call.
                raise asyncio.CancelledError from error
            raise StoreUnavailable("the connection was closed") from error
        except EventStoreDBClientException as error:
            if isinstance(error, UnknownError) and "ReadAllResult: Error" in str(error):
                raise PositionRefused from error
            if refused := self.access_refused(error):
                raise refused from error
            self.leader.broken(error)
            raise StoreUnavailable(short(error)) from error
        except (grpc.aio.UsageError, TimeoutError) as error:
            raise StoreUnavailable(f"EventStoreDB does not answer: {error}") from error

    def access_refused(self, error: Exception) -> AccessRefused | None:
        """The AccessRefused that an error of esdbclient's stands for: wrong credentials, or a missing right."""
        return access_refused(error, has_user=bool(self._client.connection_spec.username))

    async def wrong_about_tls(self, reason: str) -> str:
        """What to change in the address if the server cannot be reached because of TLS; otherwise empty."""
        spec = self._client.connection_spec
        return await wrong_about_tls(spec.targets, spec.options.Tls, reason)

    async def close(self) -> None:
        self.guard.close()
        await self.leader.close()
