"""The connection to the node of EventStoreDB that leads, replaced when another node does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import grpc
from esdbclient import AsyncEventStoreDBClient
from esdbclient.connection import AsyncESDBConnection
from esdbclient.exceptions import NodeIsNotLeader, ServiceUnavailable

from openbank.eventstore.errors import StoreUnavailable
from openbank.eventstore.eventstoredb.discovery import Discovery, probe
from openbank.eventstore.eventstoredb.pulse import Pulse
from openbank.eventstore.eventstoredb.same_log import SameLogGuard

DISCOVER_SECONDS = 10.0
"""How long a cluster may take to say who leads."""
RECONNECT_PAUSE_SECONDS = 0.2


class Leader:
    def __init__(
        self,
        client: AsyncEventStoreDBClient,
        guard: SameLogGuard,
        lead_lost: Callable[[], None],
        fallen_silent: Callable[[], None],
    ) -> None:
        """`lead_lost` and `fallen_silent` end the calls on this connection that would wait in vain."""
        self._client = client
        self._guard = guard
        self.pulse = Pulse(self._probe, self._find, lead_lost, fallen_silent)
        self._discovery = Discovery(client)
        self.current: AsyncESDBConnection | None = None
        """The connection, which changes; None before the first one."""
        self._follows = False
        """Whether the log is followed on this connection."""
        self._followed_until = 0.0
        """The time up to which nothing was missed, as far as was known before this connection."""
        self._reconnecting: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self.closed = False

    async def connect(self) -> None:
        """Raises StoreUnavailable."""
        if self.current is None:
            began_at = asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(DISCOVER_SECONDS):
                    self.current = await self._discovery.leader()
            except TimeoutError:
                raise StoreUnavailable("no node answers") from None
            self._use(began_at)
            self.pulse.start()

    @property
    def connection(self) -> AsyncESDBConnection:
        if self.current is None or self.closed:
            raise StoreUnavailable("not connected to EventStoreDB")
        return self.current

    @property
    def confirmed_at(self) -> float:
        """The time, by the loop's clock, up to which the subscription that follows the log has missed nothing.

        A subscription on a replaced connection does not know yet that it has ended.
        """
        return max(self._followed_until, self.pulse.settled_at) if self._follows else self._followed_until

    def follows(self, connection: AsyncESDBConnection, since: float) -> None:
        """Call when a subscription on this connection follows the log. Once caught up, it has all that there was at
        `since`."""
        self._follows = connection is self.current
        if self._follows:
            self._followed_until = max(self._followed_until, since)

    async def _probe(self) -> None:
        await probe(self._client, self.connection)

    def broken(self, error: Exception) -> None:
        """Call when a call has failed, perhaps with its connection."""
        if isinstance(error, NodeIsNotLeader):
            self._find(error)
        elif isinstance(error, ServiceUnavailable):
            # A proxy or the server may have ended this one call.
            self.pulse.ask()

    def _find(self, error: Exception) -> None:
        """Looks for the leader on new connections: another node may lead now, or a new connection may work."""
        if not (self._reconnecting or self.closed or self.current is None):
            leader = error.leader_grpc_target if isinstance(error, NodeIsNotLeader) else None
            self._reconnecting = asyncio.create_task(self._reconnect(leader))

    async def _reconnect(self, leader: str | None) -> None:
        began_at = asyncio.get_running_loop().time()
        try:
            old = await self._discovery.leader(leader)
            if self.pulse.led_at < began_at:
                # Otherwise the old connection has answered as a leader meanwhile, and the new one is not needed.
                self.current, old = old, self.connection
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
        """Starts to use a new connection, which has answered as a leader a question asked at `asked_at`."""
        self._guard.lost()
        self._followed_until, self._follows = self.confirmed_at, False
        self.pulse.led(asked_at)
        if self._watching is not None:
            self._watching.cancel()
        self._watching = asyncio.create_task(self._note_channel(self.connection._grpc_channel))

    async def _note_channel(self, channel: grpc.aio.Channel) -> None:
        """Notices when gRPC reconnects by itself, which it reports nowhere else."""
        state = channel.get_state()
        while state is not grpc.ChannelConnectivity.SHUTDOWN:
            with suppress(grpc.aio.UsageError):
                await channel.wait_for_state_change(state)
            was_ready, state = state is grpc.ChannelConnectivity.READY, channel.get_state()
            if was_ready:
                self._guard.lost()

    async def close(self) -> None:
        self.closed = True
        self.pulse.close()
        tasks = [task for task in (self._reconnecting, self._watching, *self._closing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.current is not None:
            await self.current.close()
