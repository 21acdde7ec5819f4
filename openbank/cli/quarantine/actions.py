"""An operator's questions and commands about the quarantine, and the lines printed in answer."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import Any

from openbank.cli.bank import RemoteBank
from openbank.cli.output.printout import Printout, in_words
from openbank.cli.output.words import table, time_text
from openbank.operations.v1 import quarantine_service_pb2 as messages
from openbank.operations.v1.quarantine_pb2 import QuarantinedAggregate
from openbank.operations.v1.quarantine_service_pb2_grpc import QuarantineServiceStub


def _list(bank: RemoteBank, _: Namespace) -> Printout:
    response = bank.ask(_stub(bank).ListQuarantined, messages.ListQuarantinedRequest())
    return in_words(response, _overview(response.aggregates), "aggregates")


def _overview(aggregates: Sequence[QuarantinedAggregate]) -> Iterator[str]:
    if not aggregates:
        yield "nothing is quarantined"
        return
    rows = [("AGGREGATE", "REVISION", "SINCE", "STATE", "REASON")]
    rows += [
        (one.aggregate, str(one.revision), time_text(one.quarantine_time), _state(one), one.reason)
        for one in aggregates
    ]
    yield from table(rows)


def _show(bank: RemoteBank, flags: Namespace) -> Printout:
    response = bank.ask(_stub(bank).GetQuarantined, messages.GetQuarantinedRequest(aggregate=flags.aggregate))
    return in_words(response, _details(response.aggregate), "aggregate")


def _details(one: QuarantinedAggregate) -> Iterator[str]:
    yield f"{one.aggregate} is {_state(one)}"
    yield f"  from      revision {one.revision}, at position {one.position} of the log"
    yield f"  because   {one.reason}"
    yield f"  since     {time_text(one.quarantine_time)}"
    if one.skipped_revisions:
        yield f"  skipped   revisions {', '.join(map(str, one.skipped_revisions))}"


def _retry(bank: RemoteBank, flags: Namespace) -> Printout:
    request = messages.RetryQuarantinedRequest(aggregate=flags.aggregate, all_aggregates=not flags.aggregate)
    response = bank.ask(_stub(bank).RetryQuarantined, request)
    what = flags.aggregate or f"{response.retrying_count} quarantined aggregates"
    return in_words(response, [f"checking {what} again"])


def _skip(bank: RemoteBank, flags: Namespace) -> Printout:
    request = messages.SkipQuarantinedRequest(aggregate=flags.aggregate, expected_revision=flags.revision)
    response = bank.ask(_stub(bank).SkipQuarantined, request)
    one = response.aggregate
    return in_words(response, [f"skipped revision {one.revision} of {one.aggregate}, checking the rest again"])


def _stub(bank: RemoteBank) -> Any:
    return QuarantineServiceStub(bank.channel)


def _state(one: QuarantinedAggregate) -> str:
    return "RETRYING" if one.retrying else "QUARANTINED"


ACTIONS = {"list": _list, "show": _show, "retry": _retry, "skip": _skip}
