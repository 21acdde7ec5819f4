"""`openbank sinks`: an operator's questions about sinks, and commands for what they refuse."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator

from openbank.cli.asking import ANSWER_SECONDS, Action, print_answer, table, time_text
from openbank.cli.connection import Connection
from openbank.operations.v1 import sinks_service_pb2 as messages
from openbank.operations.v1.sink_pb2 import ParkedAggregate, Sink, SinkState
from openbank.operations.v1.sinks_service_pb2_grpc import SinksServiceStub

LAG_EVENTS_MAX = 1_000
"""The bank counts up to this many events."""


def ask(bank: Connection, flags: Namespace) -> int:
    """Runs what was typed and prints the answer. Returns the exit code. Raises CommandFailed."""
    actions: dict[str, Action] = {"list": _list, "show": _show, "retry": _retry, "skip": _skip, "park": _park}
    return print_answer(bank, SinksServiceStub, actions[flags.action], flags)


def _list(stub: SinksServiceStub, _: Namespace) -> Iterator[str]:
    sinks = stub.ListSinks(messages.ListSinksRequest(), timeout=ANSWER_SECONDS).sinks
    if not sinks:
        yield "no sinks: openbank serve --sink NAME=URL"
        return
    rows = [("NAME", "STATE", "BEHIND", "PARKED", "ADDRESS")]
    rows += [(sink.name, _state(sink), _behind(sink), str(sink.parked_count), sink.address) for sink in sinks]
    yield from table(rows)


def _show(stub: SinksServiceStub, flags: Namespace) -> Iterator[str]:
    response = stub.GetSink(messages.GetSinkRequest(sink=flags.sink_name), timeout=ANSWER_SECONDS)
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


def _retry(stub: SinksServiceStub, flags: Namespace) -> Iterator[str]:
    request = messages.RetryParkedRequest(sink=flags.sink_name, aggregate=flags.aggregate, all_aggregates=flags.all)
    count = stub.RetryParked(request, timeout=ANSWER_SECONDS).retrying_count
    yield f"{flags.sink_name} is sent the events of {flags.aggregate or f'{count} parked aggregates'} again"


def _skip(stub: SinksServiceStub, flags: Namespace) -> Iterator[str]:
    request = messages.SkipParkedRequest(
        sink=flags.sink_name, aggregate=flags.aggregate, all_events=flags.all, expected_revision=flags.revision
    )
    response = stub.SkipParked(request, timeout=ANSWER_SECONDS)
    sink, aggregate = flags.sink_name, flags.aggregate
    if flags.all:
        yield f"{sink} is left without what was recorded of {aggregate} until now, and is sent what comes"
    else:
        revision = response.parked_aggregate.revision
        yield f"{sink} is left without revision {revision - 1} of {aggregate}, and is sent the rest"


def _park(stub: SinksServiceStub, flags: Namespace) -> Iterator[str]:
    request = messages.ParkAggregateRequest(sink=flags.sink_name, aggregate=flags.aggregate)
    revision = stub.ParkAggregate(request, timeout=ANSWER_SECONDS).parked_aggregate.revision
    yield f"{flags.aggregate} is parked at {flags.sink_name} from revision {revision}"


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
