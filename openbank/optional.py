"""Parts that a bank has only if a setting asks for them. Each is imported late: others need not have it installed."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from openbank.config import Settings
from openbank.extras import needs
from openbank.sinks.address import NATS, SinkAddress
from openbank.sinks.transport import Transport

if TYPE_CHECKING:
    from openbank.metrics.endpoint import Endpoint
    from openbank.tracing.tracer import Tracer


async def open_metrics(stack: AsyncExitStack, settings: Settings) -> Endpoint | None:
    """The port for operators, if a setting asks for it. Raises CannotListen."""
    if not settings.metrics_listen:
        return None
    from openbank.metrics.endpoint import listening

    return await stack.enter_async_context(listening(settings.metrics_listen))


async def open_tracer(stack: AsyncExitStack, settings: Settings) -> Tracer | None:
    """The tracer, if a setting asks for it. Raises ExtraMissing."""
    if not settings.trace_endpoint:
        return None
    from openbank.tracing.tracer import Tracer

    tracer = Tracer(settings.trace_endpoint)
    stack.push_async_callback(tracer.close)
    return tracer


def open_transport(address: SinkAddress, timeout_seconds: float) -> Transport:
    """The way to a sink. Raises ExtraMissing."""
    if address.scheme != NATS:
        from openbank.sinks.http import HttpTransport

        return HttpTransport(address, timeout_seconds)
    with needs("nats", f"the sink {address.name}"):
        from openbank.sinks.nats import NatsTransport
    return NatsTransport(address, timeout_seconds)
