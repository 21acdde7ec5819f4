"""Why the bank refuses: one exception a reason, named by its meaning, carrying the figures it was decided on.

`reason` is the published `ErrorReason` without its prefix; which status and details a caller gets for it, `rpc.errors`
says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import ClassVar, NamedTuple

from openbank.domain.money import MAX_MINOR, Money


class Violation(NamedTuple):
    """What is wrong with one field: its path in the request ("address.city"), a published reason, and a sentence.

    `metadata` holds every value that the sentence mentions, under the names that `ErrorReason` documents.
    """

    field: str
    reason: str
    message: str
    metadata: Mapping[str, str] = MappingProxyType({})


class Refused(Exception):
    """The bank will not do this; nothing was written. `metadata` holds every value that the message mentions."""

    reason: ClassVar[str]

    def __init__(self, message: str, **metadata: str) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = metadata


class InvalidFields(Refused):
    """Fields that are wrong whatever the bank's state is: all of them at once, or the first, and how many `more`."""

    reason = "INVALID_FIELDS"

    def __init__(self, violations: Sequence[Violation], more: int = 0) -> None:
        super().__init__("; ".join(f"{v.field}: {v.message}" for v in violations))
        self.violations = tuple(violations)
        self.more = more


class AccountRefuses:
    """Marks a Refused for which the state of an account is the reason. Its metadata has the `accountId`."""

    reason: ClassVar[str]


class HoldRefuses:
    """Marks a Refused for which the state of a hold is the reason. Its metadata has the `holdId`."""

    reason: ClassVar[str]


class PersonNotFound(Refused):
    reason = "PERSON_NOT_FOUND"

    def __init__(self, person_id: str) -> None:
        super().__init__(f"no person has the id {person_id}", personId=person_id)


class OwnerNotFound(Refused):
    reason = "OWNER_NOT_FOUND"

    def __init__(self, owner_id: str) -> None:
        super().__init__(f"the owner {owner_id} is not a registered person", ownerId=owner_id)


class AccountNotFound(Refused):
    reason = "ACCOUNT_NOT_FOUND"

    def __init__(self, account_id: str = "", account_number: str = "") -> None:
        if account_number:
            super().__init__(f"no account has the number {account_number}", accountNumber=account_number)
        else:
            super().__init__(f"no account has the id {account_id}", accountId=account_id)


class RevisionNotReached(Refused):
    """A question about an account at a revision that it may have one day."""

    reason = "POSITION_OUT_OF_RANGE"

    def __init__(self, account_id: str, revision: int, last: int) -> None:
        message = f"the account {account_id} is at revision {last}, it has not reached {revision}"
        super().__init__(message, accountId=account_id, revision=str(revision), lastRevision=str(last))


class PersonAlreadyExists(Refused):
    reason = "PERSON_ALREADY_EXISTS"

    def __init__(self, person_id: str) -> None:
        super().__init__(f"the person id {person_id} is taken", personId=person_id)


class AccountAlreadyExists(Refused):
    reason = "ACCOUNT_ALREADY_EXISTS"

    def __init__(self, account_id: str) -> None:
        super().__init__(f"the account id {account_id} is taken", accountId=account_id)


class AccountNumberTaken(Refused):
    """Says neither whose account it is nor its id: who guesses numbers learns no more than that they are taken."""

    reason = "ACCOUNT_NUMBER_TAKEN"

    def __init__(self, account_number: str) -> None:
        super().__init__(f"the account number {account_number} is taken", accountNumber=account_number)


class AccountNotActive(AccountRefuses, Refused):
    reason = "ACCOUNT_NOT_ACTIVE"

    def __init__(self, account_id: str, state: str) -> None:
        super().__init__(
            f"the account {account_id} is {state}, which does not allow this",
            accountId=account_id,
            state=f"ACCOUNT_STATE_{state}",
        )


class AccountNotFrozen(AccountRefuses, Refused):
    reason = "ACCOUNT_NOT_FROZEN"

    def __init__(self, account_id: str) -> None:
        super().__init__(f"the account {account_id} is not frozen", accountId=account_id)


class AccountNotEmpty(AccountRefuses, Refused):
    reason = "ACCOUNT_NOT_EMPTY"

    def __init__(self, account_id: str, balance: Money, open_holds: int, transfers_in_transit: int) -> None:
        super().__init__(
            f"the account {account_id} has a balance of {balance}, {open_holds} open holds and {transfers_in_transit}"
            " transfers in transit; all must be zero",
            accountId=account_id,
            balance=str(balance),
            openHolds=str(open_holds),
            transfersInTransit=str(transfers_in_transit),
        )


class SpendingLimitExceeded(AccountRefuses, Refused):
    """`reset_time` is when the day ends that the limit is for; None for a limit per transaction."""

    reason = "SPENDING_LIMIT_EXCEEDED"

    def __init__(
        self, account_id: str, limit: Money, spent: Money, amount: Money, reset_time: datetime | None = None
    ) -> None:
        until = f" until {reset_time.isoformat()}" if reset_time else " in one transaction"
        super().__init__(
            f"account {account_id} may spend {limit}{until}; {spent} is spent, and {amount} would be more",
            accountId=account_id,
            limit=str(limit),
            spent=str(spent),
            amount=str(amount),
            **({"resetTime": reset_time.isoformat()} if reset_time else {}),
        )


class HoldNotFound(Refused):
    reason = "HOLD_NOT_FOUND"

    def __init__(self, hold_id: str) -> None:
        super().__init__(f"no hold has the id {hold_id}", holdId=hold_id)


class HoldNotOpen(HoldRefuses, Refused):
    """It was captured, released, or has expired."""

    reason = "HOLD_NOT_OPEN"

    def __init__(self, hold_id: str) -> None:
        super().__init__(f"the hold {hold_id} is closed", holdId=hold_id)


class CaptureExceedsHold(HoldRefuses, Refused):
    reason = "CAPTURE_EXCEEDS_HOLD"

    def __init__(self, hold_id: str, remaining: Money, amount: Money) -> None:
        super().__init__(
            f"{amount} is more than the {remaining} that remains in the hold {hold_id}",
            holdId=hold_id,
            remaining=str(remaining),
            amount=str(amount),
        )


class TooManyHolds(AccountRefuses, Refused):
    reason = "TOO_MANY_HOLDS"

    def __init__(self, account_id: str, most: int) -> None:
        super().__init__(
            f"the account {account_id} has {most} open holds, the most allowed", accountId=account_id, max=str(most)
        )


class DestinationRefuses(Refused):
    """Nothing was sent. Says the destination's reason, and none of its figures: the payer may not know them."""

    reason = "ACCOUNT_NOT_ACTIVE"

    def __init__(self, account_id: str, reason: str) -> None:
        super().__init__(f"the account {account_id} does not take this transfer: {reason}", accountId=account_id)
        self.reason = reason  # type: ignore[misc]


class TransferNotFound(Refused):
    reason = "TRANSFER_NOT_FOUND"

    def __init__(self, transfer_id: str) -> None:
        super().__init__(f"no transfer has the id {transfer_id}", transferId=transfer_id)


class TransferCameBack(Refused):
    """The money was sent, the destination refused it, and it is back, or on its way back, in the source."""

    reason = "TRANSFER_RETURNED"

    def __init__(self, transfer_id: str, account_id: str, refused_reason: str) -> None:
        super().__init__(
            f"the account {account_id} refused the transfer {transfer_id}: {refused_reason}",
            transferId=transfer_id,
            accountId=account_id,
            refusedReason=f"ERROR_REASON_{refused_reason}",
        )


class InsufficientFunds(AccountRefuses, Refused):
    reason = "INSUFFICIENT_FUNDS"

    def __init__(self, account_id: str, balance: Money, available: Money, amount: Money) -> None:
        super().__init__(
            f"{amount} is more than the {available} available on account {account_id}",
            accountId=account_id,
            balance=str(balance),
            availableBalance=str(available),
            amount=str(amount),
        )


class BalanceLimitExceeded(AccountRefuses, Refused):
    reason = "BALANCE_LIMIT_EXCEEDED"

    def __init__(self, account_id: str, balance: Money, amount: Money, limit_minor: int = MAX_MINOR) -> None:
        limit = Money(balance.currency, limit_minor)
        super().__init__(
            f"{amount} would take the balance of account {account_id} from {balance} past {limit}",
            accountId=account_id,
            balance=str(balance),
            amount=str(amount),
            maxBalance=str(limit),
        )


class RevisionMismatch(Refused):
    reason = "REVISION_MISMATCH"

    def __init__(self, kind: str, identifier: str, expected: int, actual: int) -> None:
        super().__init__(
            f"the {kind} {identifier} is at revision {actual}, expected was {expected}",
            expectedRevision=str(expected),
            actualRevision=str(actual),
            **{f"{kind}Id": identifier},
        )


class RequestIdReused(InvalidFields):
    """Another request under a known request id. Not ALREADY_EXISTS, which clients read as "done"."""

    def __init__(self) -> None:
        super().__init__([Violation("request_id", "REQUEST_ID_REUSED", "was used for another request")])


class EventsTooLarge(Refused):
    reason = "REQUEST_TOO_LARGE"

    def __init__(self, size: int, size_max: int) -> None:
        message = f"its events have {size} bytes; at most {size_max} can be recorded together, as the store counts them"
        super().__init__(message, size=str(size), maxSize=str(size_max))


class DoesNotFollow(ValueError):
    """A stored event cannot come after the ones before it. The text says why, without figures and personal data."""
