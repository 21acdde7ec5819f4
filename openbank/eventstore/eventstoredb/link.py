"""The connection to EventStoreDB: esdbclient's, with what it leaves open settled.

esdbclient's calls are used without its own retries: they would make a caller wait while the server is away, and they
close the connection under whoever else is using it. A call that is cancelled looks to its reader like one that has
ended; here it is an error, since half a stream taken for the whole would let a command be done twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any
from weakref import WeakSet

import grpc
from esdbclient import AsyncEventStoreDBClient, NewEvent
from esdbclient.connection import AsyncESDBConnection
from esdbclient.connection_spec import NODE_PREFERENCE_LEADER
from esdbclient.exceptions import (
    CancelledByClient,
    EventStoreDBClientException,
    NodeIsNotLeader,
    NotFound,
    ServiceUnavailable,
    StreamIsDeleted,
    UnknownError,
    WrongCurrentVersion,
)
from esdbclient.streams import StreamState

from openbank import address
from openbank.eventstore.errors import LogReplaced, StoreDamaged, StoreRefused, StoreUnavailable
from openbank.eventstore.eventstoredb.discovery import Discovery, probe, short
from openbank.eventstore.eventstoredb.pulse import SILENT, Pulse
from openbank.eventstore.eventstoredb.read_request import read_request
from openbank.eventstore.eventstoredb.reading import CaughtUp, Reading, Stored
from openbank.eventstore.eventstoredb.refusals import AccessRefused, access_refused, bad_address, wrong_about_tls
from openbank.eventstore.eventstoredb.same_log import SameLogGuard

CONNECT_SECONDS = 5.0
"""For a call that is to last to stand; one to a server that is down is refused within milliseconds."""
DISCOVER_SECONDS = 10.0
"""For a cluster to say who leads."""
READ_SECONDS = 10.0
"""For a page of a stream. A page of the log has no limit, as the server may pass millions of others' events on the way:
it is given up when the server falls silent."""
KEEPALIVE_MS = 10_000
"""A machine that vanishes says nothing: after a silence of this and as long again the connection counts as broken."""
RECONNECT_PAUSE_SECONDS = 0.2
VISIBLE_SECONDS = 5.0
"""For what the server has refused an append for to be readable: it takes about as long as a commit."""
VISIBLE_PAUSE_SECONDS = 0.01
PATIENCE_PAUSE_SECONDS = 0.2

_log = logging.getLogger(__name__)


class PositionRefused(Exception):
    """No event is at this position of the log, or none any more."""


class Link:
    """One process's connection to the node that leads; safe for any number of calls at once.

    A server that is down refuses. One that has fallen silent would make every caller wait until the connection counts
    as broken. So `Pulse` asks it all the time; once it is found to be silent, callers get an error at once, and a new
    connection is looked for, to whichever node leads.
    """

    def __init__(self, uri: str) -> None:
        """Raises StoreRefused for an address that can't be one; its text holds no secret of the address."""
        try:
            address.check(uri)
            self._client = AsyncEventStoreDBClient(uri)
        except Exception as error:
            # The client's own checks are of many kinds, assertions among them.
            reason = str(error) if "Username and password" in str(error) else address.reason(error, uri)
            raise StoreRefused(f"not an address of EventStoreDB: {bad_address(reason)}") from None
        spec = self._client.connection_spec
        if spec.options.NodePreference != NODE_PREFERENCE_LEADER:
            # What was acknowledged must be there for whoever reads next, and followers lag.
            raise StoreRefused("NodePreference must be leader: the bank reads what it has written")
        self._client.grpc_options += (
            # gRPC tries again by itself; left alone it would wait up to two minutes when the server is back.
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
            ("grpc.min_reconnect_backoff_ms", int(CONNECT_SECONDS * 1000)),
            # Else a new channel to the same node would use the old one's connection.
            ("grpc.use_local_subchannel_pool", 1),
            # esdbclient sets the interval under a name that gRPC does not know.
            ("grpc.keepalive_time_ms", spec.options.KeepAliveInterval or KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", spec.options.KeepAliveTimeout or KEEPALIVE_MS),
        )
        self.targets = ", ".join(spec.targets)
        self.guard = SameLogGuard(self.targets)
        self.pulse = Pulse(self._probe, self._find_leader, self._cut_subscriptions, self._fall_silent)
        self.patience_seconds = 0.0
        """How long a read is tried again while the store is away: for jobs and starts."""
        self._discovery = Discovery(self._client)
        self._connection: AsyncESDBConnection | None = None
        self._follows = False
        """Whether the log is followed on this connection."""
        self._followed_until = 0.0
        """When nothing up to then can have been missed, as far as was known before this connection."""
        self._reconnecting: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False
        self._waiting: set[asyncio.Timeout] = set()
        self._subscriptions: WeakSet[Reading] = WeakSet()

    async def connect(self) -> None:
        """Raises StoreUnavailable."""
        if self._connection is None:
            began_at = asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(DISCOVER_SECONDS):
                    self._connection = await self._discovery.leader()
            except TimeoutError:
                raise StoreUnavailable("no node answers") from None
            self._use(began_at)
            self.pulse.start()

    @property
    def connection(self) -> AsyncESDBConnection:
        if self._connection is None or self._closed:
            raise StoreUnavailable("not connected to EventStoreDB")
        return self._connection

    @property
    def confirmed_at(self) -> float:
        """Until when the subscription that follows the log has missed nothing, by the loop's clock.

        One on a connection that was replaced does not know yet that it has ended.
        """
        return max(self._followed_until, self.pulse.settled_at) if self._follows else self._followed_until

    def follows(self, connection: AsyncESDBConnection, since: float) -> None:
        """A subscription on this connection follows the log. Once it is caught up, it has all there was at `since`."""
        self._follows = connection is self._connection
        if self._follows:
            self._followed_until = max(self._followed_until, since)

    def append_call(self, requests: Any) -> Any:
        """A `BatchAppend` call on esdbclient's connection, with its stubs, metadata and credentials."""
        streams = self.connection.streams
        return streams._stub.BatchAppend(
            requests,
            metadata=streams._metadata(self._client._call_metadata, requires_leader=True),
            credentials=self._client._call_credentials,
        )

    async def read(self, **options: Any) -> list[Stored]:
        """All events that a call of esdbclient's `read` gives. Raises what `errors` does, and LogReplaced."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self.patience_seconds
        while True:
            connection = self._connection
            try:
                if not self.guard.is_open:
                    await self.guard.passed()
                return await self.read_unchecked(**options)
            except (LogReplaced, AccessRefused):
                raise
            except StoreUnavailable:
                # A connection that was replaced meanwhile says nothing about the new one.
                if self._closed or (loop.time() >= until and connection is self._connection):
                    raise
            if connection is self._connection:
                await asyncio.sleep(PATIENCE_PAUSE_SECONDS)

    async def read_unchecked(self, **options: Any) -> list[Stored]:
        """The same, whosever log it is."""
        async with self.answered():
            reading = self._read(timeout=READ_SECONDS if "stream_name" in options else None, **options)
            events = [item async for item in reading.items() if isinstance(item, Stored)]
            self.pulse.heard()
            return events

    async def subscribe(self, **options: Any) -> Reading:
        """A subscription that the server has confirmed."""
        # Not wait_for, which makes a task: esdbclient would end that with an error, where it is cancelled.
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
        """Events of the log up to its end, by a subscription: the server looks through it for as long as it takes."""
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
        """Whether the event was written as the next one after this (None: as the first); False where one is there."""
        await self.guard.passed()
        with self.errors():
            try:
                await self.connection.streams.batch_append(
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
        """The server refuses before the cause can be read."""
        loop = asyncio.get_running_loop()
        until = loop.time() + VISIBLE_SECONDS
        while loop.time() < until:
            with suppress(NotFound):
                if await self.read(stream_name=stream, stream_position=number, limit=1):
                    return
            await asyncio.sleep(VISIBLE_PAUSE_SECONDS)

    def _read(self, timeout: float | None = None, **options: Any) -> Reading:
        """As esdbclient's `read` on a stream or on all of them, which has no filter by prefixes."""
        streams = self.connection.streams
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
        """What waits for an answer, but no longer than there is somebody to give one. Raises what `errors` does."""
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

    async def _probe(self) -> None:
        await probe(self._client, self.connection)

    def _fall_silent(self) -> None:
        """Whoever waits for an answer would find out one after the other; subscriptions never would."""
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
        """What goes wrong here is StoreUnavailable, but for NotFound (no such stream), StoreDamaged (a tombstone) and
        PositionRefused."""
        try:
            yield
        except (NotFound, StoreUnavailable):
            raise
        except StreamIsDeleted as error:
            raise StoreDamaged("a stream of the bank was deleted for ever, by a tombstone") from error
        except CancelledByClient as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # esdbclient took the cancellation of its caller for one of the call.
                raise asyncio.CancelledError from error
            raise StoreUnavailable("the connection was closed") from error
        except EventStoreDBClientException as error:
            if isinstance(error, UnknownError) and "ReadAllResult: Error" in str(error):
                raise PositionRefused from error
            if refused := self.access_refused(error):
                raise refused from error
            self.broken(error)
            raise StoreUnavailable(short(error)) from error
        except (grpc.aio.UsageError, TimeoutError) as error:
            raise StoreUnavailable(f"EventStoreDB does not answer: {error}") from error

    def access_refused(self, error: Exception) -> AccessRefused | None:
        """What an error of esdbclient's means, where the server refuses the credentials, or finds a right missing."""
        return access_refused(error, has_user=bool(self._client.connection_spec.username))

    async def wrong_about_tls(self, reason: str) -> str:
        """What is to be written into the address, where the server cannot be reached because of TLS; else empty."""
        spec = self._client.connection_spec
        return await wrong_about_tls(spec.targets, spec.options.Tls, reason)

    def broken(self, error: Exception) -> None:
        """A call has failed, perhaps with its connection."""
        if isinstance(error, NodeIsNotLeader):
            self._find_leader(error)
        elif isinstance(error, ServiceUnavailable):
            # A proxy or the server may have ended this one call.
            self.pulse.ask()

    def _find_leader(self, error: Exception) -> None:
        """Another node may lead now, or a new connection work where this one does not."""
        if not (self._reconnecting or self._closed or self._connection is None):
            leader = error.leader_grpc_target if isinstance(error, NodeIsNotLeader) else None
            self._reconnecting = asyncio.create_task(self._reconnect(leader))

    async def _reconnect(self, leader: str | None) -> None:
        began_at = asyncio.get_running_loop().time()
        try:
            old = await self._discovery.leader(leader)
            if self.pulse.led_at < began_at:
                # Else the old one has answered meanwhile, as a leader, and the new one is not needed.
                self._connection, old = old, self.connection
                self._use(began_at)
            closing = asyncio.create_task(old.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        except StoreUnavailable as error:
            self.pulse.note_away(str(error))
            await asyncio.sleep(RECONNECT_PAUSE_SECONDS)
        finally:
            self._reconnecting = None

    def _use(self, asked_at: float) -> None:
        """The connection is a new one, which has answered as a leader what it was asked at that time."""
        self.guard.lost()
        self._followed_until, self._follows = self.confirmed_at, False
        self.pulse.led(asked_at)
        if self._watching is not None:
            self._watching.cancel()
        self._watching = asyncio.create_task(self._note_channel(self.connection._grpc_channel))

    async def _note_channel(self, channel: grpc.aio.Channel) -> None:
        """gRPC makes a new connection by itself where one breaks, and says so nowhere else."""
        state = channel.get_state()
        while state is not grpc.ChannelConnectivity.SHUTDOWN:
            with suppress(grpc.aio.UsageError):
                await channel.wait_for_state_change(state)
            was_ready, state = state is grpc.ChannelConnectivity.READY, channel.get_state()
            if was_ready:
                self.guard.lost()

    async def close(self) -> None:
        self._closed = True
        self.guard.close()
        self.pulse.close()
        tasks = [task for task in (self._reconnecting, self._watching, *self._closing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._connection is not None:
            await self._connection.close()
