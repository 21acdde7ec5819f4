"""Clients of some accounts, all at once, and what each of them saw."""

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
from openbank.transfers.v1 import transfers_service_pb2 as transfers
from openbank.transfers.v1.transfer_pb2 import TRANSFER_STATE_COMPLETED
from tests.callers import Caller, refusal
from tests.linearizability.checker import Operation

CLIENTS = 8
SECONDS_MAX = 10.0
_REFUSALS = {"INSUFFICIENT_FUNDS": "insufficient", "REVISION_MISMATCH": "mismatch"}
_UNKNOWN = (StatusCode.DEADLINE_EXCEEDED, StatusCode.UNAVAILABLE, StatusCode.CANCELLED, StatusCode.UNKNOWN)


class Recorder:
    """Makes a history of accounts in yen, so that units are the smallest there are."""

    def __init__(self, account_ids: Sequence[str], callers: Callable[[], Sequence[Caller]], random: Random) -> None:
        """`callers` are those of every instance that may be there."""
        self.operations: list[Operation] = []
        self._account_ids = account_ids
        self._callers = callers
        self._random = random
        self._last = [(1, "") for _ in account_ids]
        """The last revision of each account that a client has seen, and a token for it."""

    @property
    def accounts(self) -> int:
        return len(self._account_ids)

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
            if earlier.kind != "receive":
                await self._ask(earlier, SECONDS_MAX)

    async def _something(self) -> None:
        what = self._random.random()
        account = self._random.randrange(len(self._account_ids))
        if what < 0.25:
            await self._read(account, with_token=self._random.random() < 0.7)
            return
        request = str(UUID(int=self._random.getrandbits(128))) if self._random.random() < 0.7 else ""
        expected = self._last[account][0] if self._random.random() < 0.2 else 0
        # Most are far too short or far too long; those between end at any point of the way. What then became of one
        # without a request id nobody is ever told: of many such ones the checker would have to try too many.
        short = self._random.random() < (0.4 if request else 0.08)
        seconds = self._random.uniform(0.0005, 0.01) if short else SECONDS_MAX
        kinds = ("deposit", "withdraw", "send", "send") if len(self._account_ids) > 1 else ("deposit", "withdraw")
        kind = self._random.choice(kinds)
        # More goes out than comes in, so that there is often too little.
        amount = self._random.randint(1, 60 if kind == "deposit" else 120)
        asked = Operation(kind, 0, account, amount=amount, request=request, expected=expected)
        if kind == "send":
            # Its request distinguishes what arrives from other money.
            asked.request = request or str(UUID(int=self._random.getrandbits(128)))
            asked.other = self._random.choice([one for one in range(len(self._account_ids)) if one != account])
        calls = [self._ask(asked, seconds)]
        if request and self._random.random() < 0.15:
            calls.append(self._ask(asked, SECONDS_MAX))
        await asyncio.gather(*calls)

    async def _ask(self, asked: Operation, seconds: float) -> None:
        """The same as what was `asked`, once more."""
        operation = Operation(
            asked.kind, time.monotonic_ns(), asked.account, asked.other, asked.amount, asked.request, asked.expected
        )
        self.operations.append(operation)
        received = self._to_be_received(operation)
        caller = self._random.choice(self._callers())
        try:
            answer = await self._call(caller, operation)(self._message(operation), timeout=seconds)
        except AioRpcError as error:
            _refused(operation, error)
            if received and operation.outcome != "unknown":
                self.operations.remove(received)
        else:
            operation.outcome, operation.replayed = "done", answer.replayed
            self._take(operation, answer)
            if received:
                self._take_received(received, operation, answer)

    def _to_be_received(self, sent: Operation) -> Operation | None:
        """What is to happen to the other account. That it has happened is known once the answer says so."""
        if sent.kind != "send":
            return None
        received = Operation("receive", sent.call, sent.other, sent.account, sent.amount, sent.request)
        self.operations.append(received)
        return received

    def _take_received(self, received: Operation, sent: Operation, answer: Any) -> None:
        if answer.transfer.state != TRANSFER_STATE_COMPLETED:
            return
        received.outcome, received.return_ = "done", sent.return_
        received.revision = answer.transfer.received_revision
        # Where the money had been sent before, it may have arrived before too: the call that sent it has its own
        # operation for that.
        received.replayed = sent.replayed
        self._know(received.account, received.revision, answer.consistency_token)

    def _call(self, caller: Caller, operation: Operation) -> Any:
        match operation.kind:
            case "deposit":
                return caller.accounts.Deposit
            case "withdraw":
                return caller.accounts.Withdraw
            case _:
                return caller.transfers.CreateTransfer

    def _message(self, operation: Operation) -> Any:
        account_id = self._account_ids[operation.account]
        message: Any
        match operation.kind:
            case "deposit":
                message = accounts.DepositRequest(account_id=account_id)
            case "withdraw":
                message = accounts.WithdrawRequest(account_id=account_id)
            case _:
                destination = self._account_ids[operation.other]
                message = transfers.CreateTransferRequest(
                    source_account_id=account_id, destination_account_id=destination
                )
        message.request_id = operation.request
        message.amount.CopyFrom(Money(currency_code="JPY", units=operation.amount))
        if operation.expected:
            message.expected_revision = operation.expected
        return message

    async def _read(self, account: int, *, with_token: bool) -> None:
        at_least, token = self._last[account] if with_token and self._last[account][1] else (0, "")
        operation = Operation("read", time.monotonic_ns(), account, at_least=at_least)
        request = accounts.GetAccountRequest(account_id=self._account_ids[account], consistency_token=token)
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
        self._know(operation.account, operation.revision, answer.consistency_token)

    def _know(self, account: int, revision: int, token: str) -> None:
        # A replay's token and a late read's stand for less than the last one known.
        if revision > self._last[account][0]:
            self._last[account] = revision, token


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
