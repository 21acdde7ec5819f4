"""Which events of $all a reader wants."""

import re
from collections.abc import Callable

from esdbclient.protos.Grpc import streams_pb2

from tests.stand_ins.eventstoredb.log import Record
from tests.stand_ins.eventstoredb.messages import BadRequest

FilterOptions = streams_pb2.ReadReq.Options.FilterOptions
Wanted = Callable[[Record], bool]


def wanted_by(options: FilterOptions) -> Wanted:
    matches = matching(options.event_type if options.HasField("event_type") else options.stream_identifier)
    if options.HasField("event_type"):
        return lambda record: matches(record.type)
    return lambda record: matches(record.stream)


def matching(expression: FilterOptions.Expression) -> Callable[[str], bool]:
    if expression.regex:
        search = compiled(expression.regex).search
        return lambda text: search(text) is not None
    prefixes = tuple(expression.prefix)
    return lambda text: text.startswith(prefixes)


def compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise BadRequest(str(error)) from None


def everything(record: Record) -> bool:
    return True
