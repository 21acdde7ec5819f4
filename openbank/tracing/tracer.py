"""The tracer. It makes a span only for a caller that sends a sampled `traceparent`; the rest costs next to nothing.

Spans leave in a thread of the library, in batches. While the collector is away some 2,000 are kept, and later ones are
dropped: traces never hold up the bank.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from importlib.metadata import version

from openbank.extras import needs
from openbank.publishing.cloudevent import CloudEvent, is_traceparent
from openbank.sinks.transport import Accepted, SendResult, Transport

with needs("otel", "--trace-endpoint"):
    from opentelemetry import trace
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased

EXPORT_SECONDS_MAX = 5.0
"""How long the collector may take to answer, and how long a stop waits for the last spans."""
SAMPLED = 1
"""The flag of a `traceparent` that asks for spans."""
FAILURES = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
"""Codes that are a server's error; all others are the caller's affair."""


class Tracer:
    def __init__(self, endpoint: str) -> None:
        """`endpoint` is where the collector takes traces over OTLP/HTTP."""
        resource = Resource.create({"service.name": "openbank", "service.version": version("openbank")})
        # Only what a caller has sampled.
        self._provider = TracerProvider(sampler=ParentBased(root=ALWAYS_OFF), resource=resource)
        # A warning for each try says no more than the error after the last one.
        logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.ERROR)
        exporter = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_SECONDS_MAX)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, export_timeout_millis=EXPORT_SECONDS_MAX * 1000))
        self._tracer = self._provider.get_tracer("openbank")

    def call(self, method: str, traceparent: str) -> CallSpan | None:
        """A span of a call that begins now; None for one that is not to be traced."""
        caller = _context(traceparent)
        if caller is None:
            return None
        attributes = {"rpc.system.name": "grpc", "rpc.method": method}
        return CallSpan(self._tracer, self._tracer.start_span(method, caller, trace.SpanKind.SERVER, attributes))

    def deliveries(self, sink: str, events: Sequence[CloudEvent], answer: SendResult, began: int) -> None:
        """Records that the events of traced calls were sent to a sink."""
        for event in events:
            caller = _context(event.traceparent)
            if caller is not None:
                attributes = {
                    "messaging.destination.name": sink,
                    "cloudevents.event_id": event.id,
                    "cloudevents.event_type": event.type,
                }
                span = self._tracer.start_span("deliver", caller, trace.SpanKind.PRODUCER, attributes, start_time=began)
                if not isinstance(answer, Accepted):
                    span.set_status(trace.StatusCode.ERROR, type(answer).__name__.upper())
                span.end()

    def traced(self, sink: str, transport: Transport) -> Transport:
        """The transport of a sink, with traces of what it delivers."""
        return TracedTransport(sink, transport, self)

    async def close(self) -> None:
        """Sends what is left."""
        await asyncio.to_thread(self._provider.shutdown)


class CallSpan:
    """See `span.Span`."""

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span

    def child(self, name: str, began: int, ended: int) -> None:
        context = trace.set_span_in_context(self._span)
        self._tracer.start_span(name, context, start_time=began).end(ended)

    def end(self, code: str) -> None:
        if not self._span.is_recording():
            return
        self._span.set_attribute("rpc.response.status_code", code)
        if code in FAILURES:
            self._span.set_status(trace.StatusCode.ERROR, code)
        self._span.end()


class TracedTransport:
    """A sink's transport whose deliveries are traced."""

    def __init__(self, sink: str, transport: Transport, tracer: Tracer) -> None:
        self.events_max, self.messages_max = transport.events_max, transport.messages_max
        self.close = transport.close
        self._sink = sink
        self._transport = transport
        self._tracer = tracer

    async def send(self, events: Sequence[CloudEvent]) -> SendResult:
        began = time.time_ns()
        answer = await self._transport.send(events)
        self._tracer.deliveries(self._sink, events, answer, began)
        return answer


def _context(traceparent: str) -> Context | None:
    """The caller's span, if there is one and it is sampled."""
    if not is_traceparent(traceparent):
        return None
    _, trace_id, span_id, flags = traceparent.split("-")
    if not int(flags, 16) & SAMPLED:
        return None
    caller = trace.SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=trace.TraceFlags(SAMPLED)
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(caller))
