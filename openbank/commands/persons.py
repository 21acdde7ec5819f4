"""What happens to persons."""

from __future__ import annotations

from dataclasses import replace

from openbank.commands.bank import Bank
from openbank.commands.claims import check_claim, claim
from openbank.domain import person
from openbank.domain.clock import day_of
from openbank.domain.internal import RequestClaimed
from openbank.domain.person import Person, RegisterPerson, UpdateAddress
from openbank.domain.request import Request, fingerprint
from openbank.eventstore import ids
from openbank.eventstore.aggregate import Written


async def register_person(bank: Bank, command: RegisterPerson, request: Request) -> Written[Person]:
    """Registers a person, under an id made by the bank where the command gives none.

    Raises RequestIdReused, PersonAlreadyExists, InvalidFields.
    """
    request = request._replace(hash=fingerprint("RegisterPerson", command)) if request.id else request
    person_id = command.person.person_id or ids.aggregate_id(bank.id, "person", request)
    command = RegisterPerson(replace(command.person, person_id=person_id))
    today = day_of(bank.clock())

    if request.id:
        request = (await check_claim(bank, request)).request
        # Looked for after the state was read: what the state already holds of this request is then found.
        current = await bank.persons.load(person_id)
        if replay := await bank.persons.find(person_id, request):
            return replay
        person.register(current.state if current else None, command, today)
        await claim(bank, request, RequestClaimed("RegisterPerson", request.hash, person_id))
    return await bank.persons.execute(person_id, lambda state: (person.register(state, command, today),), request)


async def update_address(bank: Bank, command: UpdateAddress, request: Request) -> Written[Person]:
    """Raises RequestIdReused, PersonNotFound, RevisionMismatch."""
    request = request._replace(hash=fingerprint("UpdateAddress", command)) if request.id else request
    return await bank.persons.execute(
        command.person_id, lambda state: (person.update_address(state, command),), request
    )
