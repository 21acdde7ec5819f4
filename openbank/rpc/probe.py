"""Asks a bank for its health, as a container's health check does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from openbank.rpc.health import COMMANDS, FEEDS, QUARANTINE, QUERIES, SERVICE, VERSION

ANSWER_SECONDS = 3.0
SERVING = "SERVING"
WHY_NOT = {
    COMMANDS: "the event store cannot be reached, takes no writes, or holds another log",
    QUERIES: "the views are catching up with the log, cannot be reached, or are of another log",
    FEEDS: "the event store cannot be reached, or holds another log",
    QUARANTINE: "aggregates are quarantined: see openbank quarantine list",
    VERSION: "the log has events of a newer version: replace this instance by one",
}
"""Each part of a bank, and what it means that it does not serve."""


class HealthReport(NamedTuple):
    status: str
    """SERVING, NOT_SERVING, or the code that the call ended with, such as UNAVAILABLE."""
    why: str = ""
    """For people, in one line; empty for SERVING."""
    parts: Mapping[str, str] = {}
    """The status of each part, where the whole was asked for and has answered."""


def probe(channel: grpc.Channel, address: str, part: str = "", answer_seconds: float = ANSWER_SECONDS) -> HealthReport:
    """Asks the bank at `address`, to which the channel leads; without `part` the whole is asked for.

    Each answer may take `answer_seconds`.
    """
    try:
        status = _check(channel, part, answer_seconds)
        parts = {} if part else _check_parts(channel, answer_seconds)
    except grpc.RpcError as error:
        return _failed(address, part, error, answer_seconds)
    why = WHY_NOT.get(
        part,
        "it is starting or stopping, cannot reach its stores, or does not find its log there; its own log says which",
    )
    return HealthReport(status, "" if status == SERVING else f"the bank at {address}: {why}", parts)


def _check_parts(channel: grpc.Channel, answer_seconds: float) -> dict[str, str]:
    """A bank of an earlier version does not have all of them."""
    parts = {}
    for part in WHY_NOT:
        try:
            parts[part] = _check(channel, part, answer_seconds)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
    return parts


def _check(channel: grpc.Channel, part: str, answer_seconds: float) -> str:
    check: grpc.UnaryUnaryMultiCallable[HealthCheckRequest, HealthCheckResponse] = channel.unary_unary(
        f"/{SERVICE.full_name}/Check", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
    )
    answer = check(HealthCheckRequest(service=part), timeout=answer_seconds)
    return HealthCheckResponse.ServingStatus.Name(answer.status)


def _failed(address: str, part: str, error: Any, answer_seconds: float) -> HealthReport:
    code = error.code()
    if code is grpc.StatusCode.NOT_FOUND:
        return HealthReport(code.name, f"the bank at {address} has no part {part}")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return HealthReport(
            code.name, f"{address} accepts connections, but no bank answers within {answer_seconds:g} s"
        )
    return HealthReport(code.name, f"no bank answers at {address}: {error.details()}")
