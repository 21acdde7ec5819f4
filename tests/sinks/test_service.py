"""Sinks as an operator meets them: a running bank, its service and its command."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
import pytest

from openbank.app import serving
from openbank.config import Settings
from openbank.operations.v1 import sink_pb2
from openbank.operations.v1 import sinks_service_pb2 as messages
from openbank.operations.v1.sinks_service_pb2_grpc import SinksServiceStub
from openbank.server import Server
from openbank.sinks.address import parse_all
from tests.back_ends import BackEnd
from tests.callers import Caller, refused, until
from tests.servers import run_openbank
from tests.sinks import processes
from tests.sinks.processes import HttpReceiver, arrived, assert_in_order, recorded

NOBODY = "http://me:secret@127.0.0.1:1/events?key=secret"


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[HttpReceiver]:
    with HttpReceiver(tmp_path / "received") as receiver:
        yield receiver


@pytest.fixture
def settings(back_end: BackEnd, receiver: HttpReceiver, tmp_path: Path) -> Settings:
    addresses = parse_all([f"crm={receiver.uri}/events#mode=batched", f"down={NOBODY}"])
    return back_end.settings(tmp_path / "data", drain_seconds=5, sink=addresses, sink_retry_seconds_max=0.2)


@pytest.fixture
async def sinks(bank: Caller) -> Any:
    return SinksServiceStub(bank.channel)


async def crm(sinks: Any) -> messages.GetSinkResponse:
    response: messages.GetSinkResponse = await sinks.GetSink(messages.GetSinkRequest(sink="crm"))
    return response


async def parked(bank: Caller, receiver: HttpReceiver, sinks: Any) -> str:
    """The name of an account with five events, of which the sink refuses the third."""
    account_id = (await bank.open()).account.account_id
    paid = await bank.deposit(account_id, "1")
    await arrived(receiver, await recorded(bank, paid.consistency_token))
    receiver.kill()
    poison = (await bank.deposit(account_id, "2")).event_id
    receiver.refuse(poison)
    for _ in range(2):
        await bank.deposit(account_id, "3")
    receiver.start()
    await until_crm(sinks, lambda crm: bool(crm.parked_aggregates) and caught_up(crm))
    return f"account-{account_id}"


def caught_up(crm: messages.GetSinkResponse) -> bool:
    return crm.sink.state == sink_pb2.SINK_STATE_CAUGHT_UP


async def until_crm(sinks: Any, condition: Callable[[messages.GetSinkResponse], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition(await crm(sinks)):  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.02)


async def cleared(sinks: Any) -> None:
    """Until nothing is parked any more."""
    await until_crm(sinks, lambda crm: not crm.parked_aggregates)


async def test_a_sink_is_listed_with_how_far_it_has_come(bank: Caller, receiver: HttpReceiver, sinks: Any) -> None:
    opened = await bank.open()
    await arrived(receiver, await recorded(bank, opened.consistency_token))
    await until_crm(sinks, caught_up)
    response = await sinks.ListSinks(messages.ListSinksRequest())
    up, down = response.sinks
    assert (up.name, up.address, up.lag_events, up.parked_count) == ("crm", f"{receiver.uri}/events", 0, 0)
    assert up.state == sink_pb2.SINK_STATE_CAUGHT_UP
    assert not up.trouble
    assert (down.name, down.address) == ("down", "http://127.0.0.1:1/events")
    assert down.state == sink_pb2.SINK_STATE_WAITING
    assert down.trouble == "cannot connect: Connection refused"
    assert down.lag_events == 2
    assert "secret" not in str(response)


async def test_a_poison_event_parks_its_aggregate_and_a_retry_sends_it(
    bank: Caller, receiver: HttpReceiver, sinks: Any
) -> None:
    aggregate = await parked(bank, receiver, sinks)
    opened = await bank.open()
    other = opened.account.account_id
    response = await crm(sinks)
    [held] = response.parked_aggregates
    assert (held.aggregate, held.revision, held.retrying) == (aggregate, 3, False)
    assert held.reason == "HTTP 422 Unprocessable Entity"
    assert held.park_time.seconds > 0
    everything = await recorded(bank, opened.consistency_token)
    await arrived(receiver, {one for one in everything if one.aggregate == f"account-{other}"})
    receiver.refuse()
    again = await sinks.RetryParked(messages.RetryParkedRequest(sink="crm", aggregate=aggregate))
    assert again.retrying_count == 1
    await arrived(receiver, everything)
    assert_in_order(receiver.received)
    await cleared(sinks)


async def test_a_skip_leaves_out_one_event_or_all(bank: Caller, receiver: HttpReceiver, sinks: Any) -> None:
    aggregate = await parked(bank, receiver, sinks)
    request = messages.SkipParkedRequest(sink="crm", aggregate=aggregate, expected_revision=3)
    assert (await sinks.SkipParked(request)).parked_aggregate.revision == 4
    everything = await recorded(bank)
    await arrived(receiver, {one for one in everything if (one.aggregate, one.revision) != (aggregate, 3)})
    assert (aggregate, 3) not in {(one.aggregate, one.revision) for one in receiver.received}
    await cleared(sinks)
    assert (await refused(sinks.SkipParked(request))).reason == "AGGREGATE_NOT_PARKED"


async def test_an_aggregate_that_the_sink_fails_on_is_parked_by_the_command_and_all_others_flow_on(
    server: Server, bank: Caller, receiver: HttpReceiver, sinks: Any
) -> None:
    account_id = (await bank.open()).account.account_id
    aggregate = f"account-{account_id}"
    await until_crm(sinks, caught_up)
    receiver.kill()
    receiver.fail((await bank.deposit(account_id, "1")).event_id)
    receiver.start()
    await until_crm(sinks, lambda crm: crm.sink.trouble_aggregate == aggregate)
    stuck = (await crm(sinks)).sink
    assert (stuck.state, stuck.trouble_revision) == (sink_pb2.SINK_STATE_WAITING, 2)
    at = ("--target", server.address)
    code, out, _ = await run_openbank("sinks", "show", "crm", *at)
    assert "  because   HTTP 500 Internal Server Error, since 20" in out
    assert f"            at revision 2 of {aggregate}\n" in out
    code, out, _ = await run_openbank("sinks", "park", "crm", aggregate, *at)
    assert (code, out) == (0, f"{aggregate} is parked at crm from revision 2\n")
    opened = await bank.open()
    everything = await recorded(bank, opened.consistency_token)
    await arrived(receiver, {one for one in everything if (one.aggregate, one.revision) != (aggregate, 2)})
    await until_crm(sinks, caught_up)
    code, out, _ = await run_openbank("sinks", "show", "crm", *at)
    assert f"{aggregate} from revision 2: parked by an operator, 20" in out
    receiver.fail()
    await sinks.RetryParked(messages.RetryParkedRequest(sink="crm", aggregate=aggregate))
    await arrived(receiver, everything)
    assert_in_order(receiver.received)


async def test_an_aggregate_whose_events_arrived_cannot_be_parked(
    bank: Caller, receiver: HttpReceiver, sinks: Any
) -> None:
    opened = await bank.open()
    await arrived(receiver, await recorded(bank, opened.consistency_token))
    await until_crm(sinks, caught_up)
    aggregate = f"account-{opened.account.account_id}"
    answer = await refused(sinks.ParkAggregate(messages.ParkAggregateRequest(sink="crm", aggregate=aggregate)))
    assert (answer.code, answer.reason) == (grpc.StatusCode.NOT_FOUND, "AGGREGATE_NOT_WAITING")
    assert answer.metadata == {"sink": "crm", "aggregate": aggregate}
    nameless = await refused(sinks.ParkAggregate(messages.ParkAggregateRequest()))
    assert nameless.violations == {"sink": "FIELD_REQUIRED", "aggregate": "FIELD_REQUIRED"}


async def test_a_skip_of_all_while_the_sink_is_away_is_honoured(
    server: Server, bank: Caller, receiver: HttpReceiver, sinks: Any
) -> None:
    aggregate = await parked(bank, receiver, sinks)
    receiver.kill()
    await sinks.RetryParked(messages.RetryParkedRequest(sink="crm", aggregate=aggregate))
    await until_crm(sinks, lambda crm: crm.sink.state == sink_pb2.SINK_STATE_WAITING)
    code, out, _ = await run_openbank("sinks", "skip", "crm", aggregate, "--all", "--target", server.address)
    assert (code, out) == (
        0,
        f"crm is left without what was recorded of {aggregate} until now, and is sent what comes\n",
    )
    receiver.refuse()
    receiver.start()
    await cleared(sinks)
    paid = await bank.deposit(aggregate.removeprefix("account-"), "4")
    everything = await recorded(bank, paid.consistency_token)
    await arrived(receiver, {one for one in everything if one.aggregate == aggregate and one.revision > 5})
    assert {one.revision for one in receiver.received if one.aggregate == aggregate} == {1, 2, 6}


async def test_an_event_that_fails_for_too_long_is_parked_and_stays_parked_after_a_kill(
    receiver: HttpReceiver, tmp_path: Path
) -> None:
    flags = ("--sink", f"crm={receiver.uri}#park_after=0.5", "--sink-retry-seconds-max", "0.2")
    async with processes.serving(tmp_path / "data", *flags) as bank, Caller(bank.address) as caller:
        sinks: Any = SinksServiceStub(caller.channel)
        opened = await caller.open()
        await arrived(receiver, await recorded(caller, opened.consistency_token))
        receiver.kill()
        failing = await caller.deposit(opened.account.account_id, "1")
        receiver.fail(failing.event_id)
        receiver.start()
        await until_crm(sinks, lambda crm: bool(crm.parked_aggregates) and caught_up(crm))
        [held] = (await crm(sinks)).parked_aggregates
        assert (held.aggregate, held.revision) == (f"account-{opened.account.account_id}", 2)
        assert held.reason == "HTTP 500 Internal Server Error, for 0.5 s, while other events are accepted"
        await bank.kill()
        await bank.start()
        async with Caller(bank.address) as again:
            other = await again.open()
            everything = await recorded(again, other.consistency_token)
            await arrived(receiver, {one for one in everything if one.id != failing.event_id})
            assert (await crm(SinksServiceStub(again.channel))).parked_aggregates == [held]


async def test_refusals_name_what_is_wrong(bank: Caller, receiver: HttpReceiver, sinks: Any) -> None:
    aggregate = await parked(bank, receiver, sinks)
    unknown = await refused(sinks.GetSink(messages.GetSinkRequest(sink="other")))
    assert (unknown.code, unknown.reason) == (grpc.StatusCode.NOT_FOUND, "SINK_NOT_FOUND")
    assert unknown.metadata == {"sink": "other"}
    free = await refused(sinks.RetryParked(messages.RetryParkedRequest(sink="crm", aggregate="account-1")))
    assert (free.code, free.reason) == (grpc.StatusCode.NOT_FOUND, "AGGREGATE_NOT_PARKED")
    assert free.metadata == {"sink": "crm", "aggregate": "account-1"}
    nameless = await refused(sinks.SkipParked(messages.SkipParkedRequest(expected_revision=0)))
    assert nameless.violations == {
        "sink": "FIELD_REQUIRED",
        "aggregate": "FIELD_REQUIRED",
        "expected_revision": "INVALID_EXPECTED_REVISION",
    }
    long = await refused(sinks.GetSink(messages.GetSinkRequest(sink="x" * 201)))
    assert long.violations == {"sink": "FIELD_TOO_LONG"}
    far = await refused(sinks.GetSink(messages.GetSinkRequest(sink="\N{OGHAM SPACE MARK}\U0001f3e6" * 99)))
    assert far.size <= 4096
    stale = messages.SkipParkedRequest(sink="crm", aggregate=aggregate, expected_revision=2)
    answer = await refused(sinks.SkipParked(stale))
    assert (answer.code, answer.reason) == (grpc.StatusCode.ABORTED, "REVISION_MISMATCH")
    assert answer.metadata == {"aggregateId": aggregate, "expectedRevision": "2", "actualRevision": "3"}


async def test_the_command_says_all_of_it(server: Server, bank: Caller, receiver: HttpReceiver, sinks: Any) -> None:
    aggregate = await parked(bank, receiver, sinks)
    at = ("--target", server.address)
    code, out, _ = await run_openbank("sinks", "list", *at)
    heading, up, down = out.splitlines()
    assert (code, heading.split()) == (0, ["NAME", "STATE", "BEHIND", "PARKED", "ADDRESS"])
    assert up.split() == ["crm", "CAUGHT_UP", "-", "1", f"{receiver.uri}/events"]
    assert down.startswith("down  WAITING    6 events, ")
    code, out, _ = await run_openbank("sinks", "show", "crm", *at)
    assert f"{aggregate} from revision 3: HTTP 422 Unprocessable Entity, 20" in out
    code, out, _ = await run_openbank("sinks", "skip", "crm", aggregate, "--revision", "3", *at)
    assert (code, out) == (0, f"crm is left without revision 3 of {aggregate}, and is sent the rest\n")
    await cleared(sinks)
    code, _, err = await run_openbank("sinks", "retry", "crm", aggregate, *at)
    assert (code, err) == (1, f"openbank: AGGREGATE_NOT_PARKED: {aggregate} is not parked at the sink crm\n")
    code, out, _ = await run_openbank("sinks", "retry", "crm", "--all", *at)
    assert (code, out) == (0, "crm is sent the events of 0 parked aggregates again\n")


async def test_health_and_callers_do_not_notice_a_sink_that_is_down(server: Server, bank: Caller) -> None:
    opened = await bank.open()
    paid = await bank.deposit(opened.account.account_id, "1")
    assert await bank.balance(opened.account.account_id, paid.consistency_token) == "1.00 USD"
    code, out, _ = await run_openbank("health", "--target", server.address)
    assert (code, {line.split()[-1] for line in out.splitlines()}) == (0, {"SERVING"})


async def test_a_bank_without_sinks_says_so_and_keeps_no_record(back_end: BackEnd, tmp_path: Path) -> None:
    async with serving(back_end.settings(tmp_path / "other", drain_seconds=5)) as server:
        code, out, _ = await run_openbank("sinks", "list", "--target", server.address)
    assert (code, out) == (0, "no sinks: openbank serve --sink NAME=URL\n")
    assert "sinks.db" not in os.listdir(tmp_path / "other")


async def test_records_survive_the_views_and_a_changed_address(receiver: HttpReceiver, tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with processes.serving(data, "--sink", f"crm={receiver.uri}/old") as bank, Caller(bank.address) as caller:
        opened = await caller.open()
        before = await recorded(caller, opened.consistency_token)
        await arrived(receiver, before)
        await until_crm(SinksServiceStub(caller.channel), caught_up)
    for name in os.listdir(data):
        if name.startswith("views.db"):
            os.remove(data / name)
    new = f"crm={receiver.uri}/new#start=beginning"
    async with processes.serving(data, "--sink", new) as bank, Caller(bank.address) as caller:
        registered = await caller.register()
        await arrived(receiver, await recorded(caller, registered.consistency_token))
    assert len(receiver.received) == len(before) + 1, "nothing of what it had came again"


async def test_no_line_of_the_log_and_no_record_holds_a_secret(tmp_path: Path) -> None:
    flags = "--sink", NOBODY, "--sink", "bus=nats://me:secret@127.0.0.1:1"
    async with processes.serving(tmp_path / "data", *flags) as bank:
        async with Caller(bank.address) as caller:
            await caller.open()
        await until(lambda: len(bank.said("sink waits")) >= 2, seconds_max=30)
        assert {line["sink"] for line in bank.said("sink waits")} == {"http://127.0.0.1:1/events", "bus"}
        assert await bank.stop() == 0
        assert "secret" not in str(bank.lines)
        assert "john.doe@example.com" not in str(bank.lines)
    with closing(sqlite3.connect(tmp_path / "data" / "sinks.db")) as records:
        assert "secret" not in str(records.execute("SELECT * FROM sinks").fetchall())


async def test_an_impossible_sink_is_refused_at_start(tmp_path: Path) -> None:
    code, _, err = await run_openbank("serve", "--data", str(tmp_path), "--sink", "ftp://me:secret@crm.example")
    assert code == 2
    assert err.startswith("openbank: --sink must be URL or NAME=URL")
    assert "secret" not in err
