"""openbank.persons.v1.PersonsService."""

from __future__ import annotations

from typing import Any

from openbank.commands.persons import register_person, update_address
from openbank.domain.fields import Fields
from openbank.domain.person import Person
from openbank.domain.versioned import Versioned
from openbank.eventstore.streams import PERSON
from openbank.feeds.filter import Filter
from openbank.persons.v1 import persons_service_pb2 as messages
from openbank.queries.paging import in_slices
from openbank.queries.persons import get_person, list_persons, persons_listing
from openbank.rpc.bank import Bank
from openbank.rpc.call import Call
from openbank.rpc.convert.persons import EVENTS, fill_person, read_register_person, read_update_address
from openbank.rpc.convert.values import read_page, read_position
from openbank.rpc.feeds import event_form, read_filter_ids, read_filter_values, read_heartbeat
from openbank.rpc.handlers import Write
from openbank.rpc.mutations import Mutation


def _fill(response: Any, person: Versioned[Person]) -> None:
    fill_person(response.person, person)


MUTATIONS = (
    Mutation("RegisterPerson", read_register_person, register_person, _fill),
    Mutation("UpdateAddress", read_update_address, update_address, _fill),
)


class Persons:
    def __init__(self, bank: Bank) -> None:
        self._reader_for = bank.reader_for
        self._watches = bank.watches
        self._tokens = bank.tokens

    async def GetPerson(self, request: messages.GetPersonRequest, call: Call) -> messages.GetPersonResponse:
        fields, reader = Fields(), self._reader_for(call)
        person_id = fields.identifier("person_id", request.person_id)
        at = await read_position(fields, "consistency_token", request.consistency_token, self._tokens, call)
        fields.check()
        answer = await get_person(reader, person_id, at)
        response = messages.GetPersonResponse(consistency_token=self._tokens.encode(answer.place))
        fill_person(response.person, answer.value)
        return response

    async def ListPersons(self, request: messages.ListPersonsRequest, call: Call) -> messages.ListPersonsResponse:
        fields, reader = Fields(), self._reader_for(call)
        wanted = read_page(fields, request, persons_listing(reader))
        at = await read_position(fields, "consistency_token", request.consistency_token, self._tokens, call)
        fields.check()
        page = await list_persons(reader, wanted, at)
        response = messages.ListPersonsResponse(
            next_page_token=page.next_page_token, consistency_token=self._tokens.encode(page.place)
        )
        async for some in in_slices(reader, page.items):
            for person in some:
                fill_person(response.persons.add(), person)
        return response

    async def WatchPersonEvents(self, request: messages.WatchPersonEventsRequest, call: Call, write: Write) -> None:
        fields = Fields()
        start = await self._watches.read_start(fields, request, call)
        types = read_filter_values(fields, "event_types", request.event_types)
        filter = Filter(
            frozenset({PERSON}),
            persons=read_filter_ids(fields, "person_ids", request.person_ids),
            types=EVENTS.read_types(fields, "event_types", types),
            form=event_form(call),
        )
        heartbeat_seconds = read_heartbeat(fields, request)
        fields.check()
        await self._watches.watch(
            call,
            start,
            filter,
            request.stop_when_caught_up,
            heartbeat_seconds,
            messages.WatchPersonEventsResponse,
            write,
        )
