"""`openbank sinks`: an operator's questions about sinks, and commands for what they refuse."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Any

from openbank.cli.bank import RemoteBank
from openbank.cli.output.printout import Printout, in_words
from openbank.cli.output.words import table, time_text
from openbank.operations.v1 import sinks_service_pb2 as messages
from openbank.operations.v1.sink_pb2 import ParkedAggregate, Sink, SinkState
from openbank.operations.v1.sinks_service_pb2_grpc import SinksServiceStub

LAG_EVENTS_MAX = 1_000
"""The bank counts up to this many events."""


def _list(bank: RemoteBank, _: Namespace) -> Printout:
    response = bank.ask(_stub(bank).ListSinks, messages.ListSinksRequest())
    return in_words(response, _overview(response.sinks), "sinks")


def _overview(sinks: Sequence[Sink]) -> Iterator[str]:
    if not sinks:
        yield "no sinks: openbank serve --sink NAME=URL"
        return
    rows = [("NAME", "STATE", "BEHIND", "PARKED", "ADDRESS")]
    rows += [(sink.name, _state(sink), _behind(sink), str(sink.parked_count), sink.address) for sink in sinks]
    yield from table(rows)


def _show(bank: RemoteBank, flags: Namespace) -> Printout:
    response = bank.ask(_stub(bank).GetSink, messages.GetSinkRequest(sink=flags.sink_name))
    return in_words(response, _details(response), "sink")


def _details(response: messages.GetSinkResponse) -> Iterator[str]:
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


def _retry(bank: RemoteBank, flags: Namespace) -> Printout:
    request = messages.RetryParkedRequest(sink=flags.sink_name, aggregate=flags.aggregate, all_aggregates=flags.all)
    response = bank.ask(_stub(bank).RetryParked, request)
    whose = flags.aggregate or f"{response.retrying_count} parked aggregates"
    return in_words(response, [f"{flags.sink_name} is sent the events of {whose} again"])


def _skip(bank: RemoteBank, flags: Namespace) -> Printout:
    request = messages.SkipParkedRequest(
        sink=flags.sink_name, aggregate=flags.aggregate, all_events=flags.all, expected_revision=flags.revision
    )
    response = bank.ask(_stub(bank).SkipParked, request)
    sink, aggregate = flags.sink_name, flags.aggregate
    said = f"{sink} is left without what was recorded of {aggregate} until now, and is sent what comes"
    if not flags.all:
        revision = response.parked_aggregate.revision
        said = f"{sink} is left without revision {revision - 1} of {aggregate}, and is sent the rest"
    return in_words(response, [said])


def _park(bank: RemoteBank, flags: Namespace) -> Printout:
    request = messages.ParkAggregateRequest(sink=flags.sink_name, aggregate=flags.aggregate)
    response = bank.ask(_stub(bank).ParkAggregate, request)
    revision = response.parked_aggregate.revision
    return in_words(response, [f"{flags.aggregate} is parked at {flags.sink_name} from revision {revision}"])


def _stub(bank: RemoteBank) -> Any:
    return SinksServiceStub(bank.channel)


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


ACTIONS = {"list": _list, "show": _show, "retry": _retry, "skip": _skip, "park": _park}
