"""Calls that are sent until the bank has decided: a deposit is made once, whatever lies in between."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub
from openbank.client import BankError, Retry, Violation, call, call_sync
from openbank.server import Server
from tests.callers import SOON, Caller, until, usd
from tests.client.proxy import Proxy, proxy_of


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    async with proxy_of(server.address) as made:
        yield made


@pytest.fixture
def retries() -> list[Retry]:
    return []


async def test_a_mutation_gets_a_request_id_and_the_request_stays_as_it_was(bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    request = accounts.DepositRequest(account_id=account_id, amount=usd("1"))
    answer = await call(bank.accounts.Deposit, request)
    assert answer.account.revision == 2
    assert not request.request_id
    [_, deposited] = await bank.account_events()
    assert deposited.request_id


async def test_a_request_id_of_the_caller_is_kept(bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    request = accounts.DepositRequest(
        account_id=account_id, amount=usd("1"), request_id="6d1f5c1e-8f0b-4d57-9a37-0c1a6d0f3b11"
    )
    first, second = [await call(bank.accounts.Deposit, request) for _ in range(2)]
    assert (first.replayed, second.replayed) == (False, True)


@pytest.mark.parametrize("status", [403, 404, 503])
async def test_a_call_that_a_proxy_refused_is_tried_again(
    bank: Caller, proxy: Proxy, retries: list[Retry], status: int
) -> None:
    account_id = (await bank.open()).account.account_id
    proxy.answer(status)
    async with Caller(proxy.address) as behind:
        request = accounts.DepositRequest(account_id=account_id, amount=usd("1"))
        calling = asyncio.create_task(call(behind.accounts.Deposit, request, on_retry=retries.append))
        await until(lambda: len(retries) >= 2)
        proxy.stop_answering()
        assert (await calling).account.revision == 2


async def test_an_answer_that_is_lost_is_asked_for_again_and_the_deposit_made_once(
    bank: Caller, proxy: Proxy, retries: list[Retry]
) -> None:
    account_id = (await bank.open()).account.account_id
    async with Caller(proxy.address) as behind:
        await behind.balance(account_id)
        deposited = bank.accounts.WatchAccountEvents(accounts.WatchAccountEventsRequest(live=Empty()))
        await deposited.read()
        proxy.mute(answers_only=True)
        request = accounts.DepositRequest(account_id=account_id, amount=usd("1"))
        calling = asyncio.create_task(call(behind.accounts.Deposit, request, on_retry=retries.append))
        async with asyncio.timeout(10):
            # Live, so that it has come once the deposit is made.
            await deposited.read()
        proxy.unmute()
        proxy.cut()
        answer = await calling
    assert answer.replayed
    assert retries
    assert len(await bank.account_events()) == 2


async def test_a_refusal_is_raised_with_its_reason_and_figures(bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    with pytest.raises(BankError, match=r"INSUFFICIENT_FUNDS: 5.00 USD") as caught:
        await call(bank.accounts.Withdraw, accounts.WithdrawRequest(account_id=account_id, amount=usd("5")))
    assert caught.value.code is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.metadata["availableBalance"] == "0.00 USD"
    assert caught.value.violations == []
    assert caught.value.retry_seconds is None


async def test_faults_of_fields_are_raised_field_by_field(bank: Caller) -> None:
    with pytest.raises(BankError) as caught:
        await call(bank.accounts.Deposit, accounts.DepositRequest(account_id="?", amount=usd("0")))
    assert [(violation.field, violation.reason) for violation in caught.value.violations] == [
        ("account_id", "INVALID_ID"),
        ("amount", "AMOUNT_NOT_POSITIVE"),
    ]
    assert isinstance(caught.value.violations[0], Violation)


async def test_without_a_bank_the_last_error_is_raised_at_the_timeout(retries: list[Retry]) -> None:
    async with Caller("127.0.0.1:1") as nobody:
        with pytest.raises(grpc.aio.AioRpcError):
            await call(
                nobody.accounts.GetAccount,
                accounts.GetAccountRequest(account_id="a"),
                timeout_seconds=0.5,
                on_retry=retries.append,
            )
    assert retries
    assert retries[0].why.startswith("UNAVAILABLE: ")


@pytest.fixture
def synchronous(proxy: Proxy) -> Iterator[Any]:
    with grpc.insecure_channel(proxy.address, options=SOON) as channel:
        yield AccountsServiceStub(channel)


async def test_without_asyncio_it_is_the_same(
    bank: Caller, proxy: Proxy, synchronous: Any, retries: list[Retry]
) -> None:
    account_id = (await bank.open()).account.account_id
    proxy.answer(404)
    retried = threading.Event()

    def on_retry(retry: Retry) -> None:
        retries.append(retry)
        retried.set()

    request = accounts.DepositRequest(account_id=account_id, amount=usd("1"))
    calling = asyncio.create_task(asyncio.to_thread(call_sync, synchronous.Deposit, request, on_retry=on_retry))
    await asyncio.to_thread(retried.wait, 10)
    proxy.stop_answering()
    assert (await calling).account.revision == 2
    with pytest.raises(BankError, match="ACCOUNT_NOT_FOUND"):
        await asyncio.to_thread(call_sync, synchronous.GetAccount, accounts.GetAccountRequest(account_id="nobody"))
