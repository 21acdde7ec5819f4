"""Errors to statuses: the one place that decides what a caller gets, row by row.

Every status carries a google.rpc.ErrorInfo whose reason is a published ErrorReason, and the typed detail of its kind.
`protos/openbank/common/v1/errors.proto` promises callers what this table does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from openbank.batches.v1.batches_service_pb2 import BATCH_MODE_INDEPENDENT
from openbank.domain.errors import AccountRefuses, HoldRefuses, InvalidFields, Refused, Violation
from openbank.eventstore.errors import LogReplaced, NewerVersionNeeded, OutcomeUnknown, StoreUnavailable
from openbank.feeds.errors import ServerDraining
from openbank.integrity.quarantine import TooManyQuarantined
from openbank.sinks.port import RecordsUnavailable
from openbank.views.port import ViewsLacking, ViewsUnavailable

DOMAIN = "openbank"
REASON = "ERROR_REASON_"
DETAILS_KEY = "grpc-status-details-bin"

DETAILS_BYTES_MAX = 4096
"""The most bytes of a whole status: HTTP/2 peers limit all headers of a message to 8 KiB, and base64 adds a third."""
_VIOLATIONS_BYTES_MAX = 2400
_MESSAGE_LENGTH_MAX = 600


class Failure(NamedTuple):
    """The status that a caller gets. `reason` is an ErrorReason without its prefix."""

    code: grpc.StatusCode
    reason: str
    message: str
    metadata: Mapping[str, str] = {}
    details: Sequence[Message] = ()
    concerns_operator: bool = False


class Malformed(Refused):
    reason = "MALFORMED_REQUEST"

    def __init__(self) -> None:
        super().__init__("the request is not the protobuf message of this method")


class RequestTooLarge(Refused):
    reason = "REQUEST_TOO_LARGE"

    def __init__(self, size: int, size_max: int) -> None:
        message = f"the request has {size} bytes, at most {size_max} are allowed for this method"
        super().__init__(message, size=str(size), maxSize=str(size_max))


class TooManyMessages(Refused):
    reason = "REQUEST_TOO_LARGE"

    def __init__(self, count: int) -> None:
        super().__init__(f"more than {count} messages are nested in the request", maxCount=str(count))


class InBatch(Exception):
    """Ends an atomic batch: the command at `path`, which has the request `command`, is refused with `error`."""

    def __init__(self, path: str, error: Refused, command: Message) -> None:
        super().__init__(f"{path}: {error}")
        self.path = path
        self.error = error
        self.command = command


class TooManyCalls(Refused):
    reason = "TOO_MANY_CALLS"

    def __init__(self, count: int) -> None:
        super().__init__(f"{count} calls are under way, which is this server's limit", maxCount=str(count))


Detail = Callable[[str, str, Mapping[str, str]], Message]
"""Makes the typed detail from the reason, the message and the metadata."""


class StatusRow(NamedTuple):
    code: grpc.StatusCode
    detail: Detail | None = None
    concerns_operator: bool = False
    """Whether an operator may have to act; all else is the caller's affair."""


class Resource(NamedTuple):
    type: str
    """The full name of its message."""
    collection: str = ""
    """What the name of one begins with, "accounts" of "accounts/1234"; empty where the id is the name."""


ACCOUNT = Resource("openbank.accounts.v1.Account", "accounts")
PERSON = Resource("openbank.persons.v1.Person", "persons")
HOLD = Resource("openbank.holds.v1.Hold", "holds")
TRANSFER = Resource("openbank.transfers.v1.Transfer", "transfers")
MOVEMENT = Resource("openbank.accounts.v1.AccountEvent")
SINK = Resource("openbank.operations.v1.Sink")
PARKED = Resource("openbank.operations.v1.ParkedAggregate")
QUARANTINED = Resource("openbank.operations.v1.QuarantinedAggregate")
STORE = Resource("openbank.Store")

IDS = {"person_id": "personId", "account_id": "accountId", "source_account_id": "accountId"}
"""Fields of requests by which a command names what it changes, and their names in an error's metadata."""


def _resource(resource: Resource, *keys: str) -> Detail:
    """Names the resource by the first of these that the metadata has."""

    def detail(_: str, message: str, metadata: Mapping[str, str]) -> Message:
        name = next((metadata[key] for key in keys if key in metadata), "")
        return error_details_pb2.ResourceInfo(resource_type=resource.type, resource_name=name, description=message)

    return detail


def _precondition(resource: Resource, key: str) -> Detail:
    """Names the resource that is not in the state that the command needs."""

    def detail(reason: str, message: str, metadata: Mapping[str, str]) -> Message:
        name = metadata.get(key, "")
        subject = f"{resource.collection}/{name}" if resource.collection else name
        failure = error_details_pb2.PreconditionFailure()
        failure.violations.add(type=REASON + reason, subject=subject, description=message)
        return failure

    return detail


def _retry(after_ms: int) -> Detail:
    def detail(_: str, message: str, metadata: Mapping[str, str]) -> Message:
        retry = error_details_pb2.RetryInfo()
        milliseconds = int(metadata.get("retryMilliseconds", 0)) or 1000 * int(metadata.get("retrySeconds", 0))
        retry.retry_delay.FromMilliseconds(milliseconds or after_ms)
        return retry

    return detail


_Code = grpc.StatusCode

# INVALID_ARGUMENT is not in here: its reasons are those of the violations. Nor is INTERNAL, which has none to tell.
TABLE: dict[str, StatusRow] = {
    "MALFORMED_REQUEST": StatusRow(_Code.INVALID_ARGUMENT),
    "REQUEST_TOO_LARGE": StatusRow(_Code.INVALID_ARGUMENT),
    "PERSON_NOT_FOUND": StatusRow(_Code.NOT_FOUND, _resource(PERSON, "personId")),
    "ACCOUNT_NOT_FOUND": StatusRow(_Code.NOT_FOUND, _resource(ACCOUNT, "accountId", "accountNumber")),
    "OWNER_NOT_FOUND": StatusRow(_Code.NOT_FOUND, _resource(PERSON, "ownerId")),
    "SINK_NOT_FOUND": StatusRow(_Code.NOT_FOUND, _resource(SINK, "sink")),
    "AGGREGATE_NOT_PARKED": StatusRow(_Code.NOT_FOUND, _resource(PARKED, "aggregate")),
    "AGGREGATE_NOT_WAITING": StatusRow(_Code.NOT_FOUND, _resource(PARKED, "aggregate")),
    "HOLD_NOT_FOUND": StatusRow(_Code.NOT_FOUND, _resource(HOLD, "holdId")),
    "MOVEMENT_NOT_FOUND": StatusRow(_Code.NOT_FOUND, _resource(MOVEMENT, "accountId")),
    "TRANSFER_NOT_FOUND": StatusRow(_Code.NOT_FOUND, _resource(TRANSFER, "transferId")),
    "AGGREGATE_NOT_QUARANTINED": StatusRow(_Code.NOT_FOUND, _resource(QUARANTINED, "aggregate")),
    "PERSON_ALREADY_EXISTS": StatusRow(_Code.ALREADY_EXISTS, _resource(PERSON, "personId")),
    "ACCOUNT_ALREADY_EXISTS": StatusRow(_Code.ALREADY_EXISTS, _resource(ACCOUNT, "accountId")),
    "ACCOUNT_NUMBER_TAKEN": StatusRow(_Code.ALREADY_EXISTS, _resource(ACCOUNT, "accountNumber")),
    **dict.fromkeys(
        (refusal.reason for refusal in AccountRefuses.__subclasses__()),
        StatusRow(_Code.FAILED_PRECONDITION, _precondition(ACCOUNT, "accountId")),
    ),
    "NOT_REVERSIBLE": StatusRow(_Code.FAILED_PRECONDITION, _precondition(ACCOUNT, "accountId")),
    "ALREADY_REVERSED": StatusRow(_Code.FAILED_PRECONDITION, _precondition(ACCOUNT, "accountId")),
    "AGGREGATE_QUARANTINED": StatusRow(_Code.FAILED_PRECONDITION, _precondition(QUARANTINED, "aggregate")),
    "LOG_MISMATCH": StatusRow(_Code.FAILED_PRECONDITION, _precondition(STORE, "store"), concerns_operator=True),
    **dict.fromkeys(
        (refusal.reason for refusal in HoldRefuses.__subclasses__()),
        StatusRow(_Code.FAILED_PRECONDITION, _precondition(HOLD, "holdId")),
    ),
    "TRANSFER_RETURNED": StatusRow(_Code.FAILED_PRECONDITION, _precondition(TRANSFER, "transferId")),
    "REVISION_MISMATCH": StatusRow(_Code.ABORTED),
    "POSITION_OUT_OF_RANGE": StatusRow(_Code.OUT_OF_RANGE),
    "STORE_UNAVAILABLE": StatusRow(_Code.UNAVAILABLE, _retry(1000), concerns_operator=True),
    "VIEW_BEHIND": StatusRow(_Code.UNAVAILABLE, _retry(200), concerns_operator=True),
    "NEWER_VERSION_NEEDED": StatusRow(_Code.UNAVAILABLE, _retry(5000)),
    "SERVER_DRAINING": StatusRow(_Code.UNAVAILABLE, _retry(500)),
    "TOKEN_MISSING": StatusRow(_Code.UNAUTHENTICATED),
    "TOKEN_INVALID": StatusRow(_Code.UNAUTHENTICATED),
    "TOKEN_EXPIRED": StatusRow(_Code.UNAUTHENTICATED),
    "TOKEN_KEYS_UNAVAILABLE": StatusRow(_Code.UNAVAILABLE, _retry(2000), concerns_operator=True),
    "PERMISSION_MISSING": StatusRow(_Code.PERMISSION_DENIED),
    "RATE_LIMITED": StatusRow(_Code.RESOURCE_EXHAUSTED, _retry(1000)),
    "OUTCOME_UNKNOWN": StatusRow(_Code.UNKNOWN, concerns_operator=True),
    "TOO_MANY_CALLS": StatusRow(_Code.RESOURCE_EXHAUSTED),
    "TOO_MANY_WATCHES": StatusRow(_Code.RESOURCE_EXHAUSTED),
    "SLOW_CONSUMER": StatusRow(_Code.RESOURCE_EXHAUSTED),
}


def failure_of(error: Exception, request: Message | None) -> Failure | None:
    """The status that the caller of `request` gets for `error`; None for an unexpected error, which is a bug."""
    if isinstance(error, InvalidFields):
        return _invalid(error)
    if isinstance(error, InBatch):
        failure = failure_of(error.error, error.command)
        return failure and failure._replace(
            message=f"{error.path}: {failure.message}", metadata={**failure.metadata, "command": error.path}
        )
    if isinstance(error, Refused) and error.reason in TABLE:
        metadata = dict(error.metadata)
        if error.reason == "REVISION_MISMATCH":
            metadata.update(_aggregate(request))
        return _by_table(error.reason, error.message, metadata)
    if isinstance(error, OutcomeUnknown) and not _can_repeat(request):
        message = "whether this was written is unknown: read before sending it again, and send a request_id"
        return _by_table("OUTCOME_UNKNOWN", message, _aggregate(request))
    if isinstance(error, LogReplaced | TooManyQuarantined):
        message = (
            "the event store does not hold the log of this bank any more: its operator must act, see the server's log"
        )
        return _by_table("LOG_MISMATCH", message, {"store": "events"})
    if isinstance(error, NewerVersionNeeded):
        metadata = {"aggregate": error.stream, "revision": str(error.revision), "unknown": error.unknown}
        return _by_table("NEWER_VERSION_NEEDED", f"{error}: call again, on a newer instance if there is one", metadata)
    if isinstance(error, StoreUnavailable | OutcomeUnknown):
        # With a request id the same call again is safe, whatever became of this one.
        return _by_table("STORE_UNAVAILABLE", "the event store is not available", {"store": "events"})
    if isinstance(error, ViewsLacking):
        return _by_table("VIEW_BEHIND", "the views lack what this answer needs until they are rebuilt", {})
    if isinstance(error, ViewsUnavailable):
        return _by_table("STORE_UNAVAILABLE", "the views are not available", {"store": "views"})
    if isinstance(error, RecordsUnavailable):
        return _by_table("STORE_UNAVAILABLE", "the records of sinks are not available", {"store": "sinks"})
    return None


def interrupted(mutation: Message | None) -> Exception:
    """What ends a call that was still running when the time for a stop was over; None for a call that only reads."""
    if mutation is not None and not _can_repeat(mutation):
        return OutcomeUnknown()
    return ServerDraining()


def _can_repeat(request: Message | None) -> bool:
    """Whether the same call again changes nothing twice, whatever became of the first."""
    if getattr(request, "request_id", "") or getattr(request, "validate_only", False):
        return True
    # Each command of it has an id of its own.
    return getattr(request, "mode", None) == BATCH_MODE_INDEPENDENT


def internal(error_id: str) -> Failure:
    """A bug: nothing about it leaves the server but an id, under which the log has the rest."""
    return Failure(_Code.INTERNAL, "INTERNAL", f"internal error {error_id}", {"errorId": error_id})


def to_status(failure: Failure) -> status_pb2.Status:
    """The google.rpc.Status that travels in the trailing metadata, in at most DETAILS_BYTES_MAX."""
    info = error_details_pb2.ErrorInfo(reason=REASON + failure.reason, domain=DOMAIN, metadata=failure.metadata)
    status = status_pb2.Status(code=failure.code.value[0], message=failure.message)
    for detail in (info, *failure.details):
        status.details.add().Pack(detail)
    return status


def _by_table(reason: str, message: str, metadata: Mapping[str, str]) -> Failure:
    row = TABLE[reason]
    details = [row.detail(reason, message, metadata)] if row.detail else []
    return Failure(row.code, reason, message, metadata, details, row.concerns_operator)


def _invalid(error: InvalidFields) -> Failure:
    first = error.violations[0]
    told = list(_within(error.violations, _VIOLATIONS_BYTES_MAX))
    more = len(error.violations) - len(told) + error.more
    rest = f"; and {more} more" if more else ""
    message = "; ".join(f"{violation.field}: {violation.message}" for violation in told)
    if len(message) + len(rest) > _MESSAGE_LENGTH_MAX:
        message = message[: _MESSAGE_LENGTH_MAX - len(rest) - 3] + "..."
    bad_request = error_details_pb2.BadRequest()
    for violation in told:
        bad_request.field_violations.add(
            field=violation.field, reason=REASON + violation.reason, description=violation.message
        )
    metadata = {**error.metadata, **first.metadata, "field": first.field}
    return Failure(_Code.INVALID_ARGUMENT, first.reason, message + rest, metadata, [bad_request])


def _within(violations: Iterable[Violation], bytes_max: int) -> Iterable[Violation]:
    """As many, from the first on, as fit: a filter of 1,000 ids can be wrong in 1,000 places."""
    for violation in violations:
        bytes_max -= len(REASON) + 12 + len("".join((violation.field, violation.reason, violation.message)).encode())
        if bytes_max < 0:
            return
        yield violation


def _aggregate(request: Message | None) -> dict[str, str]:
    """The id of what the request was to change, where it names one."""
    return {key: value for field, key in IDS.items() if (value := getattr(request, field, ""))}
