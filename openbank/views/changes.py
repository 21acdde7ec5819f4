"""What an event changes in the views: plain writes, so that an adapter is little more than a statement for each.

A change states the result and names the revision it is of, so that applying it twice is applying it once.
"""

from __future__ import annotations

from typing import NamedTuple

from openbank.domain.account import Account
from openbank.domain.money import Money
from openbank.domain.person import Address, Person
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import LogPosition, RecordedEvent


class PersonInserted(NamedTuple):
    """A person, at the place in the list of all persons that the log position of the first event gives; once."""

    position: int
    person: Versioned[Person]


class AddressSet(NamedTuple):
    """A person's address, unless the view knows one of this revision or a later one."""

    person_id: str
    revision: int
    update_time: int
    address: Address


class AccountInserted(NamedTuple):
    """An account, at the place among its owner's that the log position of its opening gives; once."""

    position: int
    account: Versioned[Account]


class BalanceSet(NamedTuple):
    """An account's balance, unless the view knows one of this revision or a later one."""

    account_id: str
    revision: int
    update_time: int
    balance: Money


class AccountEventRecorded(NamedTuple):
    """An event of an account, for its list of movements; once."""

    account_id: str
    event: RecordedEvent


class MinuteReached(NamedTuple):
    """Up to `place` every event was recorded before this minute (counted from 1970), and the next one was not; once.

    Clocks may run backwards: a minute is reached by the first event that is of it or of a later one.
    """

    minute: int
    place: LogPosition


Change = PersonInserted | AddressSet | AccountInserted | BalanceSet | AccountEventRecorded | MinuteReached
