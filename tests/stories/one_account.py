"""A bank with one account, a-1, and a clock that the test sets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from openbank.accounts.v1 import account_pb2
from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from tests.back_ends import BackEnd
from tests.callers import Caller, usd

NOW = 1_764_201_600_000_000
"""2025-11-27T00:00:00Z."""


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


class AccountCaller(Caller):
    async def account(self, token: str = "") -> account_pb2.Account:
        request = accounts.GetAccountRequest(account_id="a-1", consistency_token=token)
        account: account_pb2.Account = (await self.accounts.GetAccount(request)).account
        return account


Bank = TypeVar("Bank", bound=AccountCaller)


@asynccontextmanager
async def opened(
    calling: type[Bank], back_end: BackEnd, data: Path, clock: Clock, balance: str = "100"
) -> AsyncIterator[Bank]:
    async with serving(back_end.settings(data), clock) as server, calling(server.address) as bank:
        await bank.open(account_id="a-1", initial_deposit=usd(balance))
        yield bank
