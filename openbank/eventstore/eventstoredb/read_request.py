"""Requests to read, with what esdbclient's own calls cannot ask for: names of streams by their prefixes.

The server compiles a regular expression at each call, which takes it as long as reading hundreds of events.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from esdbclient.protos.Grpc import streams_pb2
from esdbclient.streams import AsyncStreamsService


def read_request(*, prefixes: Sequence[str] = (), **options: Any) -> streams_pb2.ReadReq:
    """With `prefixes`, the streams whose names begin with one of them; the rest as esdbclient's `read` takes it."""
    if not prefixes:
        return AsyncStreamsService._construct_read_request(**options)
    # A filter with its windows; what it names is replaced.
    request = AsyncStreamsService._construct_read_request(**options, filter_include=("-",), filter_by_stream_name=True)
    chosen = request.options.filter.stream_identifier
    chosen.ClearField("regex")
    chosen.prefix.extend(prefixes)
    return request
