"""The one long-lived `BatchAppend` call that all appends share: a call per append costs three times as much."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from esdbclient.common import AsyncGrpcStreamer, handle_rpc_error
from esdbclient.protos.Grpc import streams_pb2
from grpc.aio import AioRpcError

from openbank.eventstore.eventstoredb.append_messages import ANSWER_SECONDS, AnswerLost
from openbank.eventstore.eventstoredb.client import CONNECT_SECONDS
from openbank.eventstore.eventstoredb.link import Link
from openbank.eventstore.eventstoredb.refusals import AccessRefused

GATHER_SECONDS = 0.005
"""How long an answer waits for those of the other appends on their way. Callers that are answered together share turns
of the event loop, and their next appends come together too."""


class _Asked(NamedTuple):
    """An append on its way, since `time`."""

    time: float
    answer: asyncio.Future[streams_pb2.BatchAppendResp]


class AppendCall(AsyncGrpcStreamer):
    """One `BatchAppend` call. esdbclient stops it with its connection, as it does with its own calls."""

    def __init__(self, link: Link) -> None:
        super().__init__(link.leader.connection._grpc_streamers)
        self.ended = False
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._requests: asyncio.Queue[streams_pb2.BatchAppendReq | None] = asyncio.Queue()
        self._waiting: dict[str, _Asked] = {}
        """In the order in which they were sent."""
        self._arrived: list[tuple[asyncio.Future[streams_pb2.BatchAppendResp], streams_pb2.BatchAppendResp]] = []
        """Answers that callers do not have yet."""
        self._giving: asyncio.TimerHandle | None = None
        self._call: Any = link.append_call(self._sent())
        self._answered = False
        self._refused: AccessRefused | None = None
        """Why the server has refused the call as a whole. Then it has done none of the appends."""
        self._receiving: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, link: Link) -> AppendCall:
        """Returns once the call has reached the server; until then nothing is sent. Raises StoreUnavailable."""
        async with link.answered():
            call = cls(link)
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await call._call.wait_for_connection()
            except AioRpcError as error:
                await call.stop()
                raise handle_rpc_error(error) from None
            except (TimeoutError, asyncio.CancelledError):
                await call.stop()
                raise
        call._receiving = asyncio.create_task(call._receive())
        call._watching = asyncio.create_task(call._watch())
        try:
            link.guard.lost()
            await link.guard.passed()
        except BaseException:
            await call.stop()
            raise
        return call

    async def ask(self, request: streams_pb2.BatchAppendReq) -> streams_pb2.BatchAppendResp:
        """The server's answer. Raises AnswerLost, and AccessRefused where the call was refused."""
        if self.ended:
            raise self._lost()
        number = request.correlation_id.string
        answer: asyncio.Future[streams_pb2.BatchAppendResp] = self._loop.create_future()
        self._waiting[number] = _Asked(self._loop.time(), answer)
        self._requests.put_nowait(request)
        try:
            return await answer
        finally:
            self._waiting.pop(number, None)

    async def stop(self) -> None:
        self._call.cancel()
        self._end()

    async def _sent(self) -> AsyncIterator[streams_pb2.BatchAppendReq]:
        while (request := await self._requests.get()) is not None:
            yield request

    async def _receive(self) -> None:
        try:
            async for response in self._call:
                self._answered = True
                self._link.pulse.heard()
                asked = self._waiting.pop(response.correlation_id.string, None)
                if asked is not None:
                    self._take(asked.answer, response)
        except AioRpcError as error:
            reason = handle_rpc_error(error)
            if not self._answered:
                self._refused = self._link.access_refused(reason)
            self._link.leader.broken(reason)
        finally:
            self._link.guard.lost()
            self._call.cancel()
            self._end()

    def _take(self, answer: asyncio.Future[streams_pb2.BatchAppendResp], response: streams_pb2.BatchAppendResp) -> None:
        self._arrived.append((answer, response))
        if not self._waiting:
            self._give()
        elif self._giving is None:
            self._giving = self._loop.call_later(GATHER_SECONDS, self._give)

    def _give(self) -> None:
        if self._giving is not None:
            self._giving.cancel()
            self._giving = None
        arrived, self._arrived = self._arrived, []
        for answer, response in arrived:
            if not answer.done():
                answer.set_result(response)

    async def _watch(self) -> None:
        """Gives up answers that do not come. One timer serves all of them, as this is the hottest path."""
        while True:
            await asyncio.sleep(ANSWER_SECONDS / 4)
            now = self._loop.time()
            for asked in self._waiting.values():
                if now - asked.time < ANSWER_SECONDS:
                    break
                _lose(asked.answer, AnswerLost())

    def _end(self) -> None:
        self.ended = True
        self._give()
        self._requests.put_nowait(None)
        if self._watching is not None:
            self._watching.cancel()
        for asked in self._waiting.values():
            _lose(asked.answer, self._lost())

    def _lost(self) -> Exception:
        return AnswerLost() if self._refused is None else AccessRefused(str(self._refused))


def _lose(answer: asyncio.Future[streams_pb2.BatchAppendResp], why: Exception) -> None:
    if not answer.done():
        answer.set_exception(why)
