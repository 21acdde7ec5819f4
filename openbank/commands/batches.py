"""Many commands in one call: each by itself, or all of them or none."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from openbank.aggregates.deciding import Steps
from openbank.aggregates.waiting import Written
from openbank.commands.on_account import (
    RULES,
    execute_some,
)
from openbank.commands.on_each_account import BatchItem, ItemOutcome, execute_on_each, with_holds
from openbank.commands.write_side import WriteSide
from openbank.domain.account import Account, apply
from openbank.domain.account_events import AccountEvent
from openbank.domain.amounts import in_decimals
from openbank.domain.errors import Refused
from openbank.domain.money import MAX_EXPONENT, TooPrecise
from openbank.domain.movements import OpenAccount
from openbank.domain.person import RegisterPerson
from openbank.domain.request import Request, fingerprint

AT_ONCE = 32
"""Accounts of one batch that are worked on at the same time."""
SLICE = 32
"""Commands between two turns of the event loop."""


class CommandRefused(Exception):
    """The command of an atomic batch at `index`, from 0, cannot be carried out, so none is."""

    def __init__(self, index: int, error: Refused) -> None:
        super().__init__(index, error)
        self.index = index
        self.error = error


class Batched(NamedTuple):
    """A command, and the RPC that it is the request of: a deposit and a withdrawal have the same fields."""

    rpc: str
    command: Any


@dataclass(frozen=True, slots=True)
class AtomicBatch:
    account_id: str
    commands: tuple[Batched, ...]


class _Chain:
    """Commands of a batch that are carried out in their order, by their places in it: those of a unit together."""

    __slots__ = ("_joins", "after", "done", "units")

    def __init__(self) -> None:
        self.units: list[list[int]] = []
        self.after: _Chain | None = None
        """What must be done before the first of them."""
        self.done: asyncio.Event | None = None
        """Set when all are done, where another chain waits for that."""
        self._joins = False

    @property
    def is_plain(self) -> bool:
        """Whether all of them are carried out together, and nothing comes before."""
        return self._joins and len(self.units) == 1 and not self.after

    def add(self, index: int, *, joins: bool) -> None:
        if joins and self._joins:
            self.units[-1].append(index)
        else:
            self.units.append([index])
        self._joins = joins

    def wait_for(self, other: _Chain) -> None:
        other.done = other.done or asyncio.Event()
        self.after = other


async def execute_each(bank: WriteSide, items: Sequence[BatchItem | Exception]) -> Sequence[ItemOutcome]:
    """The outcome of each command, in order. An exception in the place of an item is its outcome.

    Commands on one account, or on the source of transfers, are carried out in order, and an opening after the
    registrations of its owner that come before it.
    """
    outcomes: list[ItemOutcome | None] = [item if isinstance(item, Exception) else None for item in items]
    rehearsal = object()
    chains = _chains(items)
    plain = [chain.units[0] for chain in chains if chain.is_plain]
    others = iter([chain for chain in chains if not chain.is_plain])

    def some(unit: Sequence[int]) -> Sequence[BatchItem]:
        return [item for index in unit if isinstance(item := items[index], BatchItem)]

    def note(unit: Sequence[int], done: Sequence[ItemOutcome]) -> None:
        for index, outcome in zip(unit, done, strict=True):
            outcomes[index] = outcome

    async def work_on_plain() -> None:
        for unit, done in zip(plain, await execute_on_each(bank, list(map(some, plain)), rehearsal), strict=True):
            note(unit, done)

    async def work() -> None:
        for chain in others:
            if chain.after and chain.after.done:
                await chain.after.done.wait()
            for unit in chain.units:
                note(unit, await _unit(bank, some(unit), rehearsal))
            if chain.done:
                chain.done.set()

    async with asyncio.TaskGroup() as group:
        if plain:
            group.create_task(work_on_plain())
        for _ in range(min(AT_ONCE, len(chains) - len(plain))):
            group.create_task(work())
    return [outcome for outcome in outcomes if outcome is not None]


def _chains(items: Sequence[BatchItem | Exception]) -> Sequence[_Chain]:
    """Those that wait for another come after it."""
    chains: dict[object, _Chain] = {}
    for index, item in enumerate(items):
        if isinstance(item, Exception):
            continue
        joins = type(item.command) in RULES
        key = (item.command.account_id if joins else _key(item.command)) or index
        chain = chains.get(key)
        if chain is None:
            chain = chains[key] = _Chain()
        if isinstance(item.command, OpenAccount) and (owner := chains.get(("person", item.command.owner_id))):
            chain.wait_for(owner)
        chain.add(index, joins=joins)
    return sorted(chains.values(), key=lambda chain: chain.after is not None)


def _key(command: Any) -> object:
    """What the command changes, as far as it names it: the id of an account, or that a person has this id."""
    if isinstance(command, RegisterPerson):
        person_id = command.person.person_id
        return ("person", person_id) if person_id else None
    return getattr(command, "source_account_id", "") or getattr(command, "account_id", "")


async def _unit(bank: WriteSide, items: Sequence[BatchItem], rehearsal: object) -> Sequence[ItemOutcome]:
    if type(items[0].command) in RULES:
        (outcomes,) = await execute_on_each(bank, [items], rehearsal)
        return outcomes
    made: list[ItemOutcome] = []
    for command, request, run in items:
        try:
            made.append(await run(bank, command, request))
        except Exception as error:
            made.append(error)
    return made


async def execute_atomic(bank: WriteSide, batch: AtomicBatch, request: Request) -> Sequence[Written[Any]]:
    """The outcomes of commands on one account that are recorded together, or not at all.

    Each is decided on what the one before it leaves. Raises CommandRefused for the first that is refused,
    RequestIdReused, RevisionMismatch, InvalidFields for the request's violations, EventsTooLarge.
    """
    if request.id:
        request = request._replace(
            hash=fingerprint("ExecuteBatch", batch),
            other_hashes=lambda: (fingerprint("ExecuteBatch", other) for other in _in_other_decimals(batch)),
        )
    rules = [(RULES[type(one.command)], one.command) for one in batch.commands]

    def decide(account: Account | None, now: int) -> Sequence[AccountEvent]:
        made: list[AccountEvent] = []
        for index, (rule, command) in enumerate(rules):
            try:
                event = rule.decide(account, command, now)
            except Refused as error:
                raise CommandRefused(index, error) from error
            account = apply(account, event)
            made.append(event)
        return made

    steps: Steps[Account] = Steps()
    whole = await execute_some(bank, batch.account_id, decide, request, steps)
    if whole.replayed:
        count = len(batch.commands)
        outcomes = await bank.accounts.replayed(batch.account_id, whole.resource.revision, count)
    else:
        outcomes = list(_outcomes(whole, steps, len(batch.commands)))
    commands = [one.command for one in batch.commands]
    # The events are durable: what fails now makes the whole batch fail, to be sent again.
    held = await with_holds(bank, batch.account_id, commands, list(outcomes), [request] * len(commands))
    for outcome in held:
        if isinstance(outcome, Exception):
            raise outcome
    return [outcome for outcome in held if isinstance(outcome, Written)]


def _outcomes(whole: Written[Account], steps: Steps[Account], count: int) -> Iterator[Written[Account]]:
    """What the last `count` events have made of the account, each after the other: one for each command."""
    total = len(steps.resources)
    for place in range(total - count, total):
        resource, event = steps.resources[place], steps.recorded[place] if steps.recorded else None
        assert resource is not None
        id, time = (event.id, event.metadata.record_time) if event else (b"", 0)
        so_far = whole.unrecorded[: place + 1]
        yield Written(resource, id, time, whole.position, replayed=False, unrecorded=so_far)


def _in_other_decimals(batch: AtomicBatch) -> Iterator[AtomicBatch]:
    """The same batch with its amounts in every number of decimals that holds all of them."""
    for exponent in range(MAX_EXPONENT + 1):
        with suppress(TooPrecise):
            commands = [one._replace(command=in_decimals(one.command, exponent)) for one in batch.commands]
            yield AtomicBatch(batch.account_id, tuple(commands))
