"""Commands that wait for their answers, and giving these."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import time_ns
from typing import Any, Generic, NamedTuple, TypeVar

from openbank.aggregates.deciding import Command, Decided, Replay
from openbank.codec import events as codec
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import NO_STREAM, LogPosition, RecordedEvent
from openbank.tracing.span import Span

State = TypeVar("State")


class Written(NamedTuple, Generic[State]):
    """A command's outcome: the resource right after its last event, and that event's id and record time.

    `position` is the log up to there. `replayed` says that the events are those of an earlier call. A command that
    changes nothing has no event: its id is empty and the record time 0. Nor has a dry run: `unrecorded` are the events
    that it would have, and `position` is the log that it was decided on.
    """

    resource: Versioned[State]
    event_id: bytes
    record_time: int
    position: LogPosition
    replayed: bool
    unrecorded: Sequence[codec.DomainEvent] = ()


class Recorded(NamedTuple, Generic[State]):
    """An event as the log has it, what happened, and the resource right after it.

    `happened` is None for an event that is not the bank's, or that an operator has skipped.
    """

    event: RecordedEvent
    happened: codec.DomainEvent | None
    resource: Versioned[State]


class Waiting(NamedTuple, Generic[State]):
    """A command in the queue, and the answer that its caller waits for; done as well when the caller gave up."""

    command: Command[State]
    answer: asyncio.Future[Any]
    span: Span | None = None
    """The span of the caller's call, if that is traced."""
    new_at: int = NO_STREAM
    """The revision up to which the stream is known not to have the request."""


def still_there(batch: Sequence[Waiting[State]]) -> Sequence[Waiting[State]]:
    return [one for one in batch if not one.answer.done()]


def replays(
    batch: Sequence[Waiting[State]], decided: Sequence[Decided[State]]
) -> tuple[Sequence[Waiting[State]], Sequence[Decided[State]]]:
    chosen = [pair for pair in zip(batch, decided, strict=False) if isinstance(pair[1].outcome, Replay)]
    return [one for one, _ in chosen], [outcome for _, outcome in chosen]


def answer(batch: Sequence[Waiting[State]], decided: Sequence[Decided[State]], at: LogPosition | None = None) -> None:
    """Answers the first of `batch`, as many as were decided. `at` is where the events of these are."""
    for one, (outcome, events) in zip(batch, decided, strict=False):
        if one.answer.done():
            continue
        if isinstance(outcome, Exception):
            one.answer.set_exception(outcome)
        elif events and at and isinstance(outcome, Versioned):
            last = events[-1]
            one.answer.set_result(Written(outcome, last.id, last.metadata.record_time, at, replayed=False))
            if one.command.steps is not None:
                one.command.steps.recorded = events
        else:
            one.answer.set_result(outcome)


def refused(error: Exception) -> asyncio.Future[Any]:
    """The answer to a command that is not queued."""
    answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    answer.set_exception(error)
    return answer


@contextmanager
def given_up_together(answers: Sequence[asyncio.Future[Any]]) -> Iterator[None]:
    """A caller that gives up within the block gives up all of `answers`, which may grow meanwhile."""
    try:
        yield
    except asyncio.CancelledError:
        for one in answers:
            if not one.cancel() and not one.cancelled():
                # Seen, or asyncio would report it as lost.
                one.exception()
        raise


async def all_answered(answers: Sequence[asyncio.Future[Any]]) -> None:
    """Waits until each has its answer or its exception."""
    # The last is nearly always answered last.
    for one in reversed(answers):
        if not one.done():
            await asyncio.wait([one])


def trace_append(batch: Sequence[Waiting[State]], decided: Sequence[Decided[State]], began: int) -> None:
    """Records the append, which is over, in the spans of those whose events it had."""
    for one, outcome in zip(batch, decided, strict=False):
        if one.span is not None and outcome.events:
            one.span.child("append", began, time_ns())


def fail(batch: Sequence[Waiting[Any]], error: BaseException) -> None:
    for one in batch:
        if not one.answer.done():
            one.answer.set_exception(error)
