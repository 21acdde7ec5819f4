"""The write side: what the commands work on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import Any, TypeVar

from openbank.aggregates import snapshots
from openbank.aggregates.folding import Kind
from openbank.aggregates.repository import Repository
from openbank.aggregates.statistics import CommandStatistics
from openbank.domain import account, person
from openbank.domain.account import Account
from openbank.domain.clock import Clock
from openbank.domain.internal import AccountNumberReserved, RequestClaimed
from openbank.domain.person import Person
from openbank.domain.transfers import Transfer
from openbank.eventstore.errors import StoreUnavailable
from openbank.eventstore.port import EventStore, LogPosition
from openbank.eventstore.streams import account_stream, number_stream, person_stream, request_stream
from openbank.integrity.quarantine import Quarantine
from openbank.unfinished import Unfinished

CLAIMS_MAX = 1_000
"""The most claims of request ids kept in memory, and the most of numbers: few are read again once they are made."""

State = TypeVar("State")

InTransit = Callable[[str, LogPosition], Awaitable[int]]
"""How many transfers an account has sent up to a position of the log that are not settled. It may count too many."""


FindTransfer = Callable[[str], Awaitable[Transfer]]
"""The transfer with an id, as views have it that have seen the end of the log. Raises TransferNotFound."""
FindReversal = Callable[[str, int, LogPosition], Awaitable[int]]
"""The revision of the event that has reversed an account's movement, up to a position of the log; 0 without one."""


async def _not_known(*_: object) -> Any:
    raise StoreUnavailable("no views to ask")


class WriteSide:
    """The aggregates of one bank: persons and accounts, and what is claimed across them.

    `kept_max` bounds how many persons and accounts each are kept in memory. `clock` gives every record time.
    `in_transit` is asked before an account is closed, `transfer` and `reversal` before something is reversed.
    """

    def __init__(
        self,
        store: EventStore,
        clock: Clock,
        kept_max: int,
        quarantine: Quarantine | None = None,
        in_transit: InTransit = _not_known,
        transfer: FindTransfer = _not_known,
        reversal: FindReversal = _not_known,
        *,
        records_actors: bool = False,
    ) -> None:
        quarantine = quarantine or Quarantine(store, clock)
        self.id = store.bank_id
        self.clock = clock
        self.in_transit = in_transit
        self.transfer = transfer
        self.reversal = reversal
        self.records_actors = records_actors
        """Whether callers are known, so that events name them, or the part of the bank that acts by itself."""
        self.statistics = CommandStatistics()
        self.unfinished = Unfinished()
        """Work that continues when its caller is gone."""
        persons = Kind(person_stream, lambda state, event, _: person.apply(state, event), snapshots=snapshots.PERSONS)
        accounts = Kind(
            account_stream,
            account.apply,
            attrgetter("owner_id"),
            attrgetter("funds"),
            snapshots.ACCOUNTS,
        )
        requests: Kind[RequestClaimed] = Kind(request_stream, _latest)
        numbers: Kind[AccountNumberReserved] = Kind(number_stream, _latest)
        old_numbers: Kind[AccountNumberReserved] = Kind(lambda stream: stream, _latest)
        self.persons: Repository[Person] = Repository(store, persons, clock, kept_max, quarantine, self.statistics)
        self.accounts: Repository[Account] = Repository(store, accounts, clock, kept_max, quarantine, self.statistics)
        claims_max = min(kept_max, CLAIMS_MAX)
        self.requests = Repository(store, requests, clock, claims_max, quarantine, self.statistics)
        self.numbers = Repository(store, numbers, clock, claims_max, quarantine, self.statistics)
        self.old_numbers = Repository(store, old_numbers, clock, claims_max, quarantine, self.statistics)
        """By stream: see `commands.old_numbers`."""


def _latest(_: State | None, event: State, __: int) -> State:
    """A claim or a reservation replaces the one before it."""
    return event
