"""Many commands in one call: each by itself, or all of them or none."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from openbank.aggregates.deciding import Command, Steps
from openbank.aggregates.waiting import Written
from openbank.commands.holds import with_hold
from openbank.commands.on_account import (
    RULES,
    ManyAreDue,
    execute_some,
    expire_some,
    fingerprinted,
    with_expiry,
)
from openbank.commands.write_side import WriteSide
from openbank.domain.account import Account, apply
from openbank.domain.account_events import AccountEvent
from openbank.domain.amounts import in_decimals
from openbank.domain.errors import Refused
from openbank.domain.holds import CaptureHold, PlaceHold, ReleaseHold
from openbank.domain.money import MAX_EXPONENT, TooPrecise
from openbank.domain.movements import OpenAccount
from openbank.domain.person import RegisterPerson
from openbank.domain.request import Request, fingerprint

AT_ONCE = 32
"""Accounts of one batch that are worked on at the same time."""
SLICE = 32
"""Commands between two turns of the event loop."""

ItemOutcome = Written[Any] | Exception


class BatchItem(NamedTuple):
    """A command of an independent batch. `run` carries it out as a call of its own would."""

    command: Any
    request: Request
    run: Callable[[WriteSide, Any, Request], Awaitable[Written[Any]]]


class CommandRefused(Exception):
    """The command of an atomic batch at `index`, from 0, cannot be carried out, so none is."""

    def __init__(self, index: int, error: Refused) -> None:
        super().__init__(index, error)
        self.index = index
        self.error = error


@dataclass(frozen=True, slots=True)
class Batched:
    """A command, and the RPC that it is the request of: a deposit and a withdrawal have the same fields."""

    rpc: str
    command: Any


@dataclass(frozen=True, slots=True)
class AtomicBatch:
    account_id: str
    commands: tuple[Batched, ...]


class _Chain:
    """Commands of a batch that are carried out in their order, by their places in it: those of a unit together."""

    def __init__(self) -> None:
        self.units: list[list[int]] = []
        self.after: _Chain | None = None
        """What must be done before the first of them."""
        self.done = asyncio.Event()
        self._joins = False

    def add(self, index: int, *, joins: bool) -> None:
        if joins and self._joins:
            self.units[-1].append(index)
        else:
            self.units.append([index])
        self._joins = joins


async def execute_each(bank: WriteSide, items: Sequence[BatchItem | Exception]) -> Sequence[ItemOutcome]:
    """The outcome of each command, in order. An exception in the place of an item is its outcome.

    Commands on one account, or on the source of transfers, are carried out in order, and an opening after the
    registrations of its owner that come before it.
    """
    outcomes: list[ItemOutcome | None] = [item if isinstance(item, Exception) else None for item in items]
    rehearsal = object()
    chains = iter(_chains(items))

    async def work() -> None:
        for chain in chains:
            if chain.after and not chain.after.done.is_set():
                await chain.after.done.wait()
            for unit in chain.units:
                some = [item for index in unit if isinstance(item := items[index], BatchItem)]
                for index, outcome in zip(unit, await _unit(bank, some, rehearsal), strict=True):
                    outcomes[index] = outcome
            chain.done.set()

    async with asyncio.TaskGroup() as group:
        for _ in range(min(AT_ONCE, len(items))):
            group.create_task(work())
    return [outcome for outcome in outcomes if outcome is not None]


def _chains(items: Sequence[BatchItem | Exception]) -> Sequence[_Chain]:
    """Those that wait for another come after it."""
    chains: dict[object, _Chain] = {}
    for index, item in enumerate(items):
        if isinstance(item, Exception):
            continue
        key = _key(item.command) or index
        chain = chains.get(key) or chains.setdefault(key, _Chain())
        if isinstance(item.command, OpenAccount):
            chain.after = chains.get(("person", item.command.owner_id), chain.after)
        chain.add(index, joins=type(item.command) in RULES)
    return sorted(chains.values(), key=lambda chain: chain.after is not None)


def _key(command: Any) -> object:
    """What the command changes, as far as it names it."""
    if isinstance(command, RegisterPerson):
        person_id = command.person.person_id
        return ("person", person_id) if person_id else None
    account_id = getattr(command, "source_account_id", "") or getattr(command, "account_id", "")
    return ("account", account_id) if account_id else None


async def _unit(bank: WriteSide, items: Sequence[BatchItem], rehearsal: object) -> Sequence[ItemOutcome]:
    if type(items[0].command) in RULES:
        return await _on_one_account(bank, items, rehearsal)
    outcomes: list[ItemOutcome] = []
    for command, request, run in items:
        try:
            outcomes.append(await run(bank, command, request))
        except Exception as error:
            outcomes.append(error)
    return outcomes


async def _on_one_account(bank: WriteSide, items: Sequence[BatchItem], rehearsal: object) -> Sequence[ItemOutcome]:
    account_id = items[0].command.account_id
    late = _Late()
    commands = [_command(bank, item, rehearsal, late) for item in items]
    outcomes: list[ItemOutcome] = [ManyAreDue() for _ in items]
    while due := [index for index, outcome in enumerate(outcomes) if isinstance(outcome, ManyAreDue)]:
        late.found = False
        try:
            done = await bank.accounts.execute_all(account_id, [commands[index] for index in due])
            if any(isinstance(outcome, ManyAreDue) for outcome in done):
                await expire_some(bank, account_id, items[0].request.actor)
        except Exception as error:
            done = [error for _ in due]
        for index, outcome in zip(due, done, strict=True):
            outcomes[index] = outcome
    requests = [item.request for item in items]
    return await _with_holds(bank, account_id, [item.command for item in items], outcomes, requests)


class _Late:
    """Whether a command has found that more holds are due than one append takes: none of those after it looks again."""

    found = False


def _command(bank: WriteSide, item: BatchItem, rehearsal: object, late: _Late) -> Command[Account]:
    rule = RULES[type(item.command)]
    command = item.command

    def decide(account: Account | None, now: int) -> Sequence[AccountEvent]:
        return (rule.decide(account, command, now),)

    def deciding(account: Account | None) -> Sequence[Any]:
        if late.found:
            raise ManyAreDue
        try:
            return with_holds_ended(account)
        except ManyAreDue:
            late.found = True
            raise

    request = fingerprinted(item.request, rule.rpc, command)
    with_holds_ended = with_expiry(bank.clock, decide, request)
    return Command(deciding, request, rehearsal if request.validate_only else None)


async def _with_holds(
    bank: WriteSide, account_id: str, commands: Sequence[Any], outcomes: list[ItemOutcome], requests: Sequence[Request]
) -> Sequence[ItemOutcome]:
    """With the hold in the outcome of each command on one."""
    for index, (command, outcome) in enumerate(zip(commands, outcomes, strict=True)):
        if isinstance(command, PlaceHold | CaptureHold | ReleaseHold) and isinstance(outcome, Written):
            try:
                outcomes[index] = await with_hold(bank, account_id, outcome, requests[index])
            except Exception as error:
                outcomes[index] = error
    return outcomes


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
    held = await _with_holds(bank, batch.account_id, commands, list(outcomes), [request] * len(commands))
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
            commands = [replace(one, command=in_decimals(one.command, exponent)) for one in batch.commands]
            yield AtomicBatch(batch.account_id, tuple(commands))
