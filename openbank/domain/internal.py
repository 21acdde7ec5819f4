"""Facts that the bank keeps for itself, beside those of persons and accounts: who claimed what, across streams."""

from __future__ import annotations

from dataclasses import dataclass

from openbank.domain.movements import OpenAccount


@dataclass(frozen=True, slots=True)
class RequestClaimed:
    """A request id that is the whole bank's was used by this request, to make this aggregate.

    A later claim of the same id replaces it; one is made only when the earlier request can never succeed.
    """

    rpc: str
    request_hash: bytes
    aggregate_id: str
    account_number: str = ""
    """Set by OpenAccount."""


@dataclass(frozen=True, slots=True)
class AccountNumberReserved:
    """An account number is reserved for this command. The event holds the whole command, so that any call can finish
    it.

    A later reservation of the same number replaces it; one is made only when this one's account was opened with
    another number.
    """

    command: OpenAccount
    request_id: bytes
    request_hash: bytes
    correlation_id: str
    reserve_time: int
    """Microseconds since 1970 UTC: when the number was reserved, which is before its account is open."""
    actor: str = ""
    """The name of the caller; empty where callers are not known."""
