"""A network that can be bad: a TCP proxy that cuts connections, or keeps them and says nothing."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Proxy:
    def __init__(self, target: str) -> None:
        self.target = target
        """Where new connections lead."""
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self._swallowed = asyncio.Event()
        """Set once what comes on the connections of now is to be dropped."""
        self.address = ""
        self.connections = 0
        """How many there have been."""
        self.received = 0
        """Bytes from clients."""

    def cut(self, share: float = 1.0) -> int:
        """That share of the connections, in the middle of whatever they are at. Returns how many there were."""
        some = random.sample(list(self._pairs), round(share * len(self._pairs)))
        for pair in some:
            for writer in pair:
                writer.transport.abort()
        return len(some)

    def mute(self) -> None:
        """Connections stay, and nothing comes through."""
        self._passing.clear()

    def unmute(self) -> None:
        self._passing.set()

    def swallow(self) -> None:
        """The connections of now stay and lead nowhere; new ones work. A proxy that was restarted does that."""
        self._swallowed.set()
        self._swallowed = asyncio.Event()

    @property
    def connections_open(self) -> int:
        return len(self._pairs)

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        host, _, port = self.target.rpartition(":")
        try:
            other_reader, other_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, other_writer)
        self._pairs.add(pair)
        try:
            async with asyncio.TaskGroup() as ways:
                swallowed = self._swallowed
                ways.create_task(self._pass_on(reader, other_writer, swallowed, from_client=True))
                ways.create_task(self._pass_on(other_reader, writer, swallowed))
        finally:
            self._pairs.discard(pair)

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        swallowed: asyncio.Event,
        from_client: bool = False,
    ) -> None:
        try:
            while data := await reader.read(1 << 16):
                self.received += len(data) * from_client
                if swallowed.is_set():
                    continue
                await self._passing.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()


@asynccontextmanager
async def proxy_of(target: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(target)
    listening = await asyncio.start_server(proxy.connected, "127.0.0.1", 0)
    proxy.address = f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        listening.close()
        proxy.unmute()
        proxy.cut()
