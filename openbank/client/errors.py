"""What the bank said about a call that failed, and whether it was the bank that said it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import grpc

from openbank.client import status_details
from openbank.client.status_details import BadRequest, ErrorInfo, RetryInfo

DOMAIN = "openbank"
REASON = "ERROR_REASON_"
DETAILS_KEY = "grpc-status-details-bin"


class Violation(NamedTuple):
    """What is wrong with one field: "address.city", "FIELD_REQUIRED"."""

    field: str
    reason: str
    message: str


class BankError(Exception):
    """The bank's answer to a call that it does not carry out.

    `reason` is the name of an ErrorReason without its prefix, "INSUFFICIENT_FUNDS"; decide by it, or by `code` where
    you do not know it. `metadata` has the figures that the message mentions. `violations` are all wrong fields of an
    INVALID_ARGUMENT.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        metadata: Mapping[str, str],
        violations: Sequence[Violation] = (),
        retry_seconds: float | None = None,
    ) -> None:
        super().__init__(f"{reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.metadata = metadata
        self.violations = violations
        self.retry_seconds = retry_seconds
        """How long the bank asks to wait before the same call is sent again; None where it does not ask for that."""


def bank_error(error: Any) -> BankError | None:
    """What the bank said, from a grpc.RpcError; None for an error without an ErrorInfo of domain `openbank`.

    None means: not the bank's decision. The error is gRPC's, a proxy's or the network's, whatever its code, and the
    call may have been carried out or not. Send the same request again, with the same request_id.
    """
    details = _details(error)
    info = next((each for each in details if isinstance(each, ErrorInfo) and each.domain == DOMAIN), None)
    if info is None:
        return None
    violations: list[Violation] = []
    retry_seconds = None
    for detail in details:
        if isinstance(detail, BadRequest):
            violations += [
                Violation(each.field, each.reason.removeprefix(REASON), each.description)
                for each in detail.field_violations
            ]
        elif isinstance(detail, RetryInfo):
            retry_seconds = detail.retry_delay.seconds + detail.retry_delay.nanos / 1e9
    reason = info.reason.removeprefix(REASON)
    return BankError(error.code(), reason, error.details() or "", dict(info.metadata), violations, retry_seconds)


def _details(error: Any) -> Sequence[Any]:
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY:
            try:
                return status_details.details(value, ErrorInfo, BadRequest, RetryInfo)
            except Exception:  # A proxy may put anything here.
                return ()
    return ()
