"""Commands on a cluster of EventStoreDB whose leader comes late: they wait for as long as their settings say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from openbank.app import serving
from tests.back_ends import BackEnd
from tests.callers import Caller, until, usd
from tests.client.proxy import proxy_of
from tests.servers import ServerProcess, run_openbank
from tests.stand_ins.eventstoredb.cluster import Cluster, cluster

LATE_SECONDS = 0.5


@pytest.fixture
async def nodes() -> AsyncIterator[Cluster]:
    async with cluster() as nodes:
        yield nodes


@pytest.fixture
async def data(nodes: Cluster, tmp_path: Path) -> Path:
    """The directory of a bank on the cluster, with its views and some money."""
    data = tmp_path / "data"
    async with serving(BackEnd(nodes.uri).settings(data)) as server, Caller(server.address) as bank:
        opened = await bank.open(initial_deposit=usd("5"))
        paid = await bank.deposit(opened.account.account_id, "1")
        assert await bank.balance(opened.account.account_id, paid.consistency_token) == "6.00 USD"
    return data


async def elect_late(nodes: Cluster) -> None:
    await asyncio.sleep(LATE_SECONDS)
    nodes.elect(nodes.others[0])


async def depose(nodes: Cluster) -> None:
    """While somebody reads the log for the second time: the first one is a part of connecting."""
    slow = nodes.leader.faults.add("slow", seconds=0.3, on=("read",), prefix="$all")
    await until(lambda: slow.struck > 1, 20)
    nodes.leader.faults.clear()
    nodes.cut_off(nodes.leader)
    await elect_late(nodes)


async def test_a_start_waits_for_a_leader_and_survives_one_that_is_deposed_meanwhile(
    nodes: Cluster, tmp_path: Path
) -> None:
    nodes.cut_off(nodes.leader)
    process = ServerProcess(tmp_path / "data", *BackEnd(nodes.uri).flags)
    await process.launch()
    await until(lambda: bool(process.said("waiting for EventStoreDB")), 20)
    await elect_late(nodes)
    await nodes.rejoin(nodes.nodes[0])
    await depose(nodes)
    await process.ready()
    async with Caller(process.address) as bank:
        await bank.open()
    assert await process.stop() == 0
    [line] = process.said("waiting for EventStoreDB")
    assert all(f"{node.address}: it knows no leader" in line["reason"] for node in nodes.nodes)


async def test_a_start_does_not_wait_for_seeds_that_are_slow_or_silent(nodes: Cluster, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        slow, silent = [await stack.enter_async_context(proxy_of(node.address)) for node in nodes.others]
        slow.delay_seconds = 3
        silent.mute()
        seeds = f"esdb://{silent.address},{slow.address},{nodes.leader.address}?Tls=false"
        process = ServerProcess(tmp_path / "data", *BackEnd(seeds).flags)
        await process.start()
        assert not process.said("waiting for EventStoreDB")
        assert await process.stop() == 0


def verify(nodes: Cluster, data: Path, *flags: str) -> Any:
    return run_openbank("verify", "--event-store", nodes.uri, "--data", str(data), *flags)


def copy(nodes: Cluster, data: Path, *flags: str) -> Any:
    return run_openbank("copy", "--from", nodes.uri, "--to", str(data.with_name("copy")), *flags)


@pytest.mark.parametrize("command", [verify, copy])
async def test_a_job_waits_for_a_leader_and_survives_one_that_is_deposed_meanwhile(
    nodes: Cluster, data: Path, command: Any
) -> None:
    running = asyncio.ensure_future(command(nodes, data))
    await depose(nodes)
    code, out, err = await running
    assert code == 0, out + err
    await nodes.rejoin(nodes.nodes[0])
    nodes.cut_off(nodes.leader)
    asked = nodes.nodes[0].faults.add("slow", on=("gossip",))
    running = asyncio.ensure_future(command(nodes, data))
    await until(lambda: asked.struck > 0, 20)
    await elect_late(nodes)
    code, out, err = await running
    assert (code, "waiting for EventStoreDB" in err) == (0, True), out + err


async def test_a_copy_survives_a_leader_of_its_target_that_is_deposed_meanwhile(nodes: Cluster, data: Path) -> None:
    async with cluster() as others:
        running = asyncio.ensure_future(run_openbank("copy", "--from", nodes.uri, "--to", others.uri))
        await depose(others)
        code, out, err = await running
        assert (code, "complete" in out) == (0, True), out + err


@pytest.mark.parametrize("command", [verify, copy])
async def test_a_job_waits_no_longer_than_its_flag_says(nodes: Cluster, data: Path, command: Any) -> None:
    nodes.cut_off(nodes.leader)
    code, out, err = await command(nodes, data, "--store-wait-seconds", "1")
    assert code == 2, out + err
    assert "waiting for EventStoreDB" in err
    last = err.splitlines()[-1]
    assert last.startswith("openbank: ")
    assert all(f"{node.address}: it knows no leader" in last for node in nodes.nodes)
