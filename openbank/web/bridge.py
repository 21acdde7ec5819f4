"""Calls of browsers, passed on to the bank: bytes in, bytes out. The bridge knows no message and no method."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import grpc
from aiohttp import web

from openbank.web.framing import (
    CONTENT_TYPES,
    MESSAGE_BYTES_MAX,
    message_frame,
    read_message,
    read_timeout,
    trailers_frame,
)

METADATA = ("authorization", "traceparent", "x-correlation-id")
"""The headers that are passed on."""
CALLS_MAX = 1_000
"""Calls under way, watches among them."""

_Code = grpc.StatusCode


class Bridge:
    def __init__(self, channel: grpc.aio.Channel, *, needs_token: bool) -> None:
        """With `needs_token`, a call without a token is refused: the bank would take it for the bridge's own, which has
        a certificate or came by the local socket."""
        self._channel = channel
        self._needs_token = needs_token
        self._calls: set[Any] = set()
        self._is_stopping = False

    async def stop(self, _: object = None) -> None:
        """Ends all calls: watches do not end by themselves."""
        self._is_stopping = True
        for call in self._calls:
            call.cancel()

    async def call(self, request: web.Request) -> web.StreamResponse:
        if request.content_type not in CONTENT_TYPES:
            raise web.HTTPUnsupportedMediaType(text=f"the content type must be {' or '.join(CONTENT_TYPES)}\n")
        response = web.StreamResponse(headers={"Content-Type": CONTENT_TYPES[1], "Cache-Control": "no-store"})
        try:
            message, seconds = read_message(await request.read()), read_timeout(request.headers.get("grpc-timeout"))
        except web.HTTPRequestEntityTooLarge:
            return await _end(request, response, _Code.RESOURCE_EXHAUSTED, f"is larger than {MESSAGE_BYTES_MAX} bytes")
        except ValueError as error:
            return await _end(request, response, _Code.INVALID_ARGUMENT, str(error))
        if self._needs_token and "authorization" not in request.headers:
            return await _end(request, response, _Code.UNAUTHENTICATED, "send the metadata authorization: Bearer TOKEN")
        if len(self._calls) >= CALLS_MAX:
            return await _end(request, response, _Code.UNAVAILABLE, f"{CALLS_MAX} calls are under way, the most")
        return await self._pass_on(request, response, message, seconds)

    async def _pass_on(
        self, request: web.Request, response: web.StreamResponse, message: bytes, seconds: float | None
    ) -> web.StreamResponse:
        """A call with one response is a stream of one: to the wire it is the same."""
        method: Any = self._channel.unary_stream(request.path)
        metadata = [(name, value) for name in METADATA if (value := request.headers.get(name)) is not None]
        try:
            call: Any = method(message, timeout=seconds, metadata=metadata)
        except ValueError:
            return await _end(request, response, _Code.INVALID_ARGUMENT, "a header cannot be passed on as metadata")
        self._calls.add(call)
        try:
            # The page learns at once that it is connected, though the first message may be long in coming.
            await response.prepare(request)
            try:
                async for answer in call:
                    await response.write(message_frame(answer))
            except grpc.aio.AioRpcError as error:
                return await _trailers(response, error.code(), error.details(), error.trailing_metadata())
            return await _trailers(response, await call.code(), await call.details(), await call.trailing_metadata())
        except ConnectionError:
            # The browser has left.
            return response
        except asyncio.CancelledError:
            if not self._is_stopping:
                raise
            with suppress(ConnectionError):
                await _trailers(response, _Code.UNAVAILABLE, "openbank web: is stopping", ())
            return response
        finally:
            self._calls.discard(call)
            call.cancel()


async def _end(
    request: web.Request, response: web.StreamResponse, code: grpc.StatusCode, details: str
) -> web.StreamResponse:
    """A refusal of the bridge's own, which has no ErrorInfo of the bank."""
    await response.prepare(request)
    return await _trailers(response, code, f"openbank web: {details}", ())


async def _trailers(
    response: web.StreamResponse, code: grpc.StatusCode, details: str | None, metadata: Iterable[Any] | None
) -> web.StreamResponse:
    pairs = [(str(key), value) for key, value in metadata or ()]
    await response.write(trailers_frame(code.value[0], details or "", pairs))
    await response.write_eof()
    return response
