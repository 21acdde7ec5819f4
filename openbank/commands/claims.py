"""Request ids of RegisterPerson and OpenAccount: they are the whole bank's, so they are claimed before anything else.

What such a request makes may have any id, so no aggregate's own stream could tell that its request id had been used
elsewhere. A claim is not a success: one whose request can never succeed any more (it was refused after it had claimed)
makes room for the next.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from openbank.aggregates.repository import Repository
from openbank.commands.numbers import took_its_number
from openbank.commands.write_side import WriteSide
from openbank.domain.account import Account
from openbank.domain.errors import RequestIdReused, RevisionMismatch
from openbank.domain.internal import RequestClaimed
from openbank.domain.person import Person
from openbank.domain.request import Request, RequestKey
from openbank.domain.versioned import Versioned


class Claimable(NamedTuple):
    """`revision` is where the request may claim its id; None when it has. `request` has the hash of its claim."""

    revision: int | None
    request: Request


async def load_claim(bank: WriteSide, request: Request) -> Versioned[RequestClaimed] | None:
    """The last claim of the request's id."""
    return await bank.requests.load(_key(request))


async def check_claim(bank: WriteSide, request: Request, current: Versioned[RequestClaimed] | None) -> Claimable:
    """Whether this request has claimed its id, or may. Raises InvalidFields, RequestIdReused."""
    if current is None:
        return Claimable(0, request)
    claimed = current.state.request_hash
    if request.repeats(claimed):
        return Claimable(None, request._replace(hash=claimed))
    if await _is_hopeless(bank, request, current.state):
        return Claimable(current.revision, request)
    request.check(None)
    raise RequestIdReused


async def claim(
    bank: WriteSide, claimable: Claimable, claimed: RequestClaimed, *, presume_new: bool = False
) -> Request:
    """Claims the request's id for it, durably; does nothing where that was done. The request with the hash of its
    claim. With `presume_new` the claim's stream is not read before. A dry run claims nothing. Raises RequestIdReused.
    """
    while not claimable.request.validate_only and claimable.revision is not None:
        request = claimable.request
        at = Request(correlation_id=request.correlation_id, expected_revision=claimable.revision, actor=request.actor)
        if presume_new:
            bank.requests.presume_new(_key(request))
        try:
            await bank.requests.execute(_key(request), lambda _: (claimed,), at)
            return request
        except RevisionMismatch:
            claimable = await check_claim(bank, request, await load_claim(bank, request))
    return claimable.request


async def _is_hopeless(bank: WriteSide, request: Request, earlier: RequestClaimed) -> bool:
    """Whether the request of an earlier claim can never succeed: what it wants to make, or its number, is another's."""
    theirs = Request(request.id, hash=earlier.request_hash)
    made = _made_by(bank, earlier.rpc)
    if made is None:
        return False
    if await made.load(earlier.aggregate_id) is not None:
        try:
            return await made.find(earlier.aggregate_id, theirs) is None
        except RequestIdReused:
            # What it wanted to make is another's, and that other's own requests are free to have this id.
            return True
    if not earlier.account_number:
        return False
    current = await bank.numbers.load(earlier.account_number)
    if current is None or RequestKey.of(current.state.request_id, current.state.request_hash) == theirs.key:
        return False
    return await took_its_number(bank, current.state, validate_only=request.validate_only)


def _made_by(bank: WriteSide, rpc: str) -> Repository[Person] | Repository[Account] | None:
    """The aggregates of which an RPC makes one; None for an RPC of a newer version."""
    match rpc:
        case "RegisterPerson":
            return bank.persons
        case "OpenAccount":
            return bank.accounts
        case _:
            return None


def _key(request: Request) -> str:
    return str(UUID(bytes=request.id))
