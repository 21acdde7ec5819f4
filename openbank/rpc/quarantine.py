"""openbank.operations.v1.QuarantineService."""

from __future__ import annotations

from openbank.domain.fields import Fields
from openbank.eventstore.quarantine_record import SetAside
from openbank.integrity.quarantine import AggregateNotQuarantined
from openbank.operations.v1 import quarantine_pb2
from openbank.operations.v1 import quarantine_service_pb2 as messages
from openbank.rpc.bank import Bank
from openbank.rpc.call import Call
from openbank.rpc.convert.values import fill_time, read_aggregate, read_expected_revision


class QuarantineDesk:
    def __init__(self, bank: Bank) -> None:
        self._quarantine = bank.quarantine

    async def ListQuarantined(self, _: messages.ListQuarantinedRequest, __: Call) -> messages.ListQuarantinedResponse:
        await self._quarantine.load()
        response = messages.ListQuarantinedResponse()
        for aggregate, aside in sorted(self._quarantine.aside.items()):
            self._fill(response.aggregates.add(), aggregate, aside)
        return response

    async def GetQuarantined(self, request: messages.GetQuarantinedRequest, _: Call) -> messages.GetQuarantinedResponse:
        fields = Fields()
        aggregate = read_aggregate(fields, request)
        fields.check()
        await self._quarantine.load()
        aside = self._quarantine.of(aggregate)
        if aside is None:
            raise AggregateNotQuarantined(aggregate)
        response = messages.GetQuarantinedResponse()
        self._fill(response.aggregate, aggregate, aside)
        return response

    async def RetryQuarantined(
        self, request: messages.RetryQuarantinedRequest, _: Call
    ) -> messages.RetryQuarantinedResponse:
        fields = Fields()
        aggregate = "" if request.all_aggregates else read_aggregate(fields, request)
        fields.check()
        if request.all_aggregates:
            return messages.RetryQuarantinedResponse(retrying_count=await self._quarantine.retry_all())
        await self._quarantine.retry(aggregate)
        return messages.RetryQuarantinedResponse(retrying_count=1)

    async def SkipQuarantined(
        self, request: messages.SkipQuarantinedRequest, _: Call
    ) -> messages.SkipQuarantinedResponse:
        fields = Fields()
        aggregate = read_aggregate(fields, request)
        expected_revision = read_expected_revision(fields, request)
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
