"""Asks a bank for its health, as a container's health check does, and finds out why there is no answer."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from openbank.rpc.health import COMMANDS, FEEDS, QUARANTINE, QUERIES, SERVICE, VERSION

ANSWER_SECONDS = 3.0
CONNECT_SECONDS = 1.0
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


def probe(address: str, part: str = "") -> HealthReport:
    """`address` is HOST:PORT; without `part` the whole is asked for."""
    with grpc.insecure_channel(address) as channel:
        try:
            status = _check(channel, part)
            parts = {} if part else _check_parts(channel)
        except grpc.RpcError as error:
            return _failed(address, part, error)
    why = WHY_NOT.get(
        part,
        "it is starting or stopping, cannot reach its stores, or does not find its log there; its own log says which",
    )
    return HealthReport(status, "" if status == SERVING else f"the bank at {address}: {why}", parts)


def _check_parts(channel: grpc.Channel) -> dict[str, str]:
    """A bank of an earlier version does not have all of them."""
    parts = {}
    for part in WHY_NOT:
        try:
            parts[part] = _check(channel, part)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
    return parts


def _check(channel: grpc.Channel, part: str) -> str:
    check: grpc.UnaryUnaryMultiCallable[HealthCheckRequest, HealthCheckResponse] = channel.unary_unary(
        f"/{SERVICE.full_name}/Check", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
    )
    answer = check(HealthCheckRequest(service=part), timeout=ANSWER_SECONDS)
    return HealthCheckResponse.ServingStatus.Name(answer.status)


def _failed(address: str, part: str, error: Any) -> HealthReport:
    code = error.code()
    if code is grpc.StatusCode.NOT_FOUND:
        return HealthReport(code.name, f"the bank at {address} has no part {part}")
    why = _unreachable(address) if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED) else ""
    if not why and code is grpc.StatusCode.DEADLINE_EXCEEDED:
        why = f"{address} accepts connections, but no bank answers within {ANSWER_SECONDS:g} s"
    return HealthReport(code.name, why or f"no bank answers at {address}: {error.details()}")


def _unreachable(address: str) -> str:
    """Why there is no plain connection to an address, HOST:PORT; empty where there is one."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        connection = socket.create_connection((host, int(port)), CONNECT_SECONDS)
    except ConnectionRefusedError:
        return f"nothing listens on port {port} of {host}"
    except (socket.gaierror, UnicodeError):
        return f"the name {host} is unknown"
    except TimeoutError:
        return f"{address} does not accept connections: no answer within {CONNECT_SECONDS:g} s"
    except OSError as error:
        return f"cannot connect to {address}: {error.strerror}"
    with connection:
        return f"{address} expects TLS, and this is a connection without" if _speaks_tls(connection) else ""


def _speaks_tls(connection: socket.socket) -> bool:
    """Whatever its certificate is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with context.wrap_socket(connection):
            return True
    except (OSError, ValueError):
        return False
