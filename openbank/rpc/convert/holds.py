"""Requests to commands on holds, and holds as responses have them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from google.protobuf.duration_pb2 import Duration

from openbank.domain import fields as limits
from openbank.domain.fields import Fields
from openbank.domain.hold_record import HoldRecord, HoldState
from openbank.domain.holds import SECOND, TTL_MAX, TTL_MIN, CaptureHold, PlaceHold, ReleaseHold
from openbank.domain.money import NANOS
from openbank.domain.request import Request
from openbank.domain.versioned import Versioned
from openbank.holds.v1 import hold_pb2
from openbank.holds.v1.holds_service_pb2 import CaptureHoldRequest, PlaceHoldRequest, ReleaseHoldRequest
from openbank.rpc.call import Call
from openbank.rpc.convert.amounts import read_amount, settle_amount
from openbank.rpc.convert.tags import fill_tags, read_tags
from openbank.rpc.convert.values import fill_money, fill_time, read_enums, read_request_at_revision, read_time

STATES = {
    HoldState.OPEN: hold_pb2.HOLD_STATE_OPEN,
    HoldState.CAPTURED: hold_pb2.HOLD_STATE_CAPTURED,
    HoldState.RELEASED: hold_pb2.HOLD_STATE_RELEASED,
    HoldState.EXPIRED: hold_pb2.HOLD_STATE_EXPIRED,
}
_STATE_OF: dict[int, HoldState] = {value: state for state, value in STATES.items()}

_RANGE = "1 second to 366 days"


def read_place_hold(message: PlaceHoldRequest, call: Call) -> tuple[PlaceHold, Request]:
    fields = Fields()
    request = read_request_at_revision(fields, message, call)
    command = PlaceHold(
        fields.identifier("account_id", message.account_id),
        read_amount(fields, message),
        fields.text("description", message.description, limits.DESCRIPTION_LENGTH_MAX, lines=True),
        _read_expire_time(fields, message, call.method.clock()) if message.HasField("expire_time") else None,
        _read_ttl(fields, message.ttl) if message.HasField("ttl") else None,
        read_tags(fields, message),
    )
    if fields.violations:
        request = settle_amount(fields, request, command.amount)
    return command, request


def _read_expire_time(fields: Fields, message: PlaceHoldRequest, now: int) -> int:
    found = len(fields.violations)
    time = read_time(fields, "expire_time", message.expire_time)
    if len(fields.violations) == found and not TTL_MIN <= time - now <= TTL_MAX:
        fields.refuse("expire_time", "INVALID_EXPIRATION", f"must be {_RANGE} from now")
    return time


def _read_ttl(fields: Fields, message: Duration) -> int:
    """In microseconds; one between two of them is the longer."""
    ttl = message.seconds * SECOND - -message.nanos // 1000
    if not (0 <= message.nanos < NANOS and TTL_MIN <= ttl <= TTL_MAX):
        fields.refuse("ttl", "INVALID_EXPIRATION", f"must be {_RANGE}, with nanos from 0 to 999999999")
    return ttl


def read_capture_hold(message: CaptureHoldRequest, call: Call) -> tuple[CaptureHold, Request]:
    fields = Fields()
    request = read_request_at_revision(fields, message, call)
    command = CaptureHold(
        fields.identifier("account_id", message.account_id),
        fields.identifier("hold_id", message.hold_id),
        read_amount(fields, message) if message.HasField("amount") else None,
        message.release_remainder,
        fields.text("description", message.description, limits.DESCRIPTION_LENGTH_MAX, lines=True),
        read_tags(fields, message),
    )
    if command.amount is None:
        return command, fields.settle(request)
    if fields.violations:
        request = settle_amount(fields, request, command.amount)
    return command, request


def read_release_hold(message: ReleaseHoldRequest, call: Call) -> tuple[ReleaseHold, Request]:
    fields = Fields()
    request = read_request_at_revision(fields, message, call)
    command = ReleaseHold(
        fields.identifier("account_id", message.account_id),
        fields.identifier("hold_id", message.hold_id),
        fields.text("description", message.description, limits.DESCRIPTION_LENGTH_MAX, lines=True),
    )
    return command, fields.settle(request)


def read_states(fields: Fields, path: str, values: Sequence[int]) -> Collection[HoldState]:
    """The states that a filter lists; all of them for an empty one."""
    return frozenset(read_enums(fields, path, values, _STATE_OF, "state")) or frozenset(HoldState)


def fill_hold(message: hold_pb2.Hold, hold: Versioned[HoldRecord]) -> None:
    state = hold.state
    message.hold_id = state.hold_id
    message.account_id = state.account_id
    fill_money(message.amount, state.amount)
    fill_money(message.captured_amount, state.captured)
    fill_money(message.remaining_amount, state.remaining)
    message.state = STATES[state.state]
    message.description = state.description
    fill_tags(message, state.tags)
    fill_time(message.create_time, hold.create_time)
    fill_time(message.expire_time, state.expire_time)
    fill_time(message.update_time, hold.update_time)
