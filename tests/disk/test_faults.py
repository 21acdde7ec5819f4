"""A disk that is full or broken: callers get an error, only what is stored is acknowledged, and the bank continues.

After a failed sync a bank may also end: it cannot know what is on the disk, and the next start finds out.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from itertools import product
from typing import Any

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.eventstore.sqlite.wal import EXIT_SYNC_FAILED
from tests.callers import Caller, refusal, refused, request_id, until_available
from tests.disk.layer import Layer
from tests.servers import ServerProcess, run_openbank

EVENTS, EVENTS_WAL, VIEWS_WAL = "/events.db", "/events.db-wal", "/views.db-wal"


@pytest.fixture
async def process(layer: Layer) -> AsyncIterator[ServerProcess]:
    process = ServerProcess(layer.root / "data", environment=layer.environment)
    await process.start()
    yield process
    await process.stop()


async def outcome(call: Any) -> Any:
    """The answer; None for what was refused because of the store, or what broke off as the bank ended."""
    try:
        return await call
    except AioRpcError as error:
        told = refusal(error)
        assert not told.details or told.reason in ("STORE_UNAVAILABLE", "OUTCOME_UNKNOWN")
        return None


async def account_with_history(process: ServerProcess, deposits: int = 5) -> str:
    """An account with so many deposits of 1, which the views have as well."""
    async with Caller(process.address) as bank:
        account_id = str((await bank.open()).account.account_id)
        for _ in range(deposits):
            paid = await bank.deposit(account_id, "1")
        await bank.balance(account_id, paid.consistency_token)
    return account_id


async def events_of(process: ServerProcess, account_id: str) -> list[Any]:
    async with Caller(process.address) as bank:
        return [event for event in await bank.account_events() if event.account_id == account_id]


@pytest.mark.parametrize(
    ("operations", "error"),
    [("w", errno.ENOSPC), ("hw", errno.ENOSPC), ("w", errno.EIO), ("hw", errno.EIO), ("w", errno.EDQUOT)],
)
async def test_writes_that_the_disk_refuses_are_unavailable_and_are_done_once_when_there_is_room_again(
    layer: Layer, process: ServerProcess, operations: str, error: int
) -> None:
    account_id = await account_with_history(process)
    async with Caller(process.address) as bank:
        names = [request_id() for _ in range(20)]
        with layer.failing(operations, error, EVENTS_WAL):
            told = await asyncio.gather(*(refused(bank.deposit(account_id, "1", request_id=name)) for name in names))
            assert {(one.code, one.reason) for one in told} == {(StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")}
            assert all("RetryInfo" in one.details for one in told)
            assert await bank.balance(account_id) == "5.00 USD"
        answers = [await bank.deposit(account_id, "1", request_id=name) for name in names]
        assert await bank.balance(account_id, answers[-1].consistency_token) == "25.00 USD"
    assert [event.request_id for event in await events_of(process, account_id)][6:] == names
    await process.kill()
    await process.start()
    assert len(await events_of(process, account_id)) == 26


async def test_without_a_request_id_a_write_of_unknown_outcome_says_so(layer: Layer, process: ServerProcess) -> None:
    account_id = await account_with_history(process)
    async with Caller(process.address) as bank:
        with layer.failing("w", errno.EIO, EVENTS_WAL):
            told = await refused(bank.deposit(account_id, "1"))
    written = len(await events_of(process, account_id)) - 6
    if told.reason == "OUTCOME_UNKNOWN":
        assert told.code is StatusCode.UNKNOWN
        assert "RetryInfo" not in told.details
    else:
        assert (told.code, told.reason, written) == (StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", 0)


@pytest.mark.parametrize("file", [EVENTS_WAL, EVENTS])
async def test_a_write_whose_sync_fails_is_not_acknowledged(layer: Layer, process: ServerProcess, file: str) -> None:
    account_id = await account_with_history(process)
    acknowledged: dict[str, str] = {}
    async with Caller(process.address) as bank:
        with layer.failing("s", errno.EIO, file, times=1):
            for name in [request_id() for _ in range(10)]:
                answer = await outcome(bank.deposit(account_id, "1", request_id=name))
                acknowledged |= {name: answer.event_id} if answer else {}
    if not await is_alive(process):
        assert await asyncio.wait_for(process.ended(), 10) == EXIT_SYNC_FAILED
        await process.start()
    found = {event.request_id: event.event_id for event in await events_of(process, account_id)}
    assert acknowledged.items() <= found.items()
    async with Caller(process.address) as bank:
        for name, event_id in acknowledged.items():
            again = await bank.deposit(account_id, "1", request_id=name)
            assert (again.replayed, again.event_id) == (True, event_id)


async def is_alive(process: ServerProcess) -> bool:
    async with Caller(process.address) as bank:
        try:
            await until_available(lambda: bank.deposit("nobody", "1"), seconds_max=2)
        except TimeoutError:
            return False
        except AioRpcError as error:
            return refusal(error).reason == "ACCOUNT_NOT_FOUND"
    raise AssertionError("nobody has an account")


async def test_a_log_that_cannot_be_read_is_unavailable_until_it_can(layer: Layer, process: ServerProcess) -> None:
    account_id = await account_with_history(process, 300)
    await process.stop()
    await process.start()
    async with Caller(process.address) as bank:
        name = request_id()
        with layer.failing("r", errno.EIO, EVENTS):
            told = await refused(bank.deposit(account_id, "1", request_id=name))
            assert (told.code, told.reason) == (StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
        assert (await bank.deposit(account_id, "1", request_id=name)).account.revision == 302


async def test_commands_continue_while_the_views_find_no_room(layer: Layer, process: ServerProcess) -> None:
    account_id = await account_with_history(process)
    async with Caller(process.address) as bank:
        with layer.failing("hw", errno.ENOSPC, VIEWS_WAL):
            paid = await bank.deposit(account_id, "1")
            request = accounts.GetAccountRequest(account_id=account_id, consistency_token=paid.consistency_token)
            told = await refused(bank.accounts.GetAccount(request))
            assert (told.code, told.reason) == (StatusCode.UNAVAILABLE, "VIEW_BEHIND")
        assert await bank.balance_in_the_end(account_id, paid.consistency_token) == "6.00 USD"


async def test_commands_continue_while_the_log_finds_no_room_for_a_checkpoint(
    layer: Layer, process: ServerProcess
) -> None:
    """They stay in the WAL, which grows."""
    account_id = await account_with_history(process)
    with layer.failing("w", errno.ENOSPC, EVENTS):
        async with Caller(process.address) as bank:
            for _ in range(100):
                await asyncio.gather(*(bank.deposit(account_id, "1", description="x" * 200) for _ in range(40)))
        assert (layer.root / "data" / "events.db-wal").stat().st_size > 4 << 20
        await process.kill()
    await process.start()
    assert len(await events_of(process, account_id)) == 6 + 4000


@pytest.mark.parametrize(
    ("file", "operations"),
    [
        *product(("/events.db.unfinished", "/events.db-epoch.unfinished", "/events.db-wal"), "cws"),
        *product(("/events.db",), "ws"),
    ],
)
async def test_a_first_start_without_room_is_one_line_and_the_next_one_starts(
    layer: Layer, file: str, operations: str
) -> None:
    data = layer.root / "data"
    with layer.failing(operations, errno.ENOSPC, file):
        code, out, err = await run_openbank(
            "serve", "--listen", "127.0.0.1:0", "--data", str(data), environment=layer.environment
        )
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    process = ServerProcess(data, environment=layer.environment)
    await process.start()
    await account_with_history(process)
    assert await process.stop() == 0


async def test_a_start_on_a_log_that_cannot_be_read_is_one_line_and_does_no_harm(
    layer: Layer, process: ServerProcess
) -> None:
    account_id = await account_with_history(process)
    await process.stop()
    with layer.failing("r", errno.EIO, EVENTS):
        code, out, err = await run_openbank(
            "serve", "--listen", "127.0.0.1:0", "--data", str(layer.root / "data"), environment=layer.environment
        )
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    await process.start()
    assert len(await events_of(process, account_id)) == 6


async def test_a_backup_without_room_is_one_line(layer: Layer, process: ServerProcess) -> None:
    await account_with_history(process)
    copy = layer.root / "copy.db"
    with layer.failing("w", errno.ENOSPC, "/copy.db.unfinished"):
        code, out, err = await run_openbank(
            "backup", str(copy), "--data", str(layer.root / "data"), environment=layer.environment
        )
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert not copy.exists()


async def test_views_that_cannot_be_read_are_unavailable_but_not_lost(layer: Layer, process: ServerProcess) -> None:
    account_id = await account_with_history(process)
    # A start reads the last event that the views have. These put it pages away from the first account's.
    async with Caller(process.address) as bank:
        other_id = (await bank.open()).account.account_id
        for _ in range(30):
            await bank.deposit(other_id, "1", description="x" * 500)
    await process.stop()
    await process.start()
    async with Caller(process.address) as bank:
        with layer.failing("r", errno.EIO, "/views.db"):
            told = await refused(
                bank.accounts.ListAccountEvents(accounts.ListAccountEventsRequest(account_id=account_id))
            )
            assert (told.code, told.reason) == (StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
            # The log is another file.
            await bank.deposit(account_id, "1")
    await process.stop()
    await process.start()
    async with Caller(process.address) as bank:
        paid = await bank.deposit(account_id, "1")
        assert await bank.balance_in_the_end(account_id, paid.consistency_token) == "7.00 USD"
