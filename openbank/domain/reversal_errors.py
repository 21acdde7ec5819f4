"""Why the bank refuses a reversal, as `errors` has all other refusals."""

from __future__ import annotations

from openbank.domain.errors import Refused


class MovementNotFound(Refused):
    reason = "MOVEMENT_NOT_FOUND"

    def __init__(self, account_id: str, revision: int) -> None:
        message = f"the account {account_id} has no movement of money at revision {revision}"
        super().__init__(message, accountId=account_id, revision=str(revision))


class NotReversible(Refused):
    reason = "NOT_REVERSIBLE"

    def __init__(self, account_id: str, message: str, **named: str) -> None:
        super().__init__(message, accountId=account_id, **named)


class AlreadyReversed(Refused):
    reason = "ALREADY_REVERSED"

    def __init__(self, account_id: str, what: str, by: str, **named: str) -> None:
        super().__init__(f"{what} was reversed by {by}", accountId=account_id, **named)
