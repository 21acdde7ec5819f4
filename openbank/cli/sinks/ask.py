"""`openbank sinks`: what an operator asks of sinks, and wants done about what they refuse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import grpc

from openbank.cli.asking import ANSWER_SECONDS, asking, table, time_text
from openbank.operations.v1 import sinks_service_pb2 as messages
from openbank.operations.v1.sink_pb2 import ParkedAggregate, Sink, SinkState
from openbank.operations.v1.sinks_service_pb2_grpc import SinksServiceStub

LAG_EVENTS_MAX = 1_000
"""Events are counted no further by the bank."""

LIST = "list"
SHOW = "show"
RETRY = "retry"
SKIP = "skip"
PARK = "park"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be done, as it was typed."""

    target: str
    action: str
    sink: str = ""
    aggregate: str = ""
    all: bool = False
    revision: int | None = None


def ask(wanted: Wanted) -> Sequence[str]:
    """The lines to print. Raises CommandFailed."""
    actions = {LIST: _list, SHOW: _show, RETRY: _retry, SKIP: _skip, PARK: _park}
    with asking(wanted.target), grpc.insecure_channel(wanted.target) as channel:
        return list(actions[wanted.action](SinksServiceStub(channel), wanted))


def _list(stub: SinksServiceStub, _: Wanted) -> Iterator[str]:
    sinks = stub.ListSinks(messages.ListSinksRequest(), timeout=ANSWER_SECONDS).sinks
    if not sinks:
        yield "no sinks: openbank serve --sink NAME=URL"
        return
    rows = [("NAME", "STATE", "BEHIND", "PARKED", "ADDRESS")]
    rows += [(sink.name, _state(sink), _behind(sink), str(sink.parked_count), sink.address) for sink in sinks]
    yield from table(rows)


def _show(stub: SinksServiceStub, wanted: Wanted) -> Iterator[str]:
    response = stub.GetSink(messages.GetSinkRequest(sink=wanted.sink), timeout=ANSWER_SECONDS)
    sink = response.sink
    yield f"{sink.name} is {_state(sink)}"
    if sink.trouble:
        yield f"  because   {sink.trouble}, since {time_text(sink.trouble_time)}"
        if sink.trouble_aggregate:
            yield f"            at revision {sink.trouble_revision} of {sink.trouble_aggregate}"
    yield f"  address   {sink.address}"
    yield f"  behind    {_behind(sink)}"
    yield f"  position  {sink.position}"
    yield f"            reached {time_text(sink.position_time)}"
    yield f"  parked    {sink.parked_count}"
    for parked in response.parked_aggregates:
        yield f"            {_parked(parked)}"


def _retry(stub: SinksServiceStub, wanted: Wanted) -> Iterator[str]:
    request = messages.RetryParkedRequest(sink=wanted.sink, aggregate=wanted.aggregate, all_aggregates=wanted.all)
    count = stub.RetryParked(request, timeout=ANSWER_SECONDS).retrying_count
    yield f"{wanted.sink} is sent the events of {wanted.aggregate or f'{count} parked aggregates'} again"


def _skip(stub: SinksServiceStub, wanted: Wanted) -> Iterator[str]:
    request = messages.SkipParkedRequest(
        sink=wanted.sink, aggregate=wanted.aggregate, all_events=wanted.all, expected_revision=wanted.revision
    )
    response = stub.SkipParked(request, timeout=ANSWER_SECONDS)
    if wanted.all:
        yield f"{wanted.sink} is left without what was recorded of {wanted.aggregate} until now, and is sent what comes"
    else:
        revision = response.parked_aggregate.revision
        yield f"{wanted.sink} is left without revision {revision - 1} of {wanted.aggregate}, and is sent the rest"


def _park(stub: SinksServiceStub, wanted: Wanted) -> Iterator[str]:
    request = messages.ParkAggregateRequest(sink=wanted.sink, aggregate=wanted.aggregate)
    revision = stub.ParkAggregate(request, timeout=ANSWER_SECONDS).parked_aggregate.revision
    yield f"{wanted.aggregate} is parked at {wanted.sink} from revision {revision}"


def _state(sink: Sink) -> str:
    return SinkState.Name(sink.state).removeprefix("SINK_STATE_")


def _behind(sink: Sink) -> str:
    if not sink.lag_events:
        return "-"
    count = f"{LAG_EVENTS_MAX} or more" if sink.lag_events >= LAG_EVENTS_MAX else str(sink.lag_events)
    return f"{count} events, {sink.lag_duration.ToSeconds()} s"


def _parked(parked: ParkedAggregate) -> str:
    doing = "is sent again" if parked.retrying else f"{parked.reason}, {time_text(parked.park_time)}"
    return f"{parked.aggregate} from revision {parked.revision}: {doing}"
