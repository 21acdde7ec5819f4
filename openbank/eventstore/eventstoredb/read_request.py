"""Read requests that esdbclient's own calls cannot make: filters by prefixes of streams' names.

esdbclient filters by regular expressions. The server compiles one at each call, which takes as long as reading hundreds
of events.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from esdbclient.protos.Grpc import streams_pb2
from esdbclient.streams import AsyncStreamsService


def read_request(
    *, prefixes: Sequence[str] = (), type_prefixes: Sequence[str] = (), **options: Any
) -> streams_pb2.ReadReq:
    """With `prefixes`, the streams whose names begin with one of them; with `type_prefixes`, the events whose types do;
    the rest as esdbclient's `read` takes it."""
    if not prefixes and not type_prefixes:
        return AsyncStreamsService._construct_read_request(**options)
    # A filter with its windows; what it names is replaced.
    request = AsyncStreamsService._construct_read_request(
        **options, filter_include=("-",), filter_by_stream_name=bool(prefixes)
    )
    named = request.options.filter
    chosen = named.stream_identifier if prefixes else named.event_type
    chosen.ClearField("regex")
    chosen.prefix.extend(prefixes or type_prefixes)
    return request
