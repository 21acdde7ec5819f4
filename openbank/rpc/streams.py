"""Streams that are not the bank's own: health and reflection. They share a limit and end like all other calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import Any

from openbank.feeds.errors import ServerDraining
from openbank.rpc.call import Context
from openbank.rpc.calls import Calls
from openbank.rpc.errors import DETAILS_KEY, TooManyCalls, failure_of, to_status

Serve = Callable[[Any, Context], Any]


def limited(method: Serve, streams: Calls) -> Callable[[Any, Context], Awaitable[None]]:
    """`method` as one of `streams`. It may write its responses, or be a generator of them."""

    async def handle(request: Any, context: Context) -> None:
        refused: ServerDraining | TooManyCalls
        try:
            if streams.refusing:
                await streams.refuse()
            streams.enter(streams.queries)
            await _run(method(request, context), context)
            return
        except asyncio.CancelledError:
            if not streams.was_cut:
                raise
            refused = ServerDraining()
        except (ServerDraining, TooManyCalls) as error:
            refused = error.with_traceback(None)
        finally:
            streams.leave()
        abort = _abort(context, refused)
        # No frame of the exception that gRPC keeps may lead to the context: see `Call.abort`.
        del context, request
        await abort

    return handle


async def _run(responses: AsyncIterable[Any] | Awaitable[None], context: Context) -> None:
    if isinstance(responses, Awaitable):
        await responses
        return
    async for response in responses:
        await context.write(response)


async def _abort(context: Context, refused: ServerDraining | TooManyCalls) -> None:
    failure = failure_of(refused, None)
    assert failure is not None
    trailing = ((DETAILS_KEY, to_status(failure).SerializeToString()),)
    try:
        await context.abort(failure.code, failure.message, trailing)
    finally:
        del context
