"""Commands of a batch that touch nothing but one account each: all accounts at the same time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import takewhile
from typing import Any, NamedTuple

from openbank.aggregates.deciding import Command
from openbank.aggregates.waiting import Written
from openbank.commands.holds import with_hold
from openbank.commands.on_account import RULES, ManyAreDue, expire_some, fingerprinted, with_expiry
from openbank.commands.write_side import WriteSide
from openbank.domain.account import Account
from openbank.domain.holds import CaptureHold, PlaceHold, ReleaseHold
from openbank.domain.request import Request

ItemOutcome = Written[Any] | Exception


class BatchItem(NamedTuple):
    """A command of an independent batch. `run` carries it out as a call of its own would."""

    command: Any
    request: Request
    run: Callable[[WriteSide, Any, Request], Awaitable[Written[Any]]]


async def execute_on_each(
    bank: WriteSide, groups: Sequence[Sequence[BatchItem]], rehearsal: object
) -> Sequence[Sequence[ItemOutcome]]:
    """The outcomes of each group: commands that have a rule, all on one account. They are decided in their order.

    Dry runs of one `rehearsal` are tried each on what the one before it would leave.
    """
    works = [_OnAccount(group) for group in groups]
    while rest := [work for work in works if not work.is_done]:
        # Each is made when it is its turn: 500 fingerprints at once would hold up other calls.
        commands = ((work.account_id, work.commands(bank, rehearsal)) for work in rest)
        for work, outcomes in zip(rest, await bank.accounts.execute_each(commands), strict=True):
            work.take(outcomes)
            if not work.is_done:
                await work.expire_some(bank)
    return [await work.with_holds(bank) for work in works]


class _OnAccount:
    """The commands on one account, and what became of them so far."""

    __slots__ = ("_is_late", "_items", "_outcomes", "account_id")

    def __init__(self, items: Sequence[BatchItem]) -> None:
        self.account_id: str = items[0].command.account_id
        self._items = items
        self._outcomes: list[ItemOutcome] = []
        """Those of the first commands. The rest is to be decided."""
        self._is_late = False
        """Whether a command has found that more holds are due than one append takes: none after it looks again."""

    @property
    def is_done(self) -> bool:
        return len(self._outcomes) == len(self._items)

    def commands(self, bank: WriteSide, rehearsal: object) -> Sequence[Command[Account]]:
        """Those that are to be decided."""
        self._is_late = False
        return [self._command(bank, item, rehearsal) for item in self._items[len(self._outcomes) :]]

    def _command(self, bank: WriteSide, item: BatchItem, rehearsal: object) -> Command[Account]:
        command = item.command
        rule = RULES[type(command)]
        request = fingerprinted(item.request, rule.rpc, command)
        with_holds_ended = with_expiry(bank.clock, lambda account, now: (rule.decide(account, command, now),), request)

        def decide(account: Account | None) -> Sequence[Any]:
            if self._is_late:
                raise ManyAreDue
            try:
                return with_holds_ended(account)
            except ManyAreDue:
                self._is_late = True
                raise

        return Command(decide, request, rehearsal if request.validate_only else None)

    def take(self, outcomes: Sequence[ItemOutcome]) -> None:
        self._outcomes += takewhile(lambda outcome: not isinstance(outcome, ManyAreDue), outcomes)

    async def expire_some(self, bank: WriteSide) -> None:
        try:
            await expire_some(bank, self.account_id, self._items[0].request.actor)
        except Exception as error:
            self._outcomes += [error] * (len(self._items) - len(self._outcomes))

    async def with_holds(self, bank: WriteSide) -> Sequence[ItemOutcome]:
        """All outcomes, with the hold in that of each command on one."""
        commands, requests = [item.command for item in self._items], [item.request for item in self._items]
        return await with_holds(bank, self.account_id, commands, self._outcomes, requests)


async def with_holds(
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
