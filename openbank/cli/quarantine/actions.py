"""An operator's questions and commands about the quarantine, and the lines printed in answer."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from openbank.cli.asking import ANSWER_SECONDS, Action, print_answer, table, time_text
from openbank.cli.connection import Connection
from openbank.operations.v1 import quarantine_service_pb2 as messages
from openbank.operations.v1.quarantine_pb2 import QuarantinedAggregate
from openbank.operations.v1.quarantine_service_pb2_grpc import QuarantineServiceStub


def ask(bank: Connection, flags: Namespace) -> int:
    """Runs what was typed and prints the answer. Returns the exit code. Raises CommandFailed."""
    actions: dict[str, Action] = {"list": _list, "show": _show, "retry": _retry, "skip": _skip}
    return print_answer(bank, QuarantineServiceStub, actions[flags.action], flags)


def _list(stub: Any, _: Namespace) -> Iterator[str]:
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


def _show(stub: Any, flags: Namespace) -> Iterator[str]:
    request = messages.GetQuarantinedRequest(aggregate=flags.aggregate)
    one = stub.GetQuarantined(request, timeout=ANSWER_SECONDS).aggregate
    yield f"{one.aggregate} is {_state(one)}"
    yield f"  from      revision {one.revision}, at position {one.position} of the log"
    yield f"  because   {one.reason}"
    yield f"  since     {time_text(one.quarantine_time)}"
    if one.skipped_revisions:
        yield f"  skipped   revisions {', '.join(map(str, one.skipped_revisions))}"


def _retry(stub: Any, flags: Namespace) -> Iterator[str]:
    request = messages.RetryQuarantinedRequest(aggregate=flags.aggregate, all_aggregates=not flags.aggregate)
    count = stub.RetryQuarantined(request, timeout=ANSWER_SECONDS).retrying_count
    yield f"checking {flags.aggregate or f'{count} quarantined aggregates'} again"


def _skip(stub: Any, flags: Namespace) -> Iterator[str]:
    request = messages.SkipQuarantinedRequest(aggregate=flags.aggregate, expected_revision=flags.revision)
    one = stub.SkipQuarantined(request, timeout=ANSWER_SECONDS).aggregate
    yield f"skipped revision {one.revision} of {one.aggregate}, checking the rest again"


def _state(one: QuarantinedAggregate) -> str:
    return "RETRYING" if one.retrying else "QUARANTINED"
