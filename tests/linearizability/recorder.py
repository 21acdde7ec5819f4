"""Clients of one account, all at once, and what each of them saw."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any
from uuid import UUID

from grpc import StatusCode
from grpc.aio import AioRpcError

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.common.v1.money_pb2 import Money
from tests.callers import Caller, refusal
from tests.linearizability.checker import Operation

CLIENTS = 8
SECONDS_MAX = 10.0
_REFUSALS = {"INSUFFICIENT_FUNDS": "insufficient", "REVISION_MISMATCH": "mismatch"}
_UNKNOWN = (StatusCode.DEADLINE_EXCEEDED, StatusCode.UNAVAILABLE, StatusCode.CANCELLED, StatusCode.UNKNOWN)


class Recorder:
    """Makes a history of an account in yen, so that units are the smallest there are."""

    def __init__(self, account_id: str, callers: Callable[[], Sequence[Caller]], random: Random) -> None:
        """`callers` are those of every instance that may be there."""
        self.operations: list[Operation] = []
        self._account_id = account_id
        self._callers = callers
        self._random = random
        self._revision = 1
        """The last that anybody was told of, and its token."""
        self._token = ""

    async def record(self, operations: int) -> None:
        """At least so many more."""
        until = len(self.operations) + operations

        async def client() -> None:
            while len(self.operations) < until:
                await self._something()

        await asyncio.gather(*(client() for _ in range(CLIENTS)))

    async def settle(self) -> None:
        """Sends what has a request id and an unknown outcome again, as callers do."""
        for earlier in [one for one in self.operations if one.outcome == "unknown" and one.request]:
            await self._move(earlier.kind, earlier.amount, earlier.request, earlier.expected, SECONDS_MAX)

    async def _something(self) -> None:
        what = self._random.random()
        if what < 0.25:
            await self._read(with_token=self._random.random() < 0.7)
            return
        request = str(UUID(int=self._random.getrandbits(128))) if self._random.random() < 0.7 else ""
        expected = self._revision if self._random.random() < 0.2 else 0
        # Most are far too short or far too long; those between end at any point of the way.
        seconds = self._random.choice((SECONDS_MAX, SECONDS_MAX, self._random.uniform(0.0005, 0.01)))
        kind = self._random.choice(("deposit", "withdraw"))
        # More goes out than comes in, so that there is often too little.
        amount = self._random.randint(1, 60 if kind == "deposit" else 120)
        calls = [self._move(kind, amount, request, expected, seconds)]
        if request and self._random.random() < 0.15:
            calls.append(self._move(kind, amount, request, expected, SECONDS_MAX))
        await asyncio.gather(*calls)

    async def _move(self, kind: str, amount: int, request: str, expected: int, seconds: float) -> None:
        message: Any = accounts.DepositRequest() if kind == "deposit" else accounts.WithdrawRequest()
        message.account_id, message.request_id = self._account_id, request
        message.amount.CopyFrom(Money(currency_code="JPY", units=amount))
        if expected:
            message.expected_revision = expected
        operation = Operation(kind, time.monotonic_ns(), amount=amount, request=request, expected=expected)
        self.operations.append(operation)
        service = self._random.choice(self._callers()).accounts
        call = service.Deposit if kind == "deposit" else service.Withdraw
        try:
            answer = await call(message, timeout=seconds)
        except AioRpcError as error:
            _refused(operation, error)
        else:
            operation.outcome, operation.replayed = "done", answer.replayed
            self._take(operation, answer)

    async def _read(self, *, with_token: bool) -> None:
        at_least, token = (self._revision, self._token) if with_token and self._token else (0, "")
        operation = Operation("read", time.monotonic_ns(), at_least=at_least)
        request = accounts.GetAccountRequest(account_id=self._account_id, consistency_token=token)
        try:
            answer = await self._random.choice(self._callers()).accounts.GetAccount(request, timeout=SECONDS_MAX)
        except AioRpcError as error:
            if error.code() not in _UNKNOWN:
                raise
            return
        operation.outcome = "done"
        self._take(operation, answer)
        self.operations.append(operation)

    def _take(self, operation: Operation, answer: Any) -> None:
        operation.return_ = time.monotonic_ns()
        operation.revision, operation.balance = answer.account.revision, answer.account.balance.units
        # A replay's token and a late read's stand for less than the last one known.
        if operation.revision > self._revision:
            self._revision, self._token = operation.revision, answer.consistency_token


def _refused(operation: Operation, error: AioRpcError) -> None:
    """Raises what is neither a refusal that the checker knows nor an unknown outcome."""
    operation.return_ = time.monotonic_ns()
    if error.code() in _UNKNOWN:
        return
    told = refusal(error)
    if told.reason not in _REFUSALS:
        raise error
    operation.outcome = _REFUSALS[told.reason]
    operation.revision = int(told.metadata.get("actualRevision", 0))
