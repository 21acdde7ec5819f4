"""Movements and transfers are taken back, each once: what callers see, on every back end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode
from grpc.aio import AioRpcError

from openbank.accounts.v1 import account_events_pb2, account_pb2
from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.domain import controls
from openbank.holds.v1 import holds_service_pb2 as holds
from openbank.transfers.v1 import transfer_pb2
from openbank.transfers.v1 import transfers_service_pb2 as transfers
from tests.back_ends import BackEnd
from tests.callers import Caller, refusal, refused, request_id, show, usd

FROZEN = account_pb2.ACCOUNT_STATE_FROZEN
DEBITS_FROZEN, CREDITS_FROZEN = account_pb2.ACCOUNT_STATE_DEBITS_FROZEN, account_pb2.ACCOUNT_STATE_CREDITS_FROZEN
COMPLETED = transfer_pb2.TRANSFER_STATE_COMPLETED


class Bank(Caller):
    """a-1 has 100 USD, b-1 has 20."""

    def reverse(self, revision: int, account_id: str = "a-1", **changes: Any) -> Awaitable[Any]:
        request = accounts.ReverseMovementRequest(account_id=account_id, revision=revision, **changes)
        return self.accounts.ReverseMovement(request)  # type: ignore[no-any-return]

    def withdraw(self, amount: str, account_id: str = "a-1") -> Awaitable[Any]:
        return self.accounts.Withdraw(accounts.WithdrawRequest(account_id=account_id, amount=usd(amount)))  # type: ignore[no-any-return]

    def send(self, amount: str = "30", **changes: Any) -> Awaitable[Any]:
        ends = {"source_account_id": "a-1", "destination_account_id": "b-1", **changes}
        return self.transfers.CreateTransfer(transfers.CreateTransferRequest(amount=usd(amount), **ends))  # type: ignore[no-any-return]

    def send_back(self, transfer_id: str, **changes: Any) -> Awaitable[Any]:
        request = transfers.ReverseTransferRequest(transfer_id=transfer_id, **changes)
        return self.transfers.ReverseTransfer(request)  # type: ignore[no-any-return]

    def freeze(self, account_id: str, state: Any = FROZEN) -> Awaitable[Any]:
        request = accounts.FreezeAccountRequest(account_id=account_id, state=state, reason="Fraud")
        return self.accounts.FreezeAccount(request)  # type: ignore[no-any-return]

    def unfreeze(self, account_id: str) -> Awaitable[Any]:
        return self.accounts.UnfreezeAccount(accounts.UnfreezeAccountRequest(account_id=account_id))  # type: ignore[no-any-return]

    async def transfer(self, transfer_id: str, token: str = "") -> transfer_pb2.Transfer:
        request = transfers.GetTransferRequest(transfer_id=transfer_id, consistency_token=token)
        transfer: transfer_pb2.Transfer = (await self.transfers.GetTransfer(request)).transfer
        return transfer

    async def last_event(self, account_id: str = "a-1") -> account_events_pb2.AccountEvent:
        event: account_events_pb2.AccountEvent
        *_, event = [event for event in await self.account_events() if event.account_id == account_id]
        return event


@pytest.fixture
async def bank(back_end: BackEnd, tmp_path: Path) -> AsyncIterator[Bank]:
    async with serving(back_end.settings(tmp_path / "data")) as server, Bank(server.address) as bank:
        await bank.open(account_id="a-1", initial_deposit=usd("100"))
        await bank.open(account_id="b-1", initial_deposit=usd("20"))
        yield bank


async def test_a_deposit_is_taken_back(bank: Bank) -> None:
    paid = await bank.deposit("a-1", "30")
    back = await bank.reverse(2, description="Mistake")
    assert (show(back.account.balance), back.account.revision, back.replayed) == ("100.00 USD", 3, False)
    assert await bank.balance("a-1", back.consistency_token) == "100.00 USD"
    event = await bank.last_event()
    assert (event.type, event.event_id) == (account_events_pb2.ACCOUNT_EVENT_TYPE_DEPOSIT_REVERSED, back.event_id)
    told = event.deposit_reversed
    assert (told.reversed_revision, told.reversed_event_id) == (2, paid.event_id)
    assert (show(told.amount), told.description, told.allow_overdraw) == ("30.00 USD", "Mistake", False)


async def test_a_withdrawal_is_paid_back(bank: Bank) -> None:
    taken = await bank.withdraw("30")
    back = await bank.reverse(2, description="Mistake", allow_overdraw=True)
    assert (show(back.account.balance), show(back.account.available_balance)) == ("100.00 USD", "100.00 USD")
    event = await bank.last_event()
    assert event.type == account_events_pb2.ACCOUNT_EVENT_TYPE_WITHDRAWAL_REVERSED
    told = event.withdrawal_reversed
    assert (told.reversed_revision, told.reversed_event_id) == (2, taken.event_id)


async def test_a_capture_is_reversed_and_its_hold_does_not_change(bank: Bank) -> None:
    placed = await bank.holds.PlaceHold(holds.PlaceHoldRequest(account_id="a-1", amount=usd("50")))
    hold_id = placed.hold.hold_id
    captured = await bank.holds.CaptureHold(
        holds.CaptureHoldRequest(account_id="a-1", hold_id=hold_id, amount=usd("20"))
    )
    assert (await refused(bank.reverse(2))).reason == "MOVEMENT_NOT_FOUND"
    back = await bank.reverse(3)
    assert (show(back.account.balance), show(back.account.held_balance)) == ("100.00 USD", "30.00 USD")
    assert show(back.account.available_balance) == "70.00 USD"
    asked = holds.GetHoldRequest(hold_id=hold_id, consistency_token=back.consistency_token)
    assert (await bank.holds.GetHold(asked)).hold == captured.hold


async def test_a_movement_is_reversed_once(bank: Bank) -> None:
    await bank.deposit("a-1", "30")
    name = request_id()
    first = await bank.reverse(2, request_id=name)
    again = await bank.reverse(2, request_id=name)
    assert (again.replayed, again.event_id, again.account) == (True, first.event_id, first.account)
    for other in (bank.reverse(2), bank.reverse(2, request_id=request_id())):
        told = await refused(other)
        assert (told.code, told.reason) == (StatusCode.FAILED_PRECONDITION, "ALREADY_REVERSED")
        assert told.metadata == {"accountId": "a-1", "revision": "2", "reversedByRevision": "3"}
    for reused in (bank.reverse(3, request_id=name), bank.deposit("a-1", "1", request_id=name)):
        assert (await refused(reused)).reason == "REQUEST_ID_REUSED"
    # Also after another movement of the same amount, which can be reversed itself.
    await bank.deposit("a-1", "30")
    assert (await refused(bank.reverse(2))).reason == "ALREADY_REVERSED"
    assert show((await bank.reverse(4)).account.balance) == "100.00 USD"


async def test_one_of_many_reversals_at_once_is_done(bank: Bank) -> None:
    await bank.deposit("a-1", "10")
    outcomes = await asyncio.gather(*(bank.reverse(2) for _ in range(20)), return_exceptions=True)
    reasons = [refusal(outcome).reason for outcome in outcomes if isinstance(outcome, AioRpcError)]
    assert reasons == ["ALREADY_REVERSED"] * 19


async def test_only_a_reversible_movement_is_reversed(bank: Bank) -> None:
    await bank.deposit("a-1", "30")
    await bank.reverse(2)
    sent = await bank.send("5")
    await bank.withdraw("5")
    await bank.reverse(5)
    await bank.freeze("a-1", CREDITS_FROZEN)
    for revision in (1, 3, 4, 6):
        told = await refused(bank.reverse(revision))
        assert (told.code, told.reason) == (StatusCode.FAILED_PRECONDITION, "NOT_REVERSIBLE")
        assert told.metadata == {"accountId": "a-1", "revision": str(revision)}
    assert (await refused(bank.reverse(sent.transfer.received_revision, "b-1"))).reason == "NOT_REVERSIBLE"
    for revision in (7, 8, 99, -1, 2**63 - 1):
        told = await refused(bank.reverse(revision))
        assert (told.code, told.reason) == (StatusCode.NOT_FOUND, "MOVEMENT_NOT_FOUND")
        assert told.metadata == {"accountId": "a-1", "revision": str(revision)}
    assert (await refused(bank.reverse(1, "nobodys"))).reason == "ACCOUNT_NOT_FOUND"
    assert (await refused(bank.reverse(0))).violations == {"revision": "FIELD_REQUIRED"}


async def test_spent_money_is_taken_back_only_if_the_account_may_be_overdrawn(bank: Bank) -> None:
    await bank.deposit("a-1", "30")
    await bank.withdraw("120")
    told = await refused(bank.reverse(2))
    assert (told.reason, told.metadata["availableBalance"]) == ("INSUFFICIENT_FUNDS", "10.00 USD")
    back = await bank.reverse(2, allow_overdraw=True)
    assert (show(back.account.balance), show(back.account.available_balance)) == ("-20.00 USD", "-20.00 USD")
    assert (await bank.last_event()).deposit_reversed.allow_overdraw
    assert (await refused(bank.withdraw("0.01"))).reason == "INSUFFICIENT_FUNDS"
    assert await bank.balance("a-1", (await bank.deposit("a-1", "20")).consistency_token) == "0.00 USD"


async def test_a_reversal_counts_as_the_debit_or_credit_that_it_is(bank: Bank) -> None:
    await bank.deposit("a-1", "30")
    await bank.withdraw("10")
    for state, refused_one in ((DEBITS_FROZEN, 2), (CREDITS_FROZEN, 3)):
        await bank.freeze("a-1", state)
        told = await refused(bank.reverse(refused_one))
        assert (told.reason, told.metadata["accountId"]) == ("ACCOUNT_NOT_ACTIVE", "a-1")
    await bank.reverse(2)
    await bank.freeze("a-1", DEBITS_FROZEN)
    assert show((await bank.reverse(3)).account.balance) == "100.00 USD"


async def test_spending_limits_give_nothing_back(bank: Bank) -> None:
    limits = accounts.SetSpendingLimitsRequest(account_id="a-1", per_day=usd("50"))
    await bank.accounts.SetSpendingLimits(limits)
    await bank.withdraw("40")
    await bank.reverse(3)
    assert (await refused(bank.withdraw("11"))).metadata["spent"] == "40.00 USD"


async def test_it_may_be_meant_for_one_revision(bank: Bank) -> None:
    await bank.deposit("a-1", "30")
    assert (await refused(bank.reverse(2, expected_revision=1))).reason == "REVISION_MISMATCH"
    await bank.reverse(2, expected_revision=2)


async def test_reversals_that_the_account_does_not_remember_are_known_nevertheless(
    bank: Bank, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controls, "REVERSALS_KEPT", 3)
    for _ in range(10):
        await bank.deposit("a-1", "1")
    for revision in range(3, 12):
        await bank.reverse(revision)
    reasons = [(await refused(bank.reverse(revision))).reason for revision in range(3, 12)]
    assert reasons == ["ALREADY_REVERSED"] * 9
    outcomes = await asyncio.gather(*(bank.reverse(2) for _ in range(10)), return_exceptions=True)
    told = [refusal(outcome) for outcome in outcomes if isinstance(outcome, AioRpcError)]
    assert [one.reason for one in told] == ["ALREADY_REVERSED"] * 9
    assert {one.metadata["reversedByRevision"] for one in told} == {"21"}
    assert show((await bank.deposit("a-1", "1")).account.balance) == "101.00 USD"


async def test_a_transfer_is_sent_back_once(bank: Bank) -> None:
    sent = await bank.send("30", description="Rent", external_reference="order 7")
    name = request_id()
    back = await bank.send_back(sent.transfer.transfer_id, description="Mistake", request_id=name)
    transfer, token = back.transfer, back.consistency_token
    assert (transfer.source_account_id, transfer.destination_account_id) == ("b-1", "a-1")
    assert (transfer.state, show(transfer.amount), transfer.description) == (COMPLETED, "30.00 USD", "Mistake")
    assert transfer.reverses_transfer_id == sent.transfer.transfer_id
    assert (back.account.account_id, show(back.account.balance)) == ("b-1", "20.00 USD")
    assert [await bank.balance(account_id, token) for account_id in ("a-1", "b-1")] == ["100.00 USD", "20.00 USD"]
    reversed = await bank.transfer(sent.transfer.transfer_id, token)
    assert reversed.reversed_by_transfer_id == transfer.transfer_id
    reversed.reversed_by_transfer_id = ""
    assert reversed == sent.transfer
    assert await bank.transfer(transfer.transfer_id, token) == transfer
    again = await bank.send_back(sent.transfer.transfer_id, description="Mistake", request_id=name)
    assert (again.replayed, again.transfer, again.event_id) == (True, transfer, back.event_id)
    told = await refused(bank.send_back(sent.transfer.transfer_id))
    assert (told.code, told.reason) == (StatusCode.FAILED_PRECONDITION, "ALREADY_REVERSED")
    assert told.metadata == {
        "accountId": "b-1",
        "transferId": sent.transfer.transfer_id,
        "reversedByTransferId": transfer.transfer_id,
    }
    told = await refused(bank.send_back(transfer.transfer_id))
    assert (told.reason, told.metadata["transferId"]) == ("NOT_REVERSIBLE", transfer.transfer_id)


async def test_one_of_many_reversals_of_a_transfer_is_done(bank: Bank) -> None:
    sent = await bank.send("30")
    calls = [bank.send_back(sent.transfer.transfer_id) for _ in range(20)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [refusal(one).reason for one in outcomes if isinstance(one, AioRpcError)] == ["ALREADY_REVERSED"] * 19


async def test_a_refused_return_reveals_nothing_about_the_payer(bank: Bank) -> None:
    sent = await bank.send("30")
    id = sent.transfer.transfer_id
    await bank.withdraw("45", "b-1")
    told = await refused(bank.send_back(id))
    assert (told.reason, told.metadata["accountId"]) == ("INSUFFICIENT_FUNDS", "b-1")
    assert (await refused(bank.send_back(id, expected_revision=2))).metadata["actualRevision"] == "3"
    await bank.freeze("a-1")
    told = await refused(bank.send_back(id, allow_overdraw=True))
    assert (told.reason, told.metadata) == ("ACCOUNT_NOT_ACTIVE", {"accountId": "a-1"})
    await bank.unfreeze("a-1")
    await bank.freeze("b-1", DEBITS_FROZEN)
    assert (await refused(bank.send_back(id, allow_overdraw=True))).metadata["accountId"] == "b-1"
    await bank.unfreeze("b-1")
    back = await bank.send_back(id, allow_overdraw=True)
    assert show(back.account.balance) == "-25.00 USD"
    [event] = [event for event in await bank.account_events() if event.event_id == back.event_id]
    told_of = event.transfer_sent
    assert (told_of.reverses_transfer_id, told_of.reversed_revision, told_of.allow_overdraw) == (id, 2, True)
    for unknown in ("none", request_id()):
        told = await refused(bank.send_back(unknown))
        assert (told.code, told.reason, told.metadata) == (
            StatusCode.NOT_FOUND,
            "TRANSFER_NOT_FOUND",
            {"transferId": unknown},
        )
    long = await refused(bank.send_back("none", request_id=request_id(), description="x" * 501))
    assert long.violations == {"description": "FIELD_TOO_LONG"}


async def test_the_payees_limits_do_not_keep_a_transfer_from_going_back(bank: Bank) -> None:
    sent = await bank.send("30")
    limits = accounts.SetSpendingLimitsRequest(account_id="b-1", per_transaction=usd("1"), per_day=usd("1"))
    await bank.accounts.SetSpendingLimits(limits)
    await bank.send_back(sent.transfer.transfer_id)
    assert show((await bank.withdraw("1", "b-1")).account.balance) == "19.00 USD"
