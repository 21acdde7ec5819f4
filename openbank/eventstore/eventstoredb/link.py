"""The connection to EventStoreDB: esdbclient's, with what it leaves open settled.

esdbclient finds the node, opens the channel and reads. Its calls are used without its own retries: they would make a
caller wait while the server is away, and they close the connection under whoever else is using it. And a call that
is cancelled looks to its reader like one that has ended; here it is an error, since half a stream taken for the
whole would let a command be done twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any
from weakref import WeakSet

import grpc
from esdbclient import AsyncEventStoreDBClient, NewEvent, RecordedEvent
from esdbclient.connection import AsyncESDBConnection
from esdbclient.connection_spec import NODE_PREFERENCE_LEADER, URI_SCHEME_ESDB
from esdbclient.exceptions import (
    CancelledByClient,
    DeadlineExceeded,
    EventStoreDBClientException,
    NodeIsNotLeader,
    NotFound,
    ServiceUnavailable,
    StreamIsDeleted,
    UnknownError,
    WrongCurrentVersion,
)
from esdbclient.streams import AsyncCatchupSubscription, AsyncReadResponse, StreamState

from openbank import address
from openbank.eventstore.eventstoredb.refusals import AccessRefused, access_refused, bad_address, wrong_about_tls
from openbank.eventstore.port import LogReplaced, StoreDamaged, StoreRefused, StoreUnavailable

CONNECT_SECONDS = 2.0
"""For a node to answer at all; one that is down refuses within milliseconds, this is for one that is silent."""
DISCOVER_SECONDS = 10.0
"""For a cluster to say who leads."""
READ_SECONDS = 10.0
"""For a page of events."""
KEEPALIVE_MS = 10_000
"""A machine that vanishes says nothing: after a silence of this and as long again the connection counts as broken."""
RECONNECT_PAUSE_SECONDS = 0.2
SUSPICIOUS_SECONDS = 1.0
"""Whatever takes longer makes the link ask the server whether it is there."""
PROBE_SECONDS = 0.7
"""How long it may take to answer that: less would take a busy server for one that is away."""
PROBE_PAUSE_SECONDS = 0.3
VISIBLE_SECONDS = 5.0
"""For what the server has refused an append for to be readable: it takes about as long as a commit."""
VISIBLE_PAUSE_SECONDS = 0.01
PROBED_STREAM = "openbank-probe"
"""It need not be there."""
SILENT = "EventStoreDB does not answer"

_log = logging.getLogger(__name__)


class PositionRefused(Exception):
    """No event is at this position of the log, or none any more."""


class Link:
    """One process's connection; safe for any number of calls at once.

    A server that is down refuses. One that has fallen silent would make every caller wait, until the connection counts
    as broken; so once it is found to be silent, callers are told so at once, until it answers again.
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
            # esdbclient sets the interval under a name that gRPC does not know.
            ("grpc.keepalive_time_ms", spec.options.KeepAliveInterval or KEEPALIVE_MS),
            ("grpc.keepalive_timeout_ms", spec.options.KeepAliveTimeout or KEEPALIVE_MS),
        )
        self.targets = ", ".join(spec.targets)
        self._is_cluster = spec.scheme != URI_SCHEME_ESDB or len(spec.targets) > 1
        self._reconnecting: asyncio.Task[None] | None = None
        self._connected = False
        self._closed = False
        self.silent = False
        """Whether the server was asked whether it is there, and has not answered yet."""
        self._probing: asyncio.Task[None] | None = None
        self._waiting: set[asyncio.Timeout] = set()
        self._subscriptions: WeakSet[AsyncCatchupSubscription] = WeakSet()
        self.check_log: Callable[[], Awaitable[None]] | None = None
        """Raises LogReplaced where the server holds another log than before; asked on each new connection."""
        self._replaced = ""
        """Why nothing is read or written any more."""
        self._connections = 0
        """How many there have been, as far as is known: gRPC makes a new one without a word."""
        self._checked = 0
        """On which of them the log was last checked."""
        self._checking: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        if not self._connected:
            with self.errors():
                async with asyncio.timeout(DISCOVER_SECONDS):
                    await self._client.connect()
            self._connected = True
            self._watch_channel()

    @property
    def connection(self) -> AsyncESDBConnection:
        if not self._connected or self._closed:
            raise StoreUnavailable("not connected to EventStoreDB")
        return self._client._connection

    def append_call(self, requests: Any) -> Any:
        """A `BatchAppend` call on esdbclient's connection, with its stubs, metadata and credentials."""
        streams = self.connection.streams
        return streams._stub.BatchAppend(
            requests,
            metadata=streams._metadata(self._client._call_metadata, requires_leader=True),
            credentials=self._client._call_credentials,
        )

    def _watch_channel(self) -> None:
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
                self.lost()

    def lost(self) -> None:
        """A call that was to last has ended: the next connection may be to another log."""
        self._connections += 1

    async def same_log(self, *, anew: bool = False) -> None:
        """The server holds the log that it held before; asked `anew`, or once a connection. Raises LogReplaced."""
        if anew:
            self._connections += 1
        while self._checked != self._connections or self._replaced:
            if self._replaced:
                raise LogReplaced(self._replaced)
            if self._checking is None:
                self._checking = asyncio.create_task(self._check_log(self._connections))
                self._checking.add_done_callback(self._note_checked)
            # One that gives up does not take the others' answer away.
            await asyncio.shield(self._checking)

    async def _check_log(self, connection: int) -> None:
        try:
            if self.check_log is not None:
                await self.check_log()
            self._checked = connection
        except LogReplaced as error:
            self._replaced = (
                f"EventStoreDB at {self.targets} does not hold the log that this bank has followed: {error};"
                " stop all instances, bring back all of the log, and start them; or continue with what is left of it:"
                " openbank accept-loss --event-store ADDRESS"
            )
            raise LogReplaced(self._replaced) from None

    def _note_checked(self, checking: asyncio.Task[None]) -> None:
        self._checking = None
        if not checking.cancelled():
            checking.exception()  # Whoever waits has it; nobody may.

    async def read(self, **options: Any) -> list[RecordedEvent]:
        """All events that a call of esdbclient's `read` gives. Raises what `errors` does, and LogReplaced."""
        if self._checked != self._connections or self._replaced:
            await self.same_log()
        return await self.read_unchecked(**options)

    async def read_unchecked(self, **options: Any) -> list[RecordedEvent]:
        """The same, whosever log it is."""
        async with self.answered():
            response = await self._read(timeout=READ_SECONDS, **options)
            events = [event async for event in response]
            if await response.aio_call.code() is not grpc.StatusCode.OK:
                raise CancelledByClient
            return events

    async def subscribe(self, **options: Any) -> AsyncCatchupSubscription:
        """A subscription that the server has confirmed."""
        # Not wait_for, which makes a task: esdbclient would end that with an error, where it is cancelled.
        async with self.answered(), asyncio.timeout(CONNECT_SECONDS):
            subscription = await self._read(subscribe=True, **options)
            assert isinstance(subscription, AsyncCatchupSubscription)
            self._subscriptions.add(subscription)
        try:
            await self.same_log(anew=True)
        except BaseException:
            await subscription.stop()
            raise
        return subscription

    async def write(self, stream: str, event: NewEvent, after: int | None) -> bool:
        """Whether the event was written as the next one after this (None: as the first); False where one is there."""
        await self.same_log()
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

    async def _read(self, **options: Any) -> AsyncReadResponse:
        response: AsyncReadResponse = await self.connection.streams.read(
            metadata=self._client._call_metadata, credentials=self._client._call_credentials, **options
        )
        return response

    def check(self) -> None:
        """Raises StoreUnavailable while the server is silent."""
        if self.silent:
            raise StoreUnavailable(SILENT)

    @asynccontextmanager
    async def answered(self) -> AsyncIterator[None]:
        """What waits for an answer, but no longer than there is somebody to give one. Raises what `errors` does."""
        self.check()
        suspicion = asyncio.get_running_loop().call_later(SUSPICIOUS_SECONDS, self.suspect)
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._waiting.add(limit)
                with self.errors():
                    yield
        except TimeoutError:
            raise StoreUnavailable(SILENT) from None
        finally:
            suspicion.cancel()
            self._waiting.discard(limit)

    def suspect(self) -> None:
        """An answer takes long: the server is asked whether it is there."""
        if self._probing is None and not self._closed:
            self._probing = asyncio.create_task(self._probe())

    async def _probe(self) -> None:
        try:
            while not await self._answers():
                self._fall_silent()
                await asyncio.sleep(PROBE_PAUSE_SECONDS)
            if self.silent:
                _log.info("EventStoreDB answers again")
            self.silent = False
        finally:
            self._probing = None

    async def _answers(self) -> bool:
        try:
            response = await self._read(stream_name=PROBED_STREAM, limit=1, timeout=PROBE_SECONDS)
            async for _ in response:
                pass
        except (CancelledByClient, DeadlineExceeded, ServiceUnavailable, StoreUnavailable, grpc.aio.UsageError):
            return False
        except EventStoreDBClientException:
            pass  # As good as any other answer.
        return True

    def _fall_silent(self) -> None:
        """Whoever waits for an answer would find out one after the other; subscriptions never would."""
        if not self.silent:
            _log.warning(SILENT)
        self.silent = True
        # In a cluster another node may lead by now.
        self.broken(ServiceUnavailable(SILENT))
        now = asyncio.get_running_loop().time()
        for limit in self._waiting:
            if not limit.expired():
                limit.reschedule(now)
        self._waiting.clear()
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
            raise StoreUnavailable(_short(error)) from error
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
        """One node's connection mends itself; in a cluster another node may lead now, and is looked for."""
        if not self._is_cluster or self._reconnecting or self._closed:
            return
        if isinstance(error, NodeIsNotLeader | ServiceUnavailable):
            leader = error.leader_grpc_target if isinstance(error, NodeIsNotLeader) else None
            self._reconnecting = asyncio.create_task(self._reconnect(leader))

    async def _reconnect(self, leader: str | None) -> None:
        try:
            with suppress(EventStoreDBClientException):
                await self._client.reconnect(leader)
                self.lost()
                self._watch_channel()
            await asyncio.sleep(RECONNECT_PAUSE_SECONDS)
        finally:
            self._reconnecting = None

    async def close(self) -> None:
        self._closed = True
        for task in (self._reconnecting, self._probing, self._checking, self._watching):
            if task is not None:
                task.cancel()
        await self._client.close()


def _short(error: Exception) -> str:
    """A call's error as text has lines of gRPC's own about it; what the server said is one of them."""
    cause = error.args[0] if error.args else error
    details = cause.details() if isinstance(cause, grpc.aio.AioRpcError) else str(cause)
    return f"{type(error).__name__}: {details}"
