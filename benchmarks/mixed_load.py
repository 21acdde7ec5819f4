"""Calls of every kind to a bank with a long history, at a pace: customers, clerks, batches and watches."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter, deque
from collections.abc import Awaitable, Callable

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp

from benchmarks import history, messages
from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub
from openbank.batches.v1.batches_service_pb2_grpc import BatchesServiceStub
from openbank.holds.v1 import holds_service_pb2 as holds
from openbank.holds.v1.holds_service_pb2_grpc import HoldsServiceStub
from openbank.transfers.v1.transfers_service_pb2_grpc import TransfersServiceStub

IN_FLIGHT = 16
WATCHES = 20
POPULAR = 2_000
"""The accounts that half of the calls are about. Those with a long history are among them."""
BATCHED = 20
HOLD_SECONDS_MAX = 600
REMEMBERED = 100
"""Deposits to reverse, and holds to end."""

Call = Callable[[int], Awaitable[object]]


class MixedLoad:
    def __init__(self, channel: grpc.aio.Channel, owner_id: str, rate: float, end: float) -> None:
        """`owner_id`: a person for new accounts. `rate`: calls a second, about. `end`: by time.monotonic()."""
        self._accounts = AccountsServiceStub(channel)
        self._transfers = TransfersServiceStub(channel)
        self._holds = HoldsServiceStub(channel)
        self._batches = BatchesServiceStub(channel)
        self._owner_id = owner_id
        self._rate = rate
        self._end = end
        self._random = random.Random(7)
        self._deposits: deque[tuple[str, int]] = deque(maxlen=REMEMBERED)
        self._open_holds: deque[tuple[str, str]] = deque(maxlen=REMEMBERED)
        self.calls: Counter[str] = Counter()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(IN_FLIGHT):
                tasks.create_task(self._call())
            for _ in range(WATCHES):
                tasks.create_task(self._watch())

    async def _call(self) -> None:
        weights: dict[Call, int] = {
            self._deposit: 40,
            self._get: 20,
            self._withdraw: 8,
            self._transfer: 8,
            self._list: 4,
            self._list_events: 4,
            self._place_hold: 4,
            self._end_hold: 3,
            self._statement: 2,
            self._balance: 2,
            self._reverse: 2,
            self._open: 2,
            self._batch: 1,
        }
        while time.monotonic() < self._end:
            account = self._random.randrange(POPULAR if self._random.random() < 0.5 else history.ACCOUNTS)
            [kind] = self._random.choices(list(weights), weights=list(weights.values()))
            name = kind.__name__.strip("_")
            try:
                await kind(account)
            except grpc.aio.AioRpcError as error:
                # Accounts run out of money, as they do.
                name += f" {error.code().name}"
            self.calls[name] += 1
            await asyncio.sleep(self._random.expovariate(self._rate / IN_FLIGHT))

    async def _deposit(self, account: int) -> None:
        answer = await self._accounts.Deposit(messages.deposit(account, str(uuid.uuid4())))
        self._deposits.append((answer.account.account_id, answer.account.revision))

    async def _reverse(self, _: int) -> None:
        if self._deposits:
            account_id, revision = self._deposits.popleft()
            request = accounts.ReverseMovementRequest(account_id=account_id, revision=revision)
            await self._accounts.ReverseMovement(request)

    async def _withdraw(self, account: int) -> None:
        request = accounts.WithdrawRequest(
            request_id=str(uuid.uuid4()), account_id=messages.account_id(account), amount=messages.PAYMENT
        )
        await self._accounts.Withdraw(request)

    async def _transfer(self, account: int) -> None:
        request = messages.transfer(account, (account + 1) % history.ACCOUNTS)
        request.request_id = str(uuid.uuid4())
        await self._transfers.CreateTransfer(request)

    async def _place_hold(self, account: int) -> None:
        until = Timestamp(seconds=int(time.time() + self._random.uniform(10, HOLD_SECONDS_MAX)))
        account_id = messages.account_id(account)
        request = holds.PlaceHoldRequest(account_id=account_id, amount=messages.CENT, expire_time=until)
        answer = await self._holds.PlaceHold(request)
        self._open_holds.append((account_id, answer.hold.hold_id))

    async def _end_hold(self, _: int) -> None:
        """Captures it, or releases it; the rest expire."""
        if not self._open_holds:
            return
        account_id, hold_id = self._open_holds.popleft()
        if self._random.random() < 0.5:
            await self._holds.CaptureHold(holds.CaptureHoldRequest(account_id=account_id, hold_id=hold_id))
        else:
            await self._holds.ReleaseHold(holds.ReleaseHoldRequest(account_id=account_id, hold_id=hold_id))

    async def _batch(self, account: int) -> None:
        batch = messages.independent(min(account, history.ACCOUNTS - BATCHED), BATCHED)
        for command in batch.commands:
            command.deposit.request_id = str(uuid.uuid4())
        await self._batches.ExecuteBatch(batch)

    async def _get(self, account: int) -> None:
        await self._accounts.GetAccount(messages.get_account(account))

    async def _list(self, account: int) -> None:
        await self._accounts.ListAccountsByOwner(messages.list_accounts(account // 5))

    async def _list_events(self, account: int) -> None:
        request = accounts.ListAccountEventsRequest(account_id=messages.account_id(account))
        await self._accounts.ListAccountEvents(request)

    async def _statement(self, account: int) -> None:
        period = accounts.TimePeriod(
            start_time=Timestamp(seconds=1_600_000_000), end_time=Timestamp(seconds=int(time.time()))
        )
        request = accounts.GetAccountStatementRequest(account_id=messages.account_id(account), times=period)
        await self._accounts.GetAccountStatement(request)

    async def _balance(self, account: int) -> None:
        request = accounts.GetAccountBalanceRequest(account_id=messages.account_id(account), revision=1)
        await self._accounts.GetAccountBalance(request)

    async def _open(self, _: int) -> None:
        request = accounts.OpenAccountRequest(
            request_id=str(uuid.uuid4()),
            owner_id=self._owner_id,
            account_number=str(self._random.randrange(10**20, 10**21)),
            initial_deposit=messages.PAYMENT,
        )
        await self._accounts.OpenAccount(request)

    async def _watch(self) -> None:
        """From now on, or now and then from the beginning, for some minutes."""
        while time.monotonic() < self._end:
            start = {"beginning": Empty()} if self._random.random() < 0.1 else {"live": Empty()}
            call = self._accounts.WatchAccountEvents(accounts.WatchAccountEventsRequest(**start))  # type: ignore[arg-type]
            seconds = min(self._random.uniform(10, 300), self._end - time.monotonic())
            try:
                async with asyncio.timeout(max(seconds, 0.1)):
                    async for response in call:
                        self.calls["events followed"] += len(response.events)
            except TimeoutError:
                call.cancel()
            except grpc.aio.AioRpcError as error:
                self.calls[f"watch {error.code().name}"] += 1
                await asyncio.sleep(1)
