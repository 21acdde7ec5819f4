"""Clients of a bank whose disk may lose its power: each answer is noted in the journal as soon as it arrives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from random import Random
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpc.aio import AioRpcError

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.common.v1.money_pb2 import Money
from tests.callers import Caller, Refusal, john_doe, opening, refusal, request_id, usd
from tests.disk.layer import Layer
from tests.disk.promises import Promise, balance, event, revision
from tests.faults.check import minor
from tests.faults.told import Broken, Told, understand

WRITERS = 8
ACCOUNTS_MAX = 12
HOT = 0.3
"""The part of the writes that goes to one account."""
PAUSE_SECONDS = 0.02
"""After an answer that says to try again."""


class Gone(Exception):
    """The bank has ended."""


class Load:
    """Writers and a watcher of one bank, through all its lives."""

    def __init__(self, random: Random) -> None:
        self.watched: list[str] = []
        """Event ids of accounts, in the order of the feed."""
        self.told = 0
        self.failures: set[str] = set()
        """The reasons of all answers that said that the store had failed."""
        self._random = random
        self._token = ""
        self._owner = ""
        self._accounts: list[str] = []
        self._done: list[tuple[accounts.DepositRequest, str]] = []
        """Deposits that were acknowledged, and their events."""

    async def work(self, bank: Caller, layer: Layer) -> None:
        """Until the bank is gone. Raises Broken for an answer that it must not give."""
        self._bank, self._layer = bank, layer
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch())
                while len(self._accounts) < 4:
                    await self._open()
                for _ in range(WRITERS):
                    tasks.create_task(self._write())
        except* Gone:
            pass

    async def _watch(self) -> None:
        while True:
            start: dict[str, Any] = {"resume_token": self._token} if self._token else {"beginning": Empty()}
            watch = self._bank.accounts.WatchAccountEvents(accounts.WatchAccountEventsRequest(**start))
            try:
                async for response in watch:
                    ids = [event.event_id for event in response.events]
                    self._tell(*map(event, ids))
                    self.watched += ids
                    self._token = response.resume_token
            except AioRpcError as error:
                await self._failed(error)

    async def _write(self) -> None:
        steps = (self._deposit, self._overdraw, self._expect_too_little, self._repeat, self._read, self._open)
        while True:
            [step] = self._random.choices(steps, (60, 8, 8, 8, 10, 3))
            await step()

    async def _open(self) -> None:
        if not self._owner:
            registered = await self._ask(self._bank.persons.RegisterPerson(john_doe(request_id=request_id())))
            if isinstance(registered, Refusal):
                return
            self._tell(event(registered.event_id))
            self._owner = registered.person.person_id
        if len(self._accounts) < ACCOUNTS_MAX:
            opened = await self._ask(self._bank.accounts.OpenAccount(opening(self._owner, request_id=request_id())))
            if not isinstance(opened, Refusal):
                self._tell(event(opened.event_id))
                self._accounts.append(opened.account.account_id)

    async def _deposit(self) -> None:
        cents = self._random.randint(1, 10_000)
        amount = Money(currency_code="USD", units=cents // 100, nanos=cents % 100 * 10_000_000)
        request = accounts.DepositRequest(account_id=self._account(), amount=amount, request_id=request_id())
        answer = await self._ask(self._bank.accounts.Deposit(request))
        if not isinstance(answer, Refusal):
            self._tell(event(answer.event_id), revision(request.account_id, answer.account.revision))
            self._done.append((request, answer.event_id))

    async def _repeat(self) -> None:
        """Repeats a deposit before this life of the bank or in it: it was made, and is not made a second time."""
        if not self._done:
            return
        request, event_id = self._random.choice(self._done)
        answer = await self._ask(self._bank.accounts.Deposit(request))
        if not isinstance(answer, Refusal) and not (answer.replayed and answer.event_id == event_id):
            raise Broken(f"a deposit was done as {event_id}, and again as {answer.event_id}")

    async def _overdraw(self) -> None:
        account_id = self._account()
        request = accounts.WithdrawRequest(account_id=account_id, amount=usd("100000000"))
        told = await self._ask(self._bank.accounts.Withdraw(request))
        if told.reason == "INSUFFICIENT_FUNDS":
            units, _, cents = told.metadata["balance"].removesuffix(" USD").partition(".")
            self._tell(balance(account_id, int(units) * 100 + int(cents)))

    async def _expect_too_little(self) -> None:
        account_id = self._account()
        request = accounts.DepositRequest(account_id=account_id, amount=usd("1"), expected_revision=1)
        told = await self._ask(self._bank.accounts.Deposit(request))
        if not isinstance(told, Refusal):
            self._tell(event(told.event_id))
        elif told.reason == "REVISION_MISMATCH":
            self._tell(revision(account_id, int(told.metadata["actualRevision"])))

    async def _read(self) -> None:
        account_id = self._account()
        found = await self._ask(self._bank.accounts.GetAccount(accounts.GetAccountRequest(account_id=account_id)))
        if not isinstance(found, Refusal):
            self._tell(revision(account_id, found.account.revision), balance(account_id, minor(found.account.balance)))

    def _account(self) -> str:
        return self._accounts[0] if self._random.random() < HOT else self._random.choice(self._accounts)

    def _tell(self, *promises: Promise) -> None:
        self._layer.told(promises)
        self.told += len(promises)

    async def _ask(self, call: Awaitable[Any]) -> Any:
        """The answer or the refusal. Raises Gone, and Broken for what no outage explains."""
        try:
            return await call
        except AioRpcError as error:
            return await self._failed(error)

    async def _failed(self, error: AioRpcError) -> Refusal:
        told, reason = understand(error)
        if told is Told.UNCERTAIN and reason in ("broken connection", "SERVER_DRAINING"):
            raise Gone
        if told is not Told.REFUSED:
            self.failures.add(reason)
            await asyncio.sleep(PAUSE_SECONDS)
        return refusal(error)
