"""As many holds as an account may have end at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration

from openbank import sweeper
from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.domain.clock import system_clock
from openbank.domain.holds import OPEN_MAX
from openbank.holds.v1 import holds_service_pb2 as holds
from tests.back_ends import BackEnd
from tests.callers import Caller, usd
from tests.foresight import check_foreseen

HOUR_SECONDS = 3600


async def test_an_account_whose_holds_are_all_due_takes_its_next_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "REST_SECONDS", 60.0)
    passed = 0

    def clock() -> int:
        return system_clock() + passed * 1_000_000

    async with serving(BackEnd().settings(tmp_path), clock) as server, Caller(server.address) as bank:
        account_id = (await bank.open(initial_deposit=usd(str(OPEN_MAX)))).account.account_id
        request = holds.PlaceHoldRequest(account_id=account_id, amount=usd("1"), ttl=Duration(seconds=HOUR_SECONDS))
        for _ in range(OPEN_MAX // 100):
            await asyncio.gather(*(bank.holds.PlaceHold(request) for _ in range(100)))
        passed = 2 * HOUR_SECONDS
        # A dry run ends all of them at once, and none.
        paying = accounts.DepositRequest(account_id=account_id, amount=usd("1"), validate_only=True)
        foreseen = await bank.accounts.Deposit(paying)
        assert (await bank.accounts.Deposit(paying)).account.revision == foreseen.account.revision
        # No follower believed an append of more events than one command can have.
        paid = await bank.deposit(account_id, "1")
        assert paid.account.available_balance == paid.account.balance == usd(str(OPEN_MAX + 1))
        assert paid.account.revision == 1 + OPEN_MAX + OPEN_MAX + 1
        check_foreseen(paying, foreseen, paid)
        assert await bank.balance(account_id, paid.consistency_token) == f"{OPEN_MAX + 1}.00 USD"
        await bank.deposit(account_id, "1")
