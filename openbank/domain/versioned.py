"""A person or an account as it was right after one of its events: what commands answer, views hold, callers see."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

State = TypeVar("State")


class Versioned(NamedTuple, Generic[State]):
    """`revision` counts the aggregate's events from 1. Times are record times, in microseconds since 1970 UTC."""

    state: State
    revision: int
    create_time: int
    update_time: int
