"""What an operator asks of the quarantine, and the lines that answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import grpc

from openbank.cli.asking import ANSWER_SECONDS, asking, table, time_text
from openbank.operations.v1 import quarantine_service_pb2 as messages
from openbank.operations.v1.quarantine_pb2 import QuarantinedAggregate
from openbank.operations.v1.quarantine_service_pb2_grpc import QuarantineServiceStub

LIST, SHOW, RETRY, SKIP = "list", "show", "retry", "skip"


class Wanted(NamedTuple):
    """What is to be done, as it was typed. Without an aggregate, a retry is of all of them."""

    target: str
    action: str
    aggregate: str = ""
    revision: int | None = None


def ask(wanted: Wanted) -> Sequence[str]:
    """The lines to print. Raises CommandFailed."""
    actions = {LIST: _list, SHOW: _show, RETRY: _retry, SKIP: _skip}
    with asking(wanted.target), grpc.insecure_channel(wanted.target) as channel:
        return list(actions[wanted.action](QuarantineServiceStub(channel), wanted))


def _list(stub: Any, _: Wanted) -> Iterator[str]:
    aggregates = stub.ListQuarantined(messages.ListQuarantinedRequest(), timeout=ANSWER_SECONDS).aggregates
    if not aggregates:
        yield "nothing is quarantined"
        return
    yield from table(
        [
            ("AGGREGATE", "REVISION", "SINCE", "STATE", "REASON"),
            *[
                (one.aggregate, str(one.revision), time_text(one.quarantine_time), _state(one), one.reason)
                for one in aggregates
            ],
        ]
    )


def _show(stub: Any, wanted: Wanted) -> Iterator[str]:
    request = messages.GetQuarantinedRequest(aggregate=wanted.aggregate)
    one = stub.GetQuarantined(request, timeout=ANSWER_SECONDS).aggregate
    yield f"{one.aggregate} is {_state(one)}"
    yield f"  from      revision {one.revision}, at position {one.position} of the log"
    yield f"  because   {one.reason}"
    yield f"  since     {time_text(one.quarantine_time)}"
    if one.skipped_revisions:
        yield f"  skipped   revisions {', '.join(map(str, one.skipped_revisions))}"


def _retry(stub: Any, wanted: Wanted) -> Iterator[str]:
    request = messages.RetryQuarantinedRequest(aggregate=wanted.aggregate, all_aggregates=not wanted.aggregate)
    count = stub.RetryQuarantined(request, timeout=ANSWER_SECONDS).retrying_count
    yield f"checking {wanted.aggregate or f'{count} quarantined aggregates'} again"


def _skip(stub: Any, wanted: Wanted) -> Iterator[str]:
    request = messages.SkipQuarantinedRequest(aggregate=wanted.aggregate, expected_revision=wanted.revision)
    one = stub.SkipQuarantined(request, timeout=ANSWER_SECONDS).aggregate
    yield f"skipped revision {one.revision} of {one.aggregate}, checking the rest again"


def _state(one: QuarantinedAggregate) -> str:
    return "RETRYING" if one.retrying else "QUARANTINED"
