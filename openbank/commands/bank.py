"""The write side: what the commands work on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from openbank.domain import account, person
from openbank.domain.account import Account
from openbank.domain.clock import Clock
from openbank.domain.internal import AccountNumberReserved, RequestClaimed
from openbank.domain.person import Person
from openbank.eventstore import codec
from openbank.eventstore.aggregate import Kind, SnapshotCodec
from openbank.eventstore.port import EventStore
from openbank.eventstore.repository import Repository
from openbank.eventstore.streams import account_stream, number_stream, person_stream, request_stream

State = TypeVar("State")


class Bank:
    """The aggregates of one bank: persons and accounts, and what is claimed across them.

    `kept_max` bounds how many of each kind are kept in memory. `clock` gives every record time.
    """

    def __init__(self, store: EventStore, clock: Clock, kept_max: int) -> None:
        def repository(
            stream: Callable[[Any], str],
            apply: Callable[[State | None, Any], State],
            owner: Callable[[State], str] = lambda _: "",
            snapshots: SnapshotCodec[State] | None = None,
        ) -> Repository[State]:
            return Repository(store, Kind(stream, apply, owner, snapshots), clock, kept_max)

        self.id = store.bank_id
        self.clock = clock
        self.persons: Repository[Person] = repository(person_stream, person.apply)
        self.accounts: Repository[Account] = repository(
            account_stream,
            account.apply,
            lambda account: account.owner_id,
            SnapshotCodec(codec.encode_snapshot, codec.decode_snapshot),
        )
        self.requests: Repository[RequestClaimed] = repository(request_stream, _latest)
        self.numbers: Repository[AccountNumberReserved] = repository(number_stream, _latest)


def _latest(_: State | None, event: State) -> State:
    """A claim or a reservation replaces the one before it."""
    return event
