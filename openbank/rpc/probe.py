"""Asks a bank for its health, as a container's health check does."""

from __future__ import annotations

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from openbank.rpc.health import SERVICE

ANSWER_SECONDS = 3.0
SERVING = "SERVING"


def probe(address: str, part: str = "") -> str:
    """SERVING, or what it is instead: NOT_SERVING, or the code that the call ended with, such as UNAVAILABLE."""
    with grpc.insecure_channel(address) as channel:
        check: grpc.UnaryUnaryMultiCallable[HealthCheckRequest, HealthCheckResponse] = channel.unary_unary(
            f"/{SERVICE}/Check", HealthCheckRequest.SerializeToString, HealthCheckResponse.FromString
        )
        try:
            answer = check(HealthCheckRequest(service=part), timeout=ANSWER_SECONDS)
        except grpc.RpcError as error:
            return str(error.code().name)
    return HealthCheckResponse.ServingStatus.Name(answer.status)
