"""Dry runs: what they said of a call, and what then came of it."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from tests.callers import Refusal

_MADE = ("person_id", "account_id", "transfer_id")
"""Ids that the bank makes at random for a request without an id."""


def dry(request: Any) -> Any:
    """The same request, of which nothing is to be recorded."""
    copy = type(request)()
    copy.CopyFrom(request)
    copy.validate_only = True
    return copy


def check_foreseen(request: Any, foreseen: Any, came: Any) -> None:
    """Raises AssertionError unless a dry run of `request` has said what came of the request right after it."""
    if isinstance(foreseen, Refusal) or isinstance(came, Refusal):
        assert _told(request, foreseen) == _told(request, came)
    elif came.replayed:
        assert foreseen == came
    else:
        assert (foreseen.event_id, foreseen.HasField("record_time")) == ("", False)
        assert foreseen.consistency_token
        assert _timeless(request, foreseen) == _timeless(request, came)


def same_outcome(request: Any, one: Any, other: Any) -> None:
    """Raises AssertionError unless two banks with the same history have answered `request` alike."""
    if isinstance(one, Refusal) or isinstance(other, Refusal):
        assert _told(request, one) == _told(request, other)
        return
    assert one.replayed == other.replayed
    assert _timeless(request, one, made=True) == _timeless(request, other, made=True)


def _told(request: Any, outcome: Any) -> Any:
    if not isinstance(outcome, Refusal):
        return outcome
    if not request.request_id and getattr(request, "account_id", "its own") == "":
        # An account that the bank would have opened under an id made at random.
        return outcome.code, outcome.reason, {**outcome.metadata, "accountId": ""}
    return outcome.code, outcome.message, outcome.details


def _timeless(request: Any, answer: Any, *, made: bool = False) -> Any:
    """Without what the time, chance and the record make of an answer."""
    copy = type(answer)()
    copy.CopyFrom(answer)
    for name in ("event_id", "record_time", "consistency_token"):
        copy.ClearField(name)
    _forget(copy, made=made or not request.request_id)
    return copy


def _forget(message: Message, *, made: bool) -> None:
    for field, value in message.ListFields():
        if isinstance(value, Timestamp) or (made and field.name in _MADE):
            message.ClearField(field.name)
        elif isinstance(value, Message):
            _forget(value, made=made)
