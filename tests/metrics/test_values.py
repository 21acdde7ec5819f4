"""What the metrics say after something has happened, and what they never say."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.eventstore.port import LogPosition
from openbank.metrics.families import FAMILIES
from openbank.rpc.services import DESCRIPTORS
from openbank.views.rebuild import Filling, RebuildRecord
from openbank.views.rebuilder import Rebuilder
from tests.callers import Caller, refused, request_id
from tests.metrics.scraping import families, samples, value

DEPOSIT = "openbank.accounts.v1.AccountsService/Deposit"
DEPOSITED = "openbank.accounts.v1.MoneyDeposited"
DURATION = "rpc_server_call_duration_seconds"


async def test_calls_are_timed_by_method_and_code(bank: Caller, metrics: str) -> None:
    account_id = (await bank.open()).account.account_id
    for amount in ("1", "2", "3"):
        await bank.deposit(account_id, amount)
    await refused(bank.deposit("nobody", "1"))
    counts = await samples(metrics, f"{DURATION}_count")
    assert counts[DEPOSIT, "OK"] == 3
    assert counts[DEPOSIT, "NOT_FOUND"] == 1
    assert 0 < await value(metrics, f"{DURATION}_sum", DEPOSIT, "OK") < 60
    assert await value(metrics, f"{DURATION}_bucket", "+Inf", DEPOSIT, "OK") == 3
    assert await value(metrics, "openbank_refusals_total", "ACCOUNT_NOT_FOUND") == 1


async def test_an_unknown_method_counts_as_other(bank: Caller, metrics: str) -> None:
    for number in range(3):
        call: Any = bank.channel.unary_unary(f"/{'x' * number}Service/Method{number}")
        try:
            await call(b"")
        except grpc.aio.AioRpcError as error:
            assert error.code() is grpc.StatusCode.UNIMPLEMENTED  # noqa: PT017 - what gRPC answers
    counts = await samples(metrics, f"{DURATION}_count")
    assert counts["_OTHER", "UNIMPLEMENTED"] == 3
    ours = {f"{service.full_name}/{method.name}" for service in DESCRIPTORS for method in service.methods}
    assert {method for method, _ in counts} == {*ours, "_OTHER"}


async def test_events_and_commits_are_counted(bank: Caller, metrics: str) -> None:
    before = await value(metrics, "openbank_log_position")
    account_id = (await bank.open()).account.account_id
    await asyncio.gather(*(bank.deposit(account_id, "1") for _ in range(20)))
    appended = await samples(metrics, "openbank_events_appended_total")
    assert appended[DEPOSITED,] == 20
    # A claim of the email and a reservation of the number are events, too.
    assert await value(metrics, "openbank_log_position") - before == sum(appended.values())
    commits = await value(metrics, "openbank_commit_duration_seconds_count")
    assert 0 < commits <= sum(appended.values())
    assert await value(metrics, "openbank_commit_size_events_sum") == sum(appended.values())
    assert await value(metrics, "openbank_sync_duration_seconds_count") >= commits
    assert await value(metrics, "openbank_aggregates_cached", "accounts") == 1


async def test_a_replay_is_counted(bank: Caller, metrics: str) -> None:
    account_id, id = (await bank.open()).account.account_id, request_id()
    assert not (await bank.deposit(account_id, "1", request_id=id)).replayed
    assert (await bank.deposit(account_id, "1", request_id=id)).replayed
    assert await value(metrics, "openbank_replayed_requests_total") == 1
    assert (await samples(metrics, "openbank_events_appended_total"))[DEPOSITED,] == 1


async def test_watches_are_counted_and_how_they_end(bank: Caller, metrics: str) -> None:
    await bank.open()
    request = accounts.WatchAccountEventsRequest(beginning=Empty(), stop_when_caught_up=True)
    async for _ in bank.accounts.WatchAccountEvents(request):
        pass
    watch = bank.accounts.WatchAccountEvents(accounts.WatchAccountEventsRequest(beginning=Empty()))
    await watch.read()
    assert await value(metrics, "openbank_watches") == 1
    watch.cancel()
    async with asyncio.timeout(5):
        while await value(metrics, "openbank_watches"):
            pass
    ends = await samples(metrics, "openbank_watch_ends_total")
    assert {cause: count for (cause,), count in ends.items() if count} == {"CAUGHT_UP": 1, "CLIENT_LEFT": 1}


async def test_counters_begin_at_zero(metrics: str) -> None:
    refusals = await samples(metrics, "openbank_refusals_total")
    assert set(refusals.values()) == {0}
    assert ("SLOW_CONSUMER",) in await samples(metrics, "openbank_watch_ends_total")


async def test_no_series_comes_of_what_callers_send(bank: Caller, metrics: str) -> None:
    """Ids, names and texts of callers are no label, however many they send."""
    account_id = (await bank.open()).account.account_id
    await bank.deposit(account_id, "1")
    await refused(bank.deposit("nobody", "1"))
    before = await series(metrics)
    for number in range(10):
        await bank.deposit((await bank.open()).account.account_id, "1", request_id=request_id())
        await refused(bank.deposit(f"secret-{number}", "1"))
        await refused(bank.accounts.GetAccount(accounts.GetAccountRequest(account_id=f"secret-{number}")))
    new = {key: labels for key, labels in (await series(metrics)).items() if key not in before}
    assert {labels["rpc_method"] for labels in new.values()} <= {"openbank.accounts.v1.AccountsService/GetAccount"}
    assert not any("secret" in text for labels in (await series(metrics)).values() for text in labels.values())


async def series(address: str) -> Mapping[str, Mapping[str, str]]:
    return {
        f"{sample.name} {sorted(sample.labels.items())}": sample.labels
        for family in await families(address)
        for sample in family.samples
    }


async def test_a_rebuild_is_shown_as_far_as_it_has_come(
    bank: Caller, metrics: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = (await bank.open()).consistency_token
    await bank.balance((await bank.open()).account.account_id, token)
    assert await value(metrics, "openbank_view_rebuild_ratio") == 1
    record = RebuildRecord(0, LogPosition(2, "account-1", 1))
    monkeypatch.setattr(Rebuilder, "filling", lambda _: Filling(record, None, None))
    head = await value(metrics, "openbank_log_position")
    async with asyncio.timeout(5):
        while await value(metrics, "openbank_view_rebuild_ratio") != pytest.approx(2 / head):
            pass
    monkeypatch.setattr(Rebuilder, "filling", lambda _: Filling(record._replace(end_time=1), None, None))
    assert await value(metrics, "openbank_view_rebuild_ratio") == 1


def test_names_of_metrics_begin_with_openbank_and_end_with_the_unit() -> None:
    names = [family.name for family in FAMILIES]
    assert names[0] == DURATION
    assert all(name.startswith("openbank_") for name in names[1:])
    assert len(set(names)) == len(names)
    assert {name for name in names if name.endswith("_total")} == {
        family.name for family in FAMILIES if family.type.value == "counter"
    }
