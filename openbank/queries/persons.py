"""Questions about persons. `at` is a position that the answer must have seen, None where any recent one will do."""

from __future__ import annotations

from openbank.domain.errors import PersonNotFound
from openbank.domain.person import Person
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import LogPosition
from openbank.eventstore.streams import person_stream
from openbank.queries.paging import Listing, ListPage, PageRequest, read_page
from openbank.queries.reader import Answer, Reader, answer


async def get_person(reader: Reader, person_id: str, at: LogPosition | None = None) -> Answer[Versioned[Person]]:
    """Raises PersonNotFound, AggregateQuarantined, ViewBehind, PositionOutOfRange."""
    person, place = await answer(reader, at, lambda: reader.views.person(person_id))
    reader.check_aggregate(person_stream(person_id))
    if person is None:
        raise PersonNotFound(person_id)
    return Answer(person, place)


def persons_listing(reader: Reader) -> Listing:
    return Listing("persons", "", reader.views.log, reader.seal)


async def list_persons(reader: Reader, page: PageRequest, at: LogPosition | None = None) -> ListPage[Versioned[Person]]:
    """In the order of registration. `page` belongs to `persons_listing`. Raises ViewBehind."""
    views = reader.views
    rows, token, place = await read_page(reader, page, at, 0, views.persons, lambda row: row.position)
    return ListPage([row.resource for row in rows], token, place)
