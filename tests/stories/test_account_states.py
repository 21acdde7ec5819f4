"""Accounts are frozen, unfrozen, limited and closed: what callers see, on every back end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode

from openbank.accounts.v1 import account_pb2
from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.common.v1.money_pb2 import Money
from openbank.rpc.convert import account_commands
from tests.back_ends import BackEnd
from tests.callers import refused, request_id, show, usd
from tests.stories.one_account import NOW, AccountCaller, Clock, opened

HOUR = 3_600_000_000
FROZEN, DEBITS_FROZEN = account_pb2.ACCOUNT_STATE_FROZEN, account_pb2.ACCOUNT_STATE_DEBITS_FROZEN


LARGEST = 2**53 - 1
TOO_LARGE = {name: {name: "AMOUNT_OUT_OF_RANGE"} for name in ("limit", "per_transaction", "per_day")}


def cents(minor: int) -> Money:
    return Money(currency_code="USD", units=minor // 100, nanos=minor % 100 * 10_000_000)


def limits_request(name: str, limit: Money) -> accounts.SetSpendingLimitsRequest:
    some: dict[str, Any] = {name: limit}
    return accounts.SetSpendingLimitsRequest(account_id="a-1", **some)


class Bank(AccountCaller):
    """Calls about the account a-1."""

    def withdraw(self, amount: str, **changes: Any) -> Awaitable[Any]:
        request = accounts.WithdrawRequest(account_id="a-1", amount=usd(amount), **changes)
        return self.accounts.Withdraw(request)  # type: ignore[no-any-return]

    def freeze(self, state: Any = FROZEN, reason: str = "Fraud", **changes: Any) -> Awaitable[Any]:
        request = accounts.FreezeAccountRequest(account_id="a-1", state=state, reason=reason, **changes)
        return self.accounts.FreezeAccount(request)  # type: ignore[no-any-return]

    def unfreeze(self) -> Awaitable[Any]:
        return self.accounts.UnfreezeAccount(accounts.UnfreezeAccountRequest(account_id="a-1"))  # type: ignore[no-any-return]

    def close(self, **changes: Any) -> Awaitable[Any]:
        return self.accounts.CloseAccount(accounts.CloseAccountRequest(account_id="a-1", **changes))  # type: ignore[no-any-return]

    def overdraft(self, limit: str, **changes: Any) -> Awaitable[Any]:
        request = accounts.SetOverdraftLimitRequest(account_id="a-1", limit=usd(limit), **changes)
        return self.accounts.SetOverdraftLimit(request)  # type: ignore[no-any-return]

    def limits(self, **limits: Any) -> Awaitable[Any]:
        request = accounts.SetSpendingLimitsRequest(account_id="a-1", **limits)
        return self.accounts.SetSpendingLimits(request)  # type: ignore[no-any-return]


@pytest.fixture
async def bank(back_end: BackEnd, tmp_path: Path, clock: Clock) -> AsyncIterator[Bank]:
    async with opened(Bank, back_end, tmp_path / "data", clock) as bank:
        yield bank


async def test_a_frozen_account_moves_again_once_it_is_unfrozen(bank: Bank) -> None:
    frozen = await bank.freeze()
    seen = await bank.account(frozen.consistency_token)
    assert seen == frozen.account
    assert (seen.state, seen.freeze_reason, seen.revision) == (FROZEN, "Fraud", 2)
    for call in (bank.withdraw("1"), bank.deposit("a-1", "1")):
        refusal = await refused(call)
        assert (refusal.code, refusal.reason) == (StatusCode.FAILED_PRECONDITION, "ACCOUNT_NOT_ACTIVE")
        assert refusal.metadata["state"] == "ACCOUNT_STATE_FROZEN"
    unfrozen = await bank.unfreeze()
    assert (unfrozen.account.state, unfrozen.account.freeze_reason) == (account_pb2.ACCOUNT_STATE_ACTIVE, "")
    assert (await refused(bank.unfreeze())).reason == "ACCOUNT_NOT_FROZEN"
    await bank.withdraw("1")


async def test_debits_are_frozen_and_credits_continue(bank: Bank) -> None:
    await bank.freeze(DEBITS_FROZEN)
    await bank.deposit("a-1", "1")
    assert (await refused(bank.withdraw("1"))).metadata["state"] == "ACCOUNT_STATE_DEBITS_FROZEN"


async def test_the_same_freeze_again_freezes_nothing_and_gives_the_first_answer(bank: Bank) -> None:
    name = request_id()
    first = await bank.freeze(request_id=name)
    unfrozen = await bank.unfreeze()
    again = await bank.freeze(request_id=name)
    assert (again.replayed, again.event_id, again.account) == (True, first.event_id, first.account)
    assert (await bank.account(unfrozen.consistency_token)).state == account_pb2.ACCOUNT_STATE_ACTIVE
    assert (await refused(bank.freeze(reason="Another", request_id=name))).reason == "REQUEST_ID_REUSED"


async def test_an_account_is_overdrawn_up_to_its_limit(bank: Bank) -> None:
    limited = await bank.overdraft("50.00")
    assert show(limited.account.overdraft_limit) == "50.00 USD"
    assert show(limited.account.available_balance) == "150.00 USD"
    overdrawn = await bank.withdraw("150")
    assert (overdrawn.account.balance.units, show(overdrawn.account.available_balance)) == (-50, "0.00 USD")
    assert await bank.account(overdrawn.consistency_token) == overdrawn.account
    assert (await refused(bank.withdraw("0.01"))).reason == "INSUFFICIENT_FUNDS"
    lowered = await bank.overdraft("20", expected_revision=overdrawn.account.revision)
    assert lowered.account.available_balance.units == -30
    await bank.deposit("a-1", "31")
    await bank.withdraw("1")


async def test_the_largest_limits_are_kept_and_the_whole_of_them_can_be_spent(bank: Bank) -> None:
    await bank.accounts.SetOverdraftLimit(accounts.SetOverdraftLimitRequest(account_id="a-1", limit=cents(LARGEST)))
    await bank.limits(per_transaction=cents(LARGEST), per_day=cents(LARGEST))
    await bank.accounts.Withdraw(accounts.WithdrawRequest(account_id="a-1", amount=cents(LARGEST)))
    assert (await refused(bank.withdraw("0.01"))).reason == "SPENDING_LIMIT_EXCEEDED"
    await bank.limits()
    overdrawn = await bank.withdraw("100")
    assert overdrawn.account.balance == Money(currency_code="USD", units=-(LARGEST // 100), nanos=-910_000_000)
    assert overdrawn.account.available_balance == usd("0")
    assert await bank.account(overdrawn.consistency_token) == overdrawn.account
    await bank.accounts.Deposit(accounts.DepositRequest(account_id="a-1", amount=cents(LARGEST)))


async def test_a_zone_that_this_instance_does_not_know_is_utc(
    bank: Bank, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    zones = account_commands.TIME_ZONES | {"Moon/Tranquility"}
    monkeypatch.setattr(account_commands, "TIME_ZONES", zones)
    await bank.limits(per_day=usd("30"), time_zone="Moon/Tranquility")
    await bank.withdraw("30")
    assert (await refused(bank.withdraw("1"))).metadata["resetTime"] == "2025-11-28T00:00:00+00:00"
    clock.now += 24 * HOUR
    await bank.withdraw("1")


async def test_a_day_spends_up_to_its_limit_in_the_accounts_time_zone(bank: Bank, clock: Clock) -> None:
    limited = await bank.limits(per_day=usd("30"), per_transaction=usd("20"), time_zone="Pacific/Auckland")
    assert show(limited.account.spending_limits.per_day) == "30.00 USD"
    assert limited.account.spending_limits.time_zone == "Pacific/Auckland"
    assert await bank.account(limited.consistency_token) == limited.account
    await bank.withdraw("20")
    assert (await refused(bank.withdraw("20.01"))).metadata["limit"] == "20.00 USD"
    refusal = await refused(bank.withdraw("10.01"))
    assert (refusal.reason, refusal.metadata["spent"]) == ("SPENDING_LIMIT_EXCEEDED", "20.00 USD")
    assert refusal.metadata["resetTime"] == "2025-11-27T11:00:00+00:00"
    clock.now += 11 * HOUR
    await bank.withdraw("20")
    free = await bank.limits()
    assert not free.account.HasField("spending_limits")
    await bank.withdraw("60")


async def test_the_money_spent_today_is_known_after_a_restart(back_end: BackEnd, tmp_path: Path, clock: Clock) -> None:
    async with opened(Bank, back_end, tmp_path, clock) as bank:
        await bank.limits(per_day=usd("30"))
        await bank.withdraw("30")
    async with serving(back_end.settings(tmp_path), clock) as server, Bank(server.address) as bank:
        assert (await refused(bank.withdraw("0.01"))).reason == "SPENDING_LIMIT_EXCEEDED"


async def test_an_account_is_closed_when_it_is_empty_and_never_moves_again(bank: Bank) -> None:
    refusal = await refused(bank.close())
    assert (refusal.reason, refusal.metadata["balance"]) == ("ACCOUNT_NOT_EMPTY", "100.00 USD")
    await bank.withdraw("100")
    await bank.freeze()
    closed = await bank.close(reason="Moved away")
    assert closed.account.state == account_pb2.ACCOUNT_STATE_CLOSED
    assert closed.account.close_time.ToMicroseconds() == NOW
    assert closed.account.freeze_reason == ""
    assert await bank.account(closed.consistency_token) == closed.account
    for call in (bank.deposit("a-1", "1"), bank.unfreeze(), bank.freeze(), bank.close(), bank.overdraft("1")):
        assert (await refused(call)).metadata["state"] == "ACCOUNT_STATE_CLOSED"
    request = accounts.WatchAccountEventsRequest(beginning=Empty(), stop_when_caught_up=True)
    events = [event async for response in bank.accounts.WatchAccountEvents(request) for event in response.events]
    assert [event.WhichOneof("payload") for event in events][-2:] == ["account_frozen", "account_closed"]
    assert show(events[-1].available_balance) == "0.00 USD"


@pytest.mark.parametrize(
    ("rpc", "request_", "violations"),
    [
        (
            "FreezeAccount",
            accounts.FreezeAccountRequest(),
            {"account_id": "FIELD_REQUIRED", "state": "FIELD_REQUIRED", "reason": "FIELD_REQUIRED"},
        ),
        (
            "FreezeAccount",
            accounts.FreezeAccountRequest(account_id="a-1", state=account_pb2.ACCOUNT_STATE_CLOSED, reason="x"),
            {"state": "UNKNOWN_ENUM_VALUE"},
        ),
        (
            "CloseAccount",
            accounts.CloseAccountRequest(account_id="a-1", reason="x" * 501),
            {"reason": "FIELD_TOO_LONG"},
        ),
        ("SetOverdraftLimit", accounts.SetOverdraftLimitRequest(account_id="a-1"), {"limit": "FIELD_REQUIRED"}),
        (
            "SetOverdraftLimit",
            accounts.SetOverdraftLimitRequest(account_id="a-1", limit=Money(currency_code="USD", units=-1)),
            {"limit": "AMOUNT_NEGATIVE"},
        ),
        (
            "SetOverdraftLimit",
            accounts.SetOverdraftLimitRequest(account_id="a-1", limit=Money(currency_code="EUR", units=1)),
            {"limit.currency_code": "CURRENCY_MISMATCH"},
        ),
        (
            "SetOverdraftLimit",
            accounts.SetOverdraftLimitRequest(account_id="a-1", limit=Money(currency_code="USD", nanos=1)),
            {"limit.nanos": "AMOUNT_TOO_PRECISE"},
        ),
        (
            "SetSpendingLimits",
            accounts.SetSpendingLimitsRequest(
                account_id="a-1", per_day=Money(currency_code="USD"), time_zone="europe/zurich"
            ),
            {"per_day": "AMOUNT_NOT_POSITIVE", "time_zone": "UNKNOWN_TIME_ZONE"},
        ),
        (
            "SetSpendingLimits",
            accounts.SetSpendingLimitsRequest(account_id="a-1", time_zone="localtime"),
            {"time_zone": "UNKNOWN_TIME_ZONE"},
        ),
        *(
            ("SetOverdraftLimit", accounts.SetOverdraftLimitRequest(account_id="a-1", limit=limit), TOO_LARGE["limit"])
            for limit in (cents(2**53), Money(currency_code="USD", units=2**63 - 1))
        ),
        *(
            ("SetSpendingLimits", limits_request(name, limit), TOO_LARGE[name])
            for name in ("per_transaction", "per_day")
            for limit in (cents(2**53), Money(currency_code="USD", units=2**63 - 1))
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else ",".join(value) if isinstance(value, dict) else "",
)
async def test_bad_fields_are_named(
    chosen: BackEnd, tmp_path: Path, clock: Clock, rpc: str, request_: Any, violations: dict[str, str]
) -> None:
    if chosen.event_store != "embedded":
        return
    async with opened(Bank, chosen, tmp_path, clock) as bank:
        refusal = await refused(getattr(bank.accounts, rpc)(request_))
        assert (refusal.code, refusal.violations) == (StatusCode.INVALID_ARGUMENT, violations)
