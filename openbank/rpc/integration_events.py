"""openbank.integration.v1.IntegrationEventsService."""

from __future__ import annotations

from collections.abc import Sequence

from openbank.domain.fields import Fields
from openbank.eventstore.streams import ACCOUNT, PERSON
from openbank.feeds.filter import Filter, Form
from openbank.integration.v1 import integration_events_service_pb2 as messages
from openbank.publishing.events import STORED_TYPES
from openbank.rpc.bank import Bank
from openbank.rpc.call import Call
from openbank.rpc.feeds import read_filter_ids, read_filter_values, read_heartbeat
from openbank.rpc.handlers import Write


class IntegrationEvents:
    def __init__(self, bank: Bank) -> None:
        self._watches = bank.watches

    async def WatchCloudEvents(self, request: messages.WatchCloudEventsRequest, call: Call, write: Write) -> None:
        fields = Fields()
        start = await self._watches.read_start(fields, request, call)
        filter = Filter(
            frozenset({PERSON, ACCOUNT}),
            persons=read_filter_ids(fields, "person_ids", request.person_ids),
            accounts=read_filter_ids(fields, "account_ids", request.account_ids),
            types=_read_types(fields, "event_types", request.event_types),
            form=Form.CLOUD_EVENT,
        )
        heartbeat_seconds = read_heartbeat(fields, request)
        fields.check()
        await self._watches.watch(
            call,
            start,
            filter,
            request.stop_when_caught_up,
            heartbeat_seconds,
            messages.WatchCloudEventsResponse,
            write,
        )


def _read_types(fields: Fields, path: str, types: Sequence[str]) -> frozenset[str]:
    """The stored names of the types that a filter lists; where it lists none, of all that are published."""
    for index, type in enumerate(read_filter_values(fields, path, types)):
        if type not in STORED_TYPES:
            known = ", ".join(STORED_TYPES)
            fields.refuse(f"{path}[{index}]", "UNKNOWN_EVENT_TYPE", f"must be one that this server knows: {known}")
    return frozenset(stored for type, stored in STORED_TYPES.items() if not types or type in types)
