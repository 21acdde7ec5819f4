"""The read side: how fresh an answer is, and when NOT_FOUND is certain."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import ceil
from typing import Generic, NamedTuple, TypeVar

from openbank.domain.errors import Refused
from openbank.eventstore.errors import PositionOutOfRange, StoreUnavailable
from openbank.eventstore.port import LogPosition
from openbank.eventstore.seal import NO_SEAL, Seal
from openbank.views.port import Views, ViewsLacking

LOOK_SECONDS = 0.5
"""How often a read that waits asks again how long it will take."""
RETRY_SECONDS_MAX = 86_400
LACKING_SECONDS = 5.0
"""When to ask again for what the views lack, where nothing is known of a rebuild's end."""
SOON_SECONDS = 0.2
"""Current views reach what was just written sooner than this. Only a read that waits longer asks where the log ends. By
then a store shows to all what it acknowledged to one."""

Value = TypeVar("Value")


class ViewBehind(Refused):
    """The views have not reached what the answer needs. They may soon, or in `seconds`."""

    reason = "VIEW_BEHIND"

    def __init__(self, seconds: float | None = None) -> None:
        if seconds is None:
            super().__init__("the views have not come as far as this answer needs; ask again")
        else:
            whole = str(min(ceil(seconds), RETRY_SECONDS_MAX))
            super().__init__(
                f"the views are catching up with the log: ask again in about {whole} s", retrySeconds=whole
            )


class Answer(NamedTuple, Generic[Value]):
    """`value` holds all of the log up to `place`, and may hold more."""

    value: Value
    place: LogPosition


async def _at_once() -> None: ...


def _unknown(_: int) -> None: ...


class Reader(NamedTuple):
    views: Views
    head: Callable[[], Awaitable[LogPosition]]
    """The end of the log, asked of the store at that moment."""
    wait_seconds: float
    """How long one question may wait for the views, all its waits together; a caller that leaves ends it sooner."""
    check_aggregate: Callable[[str], None] = lambda _: None
    """Checks an aggregate, by the name of its stream. Raises the refusal of its reads: it may be quarantined."""
    about_to_wait: Callable[[], None] = lambda: None
    """Called before a question waits. What it raises is the answer."""
    turn: Callable[[], Awaitable[None]] = _at_once
    """Awaited before each slice of a long list, and after a wait that many calls may share, so that other calls have
    their turn.
    """
    before_refusal: Callable[[], Awaitable[None]] = _at_once
    """Awaited before a question is refused because the views are behind. Callers ask again all at once, and refusals,
    one for each call as it arrives, would hold up the calls behind them.
    """
    seconds_to: Callable[[int], float | None] = _unknown
    """How many seconds views that are catching up need to reach a position, if known."""
    is_in_log: Callable[[LogPosition], bool] = lambda _: False
    """Whether the log is known to reach this position, without asking the store."""
    waited: Callable[[float], None] = lambda _: None
    """Called with the seconds from the beginning of a wait for the views."""
    seal: Seal = NO_SEAL
    """Seals page tokens."""
    seconds_to_complete: Callable[[], float | None] = lambda: None
    """How many seconds a rebuild needs to add what views of an earlier format lack, if known."""


async def answer(reader: Reader, at: LogPosition | None, read: Callable[[], Awaitable[Value]]) -> Answer[Value]:
    """What `read` finds in views that have reached `at`, which is as much of the log as the caller knows of.

    A miss (None, or an empty list) counts only in views that have reached the head of the log as of the question. So a
    caller that can know of something never gets NOT_FOUND for it. The head is read after the miss. That is later, so it
    serves as well, and only a miss pays for it.

    Raises ViewBehind, PositionOutOfRange.
    """
    deadline = None
    if at is not None and reader.views.place.position < at.position:
        deadline = asyncio.get_running_loop().time() + reader.wait_seconds
        if not reader.is_in_log(at):
            await _check_range(reader, at, deadline)
        await _reach(reader, at, deadline)
    found = await _seen(reader, read)
    if found.value:
        return found
    head = await reader.head()
    if head.position <= found.place.position:
        return found
    await _reach(reader, head, deadline or asyncio.get_running_loop().time() + reader.wait_seconds)
    return await _seen(reader, read)


async def _check_range(reader: Reader, at: LogPosition, deadline: float) -> None:
    """Raises PositionOutOfRange for a position that the views do not reach soon and that is beyond the log's end."""
    try:
        await _wait(reader, at, min(deadline, asyncio.get_running_loop().time() + SOON_SECONDS))
    except TimeoutError:
        # While the store is away other instances may still update the views.
        with suppress(StoreUnavailable):
            if at.position > (await reader.head()).position:
                raise PositionOutOfRange from None


async def _reach(reader: Reader, at: LogPosition, deadline: float) -> None:
    """Waits for the views. Raises ViewBehind."""
    if reader.views.place.position >= at.position:
        return
    try:
        await _wait_for(reader, at, deadline)
    finally:
        reader.waited(asyncio.get_running_loop().time() - (deadline - reader.wait_seconds))


async def _seen(reader: Reader, read: Callable[[], Awaitable[Value]]) -> Answer[Value]:
    # Taken before the read, which sees at least this much. After it, the views may be further than what was read.
    place = reader.views.place
    try:
        return Answer(await read(), place)
    except ViewsLacking:
        seconds = reader.seconds_to_complete()
        raise ViewBehind(LACKING_SECONDS if seconds is None else seconds) from None


async def _wait_for(reader: Reader, at: LogPosition, deadline: float) -> None:
    """Raises ViewBehind if the views do not reach the position by then."""
    while reader.views.place.position < at.position:
        now = asyncio.get_running_loop().time()
        seconds = reader.seconds_to(at.position)
        if now >= deadline or (seconds is not None and now + seconds > deadline):
            await reader.before_refusal()
            raise ViewBehind(seconds)
        with suppress(TimeoutError):
            await _wait(reader, at, min(deadline, now + LOOK_SECONDS))


async def _wait(reader: Reader, at: LogPosition, deadline: float) -> None:
    """Raises TimeoutError if the views do not reach the position by then."""
    reader.about_to_wait()
    try:
        async with asyncio.timeout_at(deadline):
            await reader.views.wait_for(at.position)
    except TimeoutError:
        await reader.turn()
        raise
    await reader.turn()
