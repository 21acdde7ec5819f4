"""What happens to persons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from openbank.aggregates import ids
from openbank.aggregates.waiting import Written
from openbank.commands.claims import check_claim, claim, load_claim
from openbank.commands.together import together
from openbank.commands.write_side import WriteSide
from openbank.domain import person
from openbank.domain.clock import day_of
from openbank.domain.internal import RequestClaimed
from openbank.domain.person import Person, PersonRegistered, RegisterPerson, UpdateAddress
from openbank.domain.request import Request, fingerprint


async def register_person(bank: WriteSide, command: RegisterPerson, request: Request) -> Written[Person]:
    """Registers a person, under an id made by the bank where the command gives none.

    Raises RequestIdReused, PersonAlreadyExists, InvalidFields.
    """
    request = request._replace(hash=fingerprint("RegisterPerson", command)) if request.id else request
    person_id = command.person.person_id or ids.aggregate_id(bank.id, "person", request)
    command = RegisterPerson(replace(command.person, person_id=person_id))
    today = day_of(bank.clock())

    def register(state: Person | None) -> Sequence[PersonRegistered]:
        return (person.register(state, command, today),)

    if request.id:
        claimed, known = await together(load_claim(bank, request), bank.persons.rehearse(person_id, register, request))
        claimable = await check_claim(bank, request, claimed())
        replay: Written[Person] | None = known()
        if replay:
            return replay
        request = claimable.request
        await claim(bank, claimable, RequestClaimed("RegisterPerson", request.hash, person_id))
    return await bank.persons.execute(person_id, register, request)


async def update_address(bank: WriteSide, command: UpdateAddress, request: Request) -> Written[Person]:
    """Raises RequestIdReused, PersonNotFound, RevisionMismatch."""
    request = request._replace(hash=fingerprint("UpdateAddress", command)) if request.id else request
    return await bank.persons.execute(
        command.person_id, lambda state: (person.update_address(state, command),), request
    )
