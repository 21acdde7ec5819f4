"""The write side: what the commands work on."""

from __future__ import annotations

from typing import TypeVar

from openbank.aggregates import snapshots
from openbank.aggregates.folding import Kind
from openbank.aggregates.repository import Repository
from openbank.domain import account, person
from openbank.domain.account import Account
from openbank.domain.clock import Clock
from openbank.domain.internal import AccountNumberReserved, RequestClaimed
from openbank.domain.person import Person
from openbank.eventstore.port import EventStore
from openbank.eventstore.streams import account_stream, number_stream, person_stream, request_stream
from openbank.integrity.quarantine import Quarantine

State = TypeVar("State")


class WriteSide:
    """The aggregates of one bank: persons and accounts, and what is claimed across them.

    `kept_max` bounds how many of each kind are kept in memory. `clock` gives every record time.
    """

    def __init__(self, store: EventStore, clock: Clock, kept_max: int, quarantine: Quarantine | None = None) -> None:
        quarantine = quarantine or Quarantine(store, clock)
        self.id = store.bank_id
        self.clock = clock
        persons = Kind(person_stream, person.apply, snapshots=snapshots.PERSONS)
        accounts = Kind(
            account_stream,
            account.apply,
            lambda account: account.owner_id,
            lambda account: account.funds,
            snapshots.ACCOUNTS,
        )
        requests: Kind[RequestClaimed] = Kind(request_stream, _latest)
        numbers: Kind[AccountNumberReserved] = Kind(number_stream, _latest)
        old_numbers: Kind[AccountNumberReserved] = Kind(lambda stream: stream, _latest)
        self.persons: Repository[Person] = Repository(store, persons, clock, kept_max, quarantine)
        self.accounts: Repository[Account] = Repository(store, accounts, clock, kept_max, quarantine)
        self.requests = Repository(store, requests, clock, kept_max, quarantine)
        self.numbers = Repository(store, numbers, clock, kept_max, quarantine)
        self.old_numbers = Repository(store, old_numbers, clock, kept_max, quarantine)
        """By stream: see `commands.old_numbers`."""


def _latest(_: State | None, event: State) -> State:
    """A claim or a reservation replaces the one before it."""
    return event
