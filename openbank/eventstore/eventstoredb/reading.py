"""What the server sends to a read or a subscription, straight from its messages.

esdbclient makes an object of each event, which takes twice as long. Its connection, stubs and errors are used.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import grpc
from esdbclient.exceptions import CancelledByClient, NotFound
from esdbclient.protos.Grpc import streams_pb2
from esdbclient.streams import AsyncCatchupSubscription


class Stored(NamedTuple):
    """An event as the server holds it. `id` has 16 bytes; `stream_position` counts from 0."""

    commit_position: int
    stream_name: str
    stream_position: int
    id: bytes
    type: str
    content_type: str
    data: bytes
    metadata: bytes


class SearchedTo(NamedTuple):
    """The server has searched the log up to this position."""

    commit_position: int


class CaughtUp:
    """A subscription has reached the end of the log."""


CAUGHT_UP = CaughtUp()
Item = Stored | SearchedTo | CaughtUp


class Reading(AsyncCatchupSubscription):
    """A read or a subscription of esdbclient's, with its own handling of messages."""

    def items(self) -> AsyncIterator[Item]:
        """Raises esdbclient's errors, and CancelledByClient if the call or the caller is cancelled."""
        return self._items()

    async def _items(self) -> AsyncIterator[Item]:
        try:
            async for response in self.read_resp_iter:
                content = response.WhichOneof("content")
                if content == "event":
                    yield _stored(response.event)
                elif content == "checkpoint":
                    yield SearchedTo(response.checkpoint.commit_position)
                elif content == "caught_up":
                    yield CAUGHT_UP
                elif content == "stream_not_found":
                    raise NotFound(f"Stream {self._stream_name!r} not found")
        except grpc.RpcError as error:
            await self.stop()
            raise self._handle_stream_read_rpc_error(error) from None
        except asyncio.CancelledError:
            await self.stop()
            raise CancelledByClient from None


def _stored(event: streams_pb2.ReadResp.ReadEvent) -> Stored:
    recorded = event.event
    system = recorded.metadata
    return Stored(
        event.commit_position,
        recorded.stream_identifier.stream_name.decode(),
        recorded.stream_revision,
        bytes.fromhex(recorded.id.string.replace("-", "")),
        system["type"],
        system["content-type"],
        recorded.data,
        recorded.custom_metadata,
    )
