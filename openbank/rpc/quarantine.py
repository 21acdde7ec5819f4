"""openbank.operations.v1.QuarantineService."""

from __future__ import annotations

from openbank.domain.fields import Fields
from openbank.eventstore.quarantine import AggregateNotQuarantined, Quarantine
from openbank.eventstore.quarantine_record import SetAside
from openbank.operations.v1 import quarantine_pb2
from openbank.operations.v1 import quarantine_service_pb2 as messages
from openbank.rpc.convert.values import fill_time

SERVICE = messages.DESCRIPTOR.services_by_name["QuarantineService"]
NAME_LENGTH_MAX = 200


class QuarantineDesk:
    def __init__(self, quarantine: Quarantine) -> None:
        self._quarantine = quarantine

    async def ListQuarantined(self, _: messages.ListQuarantinedRequest, __: str) -> messages.ListQuarantinedResponse:
        await self._quarantine.load()
        response = messages.ListQuarantinedResponse()
        for aggregate, aside in sorted(self._quarantine.aside.items()):
            self._fill(response.aggregates.add(), aggregate, aside)
        return response

    async def GetQuarantined(self, request: messages.GetQuarantinedRequest, _: str) -> messages.GetQuarantinedResponse:
        fields = Fields()
        aggregate = _read_aggregate(fields, request.aggregate)
        fields.check()
        await self._quarantine.load()
        aside = self._quarantine.of(aggregate)
        if aside is None:
            raise AggregateNotQuarantined(aggregate)
        response = messages.GetQuarantinedResponse()
        self._fill(response.aggregate, aggregate, aside)
        return response

    async def RetryQuarantined(
        self, request: messages.RetryQuarantinedRequest, _: str
    ) -> messages.RetryQuarantinedResponse:
        fields = Fields()
        aggregate = "" if request.all_aggregates else _read_aggregate(fields, request.aggregate)
        fields.check()
        if request.all_aggregates:
            return messages.RetryQuarantinedResponse(retrying_count=await self._quarantine.retry_all())
        await self._quarantine.retry(aggregate)
        return messages.RetryQuarantinedResponse(retrying_count=1)

    async def SkipQuarantined(
        self, request: messages.SkipQuarantinedRequest, _: str
    ) -> messages.SkipQuarantinedResponse:
        fields = Fields()
        aggregate = _read_aggregate(fields, request.aggregate)
        expected_revision = request.expected_revision if request.HasField("expected_revision") else None
        if expected_revision is not None and expected_revision < 1:
            fields.refuse("expected_revision", "INVALID_EXPECTED_REVISION", "must be 1 or more")
        fields.check()
        aside = await self._quarantine.skip(aggregate, expected_revision)
        response = messages.SkipQuarantinedResponse()
        self._fill(response.aggregate, aggregate, aside)
        return response

    def _fill(self, message: quarantine_pb2.QuarantinedAggregate, aggregate: str, aside: SetAside) -> None:
        message.aggregate = aggregate
        message.revision = aside.revision
        message.position = aside.position
        message.reason = aside.reason
        fill_time(message.quarantine_time, aside.time)
        message.retrying = aside.retrying
        message.skipped_revisions.extend(sorted(self._quarantine.skipped(aggregate)))


def _read_aggregate(fields: Fields, aggregate: str) -> str:
    return fields.text("aggregate", aggregate, NAME_LENGTH_MAX, required=True)
