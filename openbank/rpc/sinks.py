"""openbank.operations.v1.SinksService."""

from __future__ import annotations

from openbank.domain.fields import Fields
from openbank.operations.v1 import sink_pb2
from openbank.operations.v1 import sinks_service_pb2 as messages
from openbank.rpc.bank import Bank
from openbank.rpc.call import Call
from openbank.rpc.convert.values import read_aggregate, read_expected_revision
from openbank.sinks.address import NAME_LENGTH_MAX
from openbank.sinks.desk import Sink
from openbank.sinks.port import Parked


class Sinks:
    def __init__(self, bank: Bank) -> None:
        self._desk = bank.sinks
        self._tokens = bank.tokens

    async def ListSinks(self, _: messages.ListSinksRequest, __: Call) -> messages.ListSinksResponse:
        response = messages.ListSinksResponse()
        for sink in await self._desk.sinks():
            self._fill_sink(response.sinks.add(), sink)
        return response

    async def GetSink(self, request: messages.GetSinkRequest, _: Call) -> messages.GetSinkResponse:
        fields = Fields()
        name = _read_sink(fields, request.sink)
        fields.check()
        sink = await self._desk.sink(name)
        response = messages.GetSinkResponse()
        self._fill_sink(response.sink, sink)
        for aggregate, parked in sorted(sink.record.parked.items(), key=lambda item: item[1].time):
            _fill_parked(response.parked_aggregates.add(), aggregate, parked)
        return response

    async def RetryParked(self, request: messages.RetryParkedRequest, _: Call) -> messages.RetryParkedResponse:
        fields = Fields()
        name = _read_sink(fields, request.sink)
        aggregate = "" if request.all_aggregates else read_aggregate(fields, request)
        fields.check()
        if request.all_aggregates:
            return messages.RetryParkedResponse(retrying_count=await self._desk.retry_all(name))
        await self._desk.retry(name, aggregate)
        return messages.RetryParkedResponse(retrying_count=1)

    async def SkipParked(self, request: messages.SkipParkedRequest, _: Call) -> messages.SkipParkedResponse:
        fields = Fields()
        name = _read_sink(fields, request.sink)
        aggregate = read_aggregate(fields, request)
        expected_revision = read_expected_revision(fields, request)
        fields.check()
        response = messages.SkipParkedResponse()
        if request.all_events:
            await self._desk.skip_all(name, aggregate, expected_revision)
        else:
            parked = await self._desk.skip(name, aggregate, expected_revision)
            _fill_parked(response.parked_aggregate, aggregate, parked)
        return response

    async def ParkAggregate(self, request: messages.ParkAggregateRequest, _: Call) -> messages.ParkAggregateResponse:
        fields = Fields()
        name = _read_sink(fields, request.sink)
        aggregate = read_aggregate(fields, request)
        fields.check()
        response = messages.ParkAggregateResponse()
        _fill_parked(response.parked_aggregate, aggregate, await self._desk.park(name, aggregate))
        return response

    def _fill_sink(self, message: sink_pb2.Sink, sink: Sink) -> None:
        record = sink.record
        message.name = sink.address.name
        message.address = sink.address.shown
        message.state = sink_pb2.SinkState.Value(f"SINK_STATE_{sink.state.value}")
        message.position = self._tokens.encode(record.place)
        message.position_time.FromMicroseconds(record.position_time)
        message.lag_events = sink.lag_events
        message.lag_duration.FromMicroseconds(sink.lag_microseconds)
        message.parked_count = len(record.parked)
        if record.trouble is not None:
            message.trouble = record.trouble.reason
            message.trouble_time.FromMicroseconds(record.trouble.since)
            message.trouble_aggregate = record.trouble.aggregate
            message.trouble_revision = record.trouble.revision


def _fill_parked(message: sink_pb2.ParkedAggregate, aggregate: str, parked: Parked) -> None:
    message.aggregate = aggregate
    message.revision = parked.revision
    message.reason = parked.reason
    message.park_time.FromMicroseconds(parked.time)
    message.retrying = parked.retrying


def _read_sink(fields: Fields, name: str) -> str:
    return fields.text("sink", name, NAME_LENGTH_MAX, required=True)
