"""Money moves from one account to another: what callers see, on every back end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode

from openbank.accounts.v1 import account_events_pb2, account_pb2
from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.commands import settling
from openbank.common.v1.money_pb2 import Money
from openbank.holds.v1 import hold_pb2
from openbank.holds.v1 import holds_service_pb2 as holds
from openbank.transfers.v1 import transfer_pb2
from openbank.transfers.v1 import transfers_service_pb2 as messages
from tests.back_ends import BackEnd
from tests.callers import Caller, refused, request_id, show, usd

COMPLETED = transfer_pb2.TRANSFER_STATE_COMPLETED
RETURNED = transfer_pb2.TRANSFER_STATE_RETURNED
FROZEN = account_pb2.ACCOUNT_STATE_FROZEN
DEBITS_FROZEN = account_pb2.ACCOUNT_STATE_DEBITS_FROZEN
MOST = 2**53 - 1


class Bank(Caller):
    """Transfers from a-1, which has 100 USD, to b-1, which has 20."""

    def send(self, amount: str | Money = "30", **changes: Any) -> Awaitable[Any]:
        by_id = {} if "destination_account_number" in changes else {"destination_account_id": "b-1"}
        money = usd(amount) if isinstance(amount, str) else amount
        fields: dict[str, Any] = {"source_account_id": "a-1", "amount": money, **by_id, **changes}
        return self.transfers.CreateTransfer(messages.CreateTransferRequest(**fields))  # type: ignore[no-any-return]

    def freeze(self, account_id: str, state: Any = FROZEN) -> Awaitable[Any]:
        request = accounts.FreezeAccountRequest(account_id=account_id, state=state, reason="Fraud")
        return self.accounts.FreezeAccount(request)  # type: ignore[no-any-return]

    def close(self, account_id: str, **changes: Any) -> Awaitable[Any]:
        return self.accounts.CloseAccount(  # type: ignore[no-any-return]
            accounts.CloseAccountRequest(account_id=account_id, reason="By the owner", **changes)
        )

    async def transfer(self, transfer_id: str, token: str = "") -> transfer_pb2.Transfer:
        request = messages.GetTransferRequest(transfer_id=transfer_id, consistency_token=token)
        transfer: transfer_pb2.Transfer = (await self.transfers.GetTransfer(request)).transfer
        return transfer

    async def listed(self, token: str, **fields: Any) -> list[str]:
        request = messages.ListTransfersRequest(consistency_token=token, **fields)
        return [one.transfer_id for one in (await self.transfers.ListTransfers(request)).transfers]


@pytest.fixture
async def bank(back_end: BackEnd, tmp_path: Path) -> AsyncIterator[Bank]:
    async with serving(back_end.settings(tmp_path / "data")) as server, Bank(server.address) as bank:
        await bank.open(account_id="a-1", initial_deposit=usd("100"))
        await bank.open(account_id="b-1", initial_deposit=usd("20"), account_number="12-34 5678")
        yield bank


async def test_a_transfer_completes_in_one_call(bank: Bank) -> None:
    sent = await bank.send("30", description="Rent")
    transfer = sent.transfer
    assert (transfer.state, show(transfer.amount), transfer.description) == (COMPLETED, "30.00 USD", "Rent")
    assert (transfer.source_account_id, transfer.destination_account_id) == ("a-1", "b-1")
    assert (transfer.sent_revision, transfer.received_revision) == (2, 2)
    assert (sent.account.account_id, show(sent.account.balance), sent.account.revision) == ("a-1", "70.00 USD", 2)
    assert await bank.balance("a-1", sent.consistency_token) == "70.00 USD"
    assert await bank.balance("b-1", sent.consistency_token) == "50.00 USD"
    assert await bank.transfer(transfer.transfer_id, sent.consistency_token) == transfer


async def test_its_events_lead_from_one_to_the_next(bank: Bank) -> None:
    name = request_id()
    sent = await bank.send(request_id=name)
    left, arrived = [event for event in await bank.account_events() if event.revision == 2]
    assert left.type == account_events_pb2.ACCOUNT_EVENT_TYPE_TRANSFER_SENT
    assert arrived.type == account_events_pb2.ACCOUNT_EVENT_TYPE_TRANSFER_RECEIVED
    assert (left.event_id, left.request_id) == (sent.event_id, name)
    assert (arrived.causation_id, arrived.request_id) == (left.event_id, "")
    assert arrived.correlation_id == left.correlation_id
    assert left.transfer_sent.transfer_id == arrived.transfer_received.transfer_id == sent.transfer.transfer_id


async def test_the_same_request_again_sends_nothing_and_gives_the_same_answer(bank: Bank) -> None:
    name = request_id()
    first = await bank.send(request_id=name)
    await bank.deposit("a-1", "1")
    by_number = {"destination_account_number": "1234-5678"}
    for again in (await bank.send(request_id=name), await bank.send(request_id=name, **by_number)):
        assert again.replayed
        assert (again.transfer, again.account, again.event_id) == (first.transfer, first.account, first.event_id)
    assert (await refused(bank.send("31", request_id=name))).reason == "REQUEST_ID_REUSED"
    assert await bank.balance("b-1", again.consistency_token) == "50.00 USD"


async def test_an_account_is_paid_by_its_number(bank: Bank) -> None:
    sent = await bank.send(destination_account_number="1234 5678")
    assert sent.transfer.destination_account_id == "b-1"
    refusal = await refused(bank.send(destination_account_number="none"))
    assert (refusal.reason, dict(refusal.metadata)) == ("ACCOUNT_NOT_FOUND", {"accountNumber": "none"})
    assert (await refused(bank.send(destination_account_number="~"))).reason == "INVALID_ACCOUNT_NUMBER"


async def test_faults_of_the_request_and_the_source_are_reported_before_the_destination(bank: Bank) -> None:
    for nobody in ({"destination_account_number": "none"}, {"destination_account_id": "none"}):
        expected = {
            "AMOUNT_NOT_POSITIVE": bank.send("-1", request_id=request_id(), **nobody),
            "REVISION_MISMATCH": bank.send(expected_revision=7, **nobody),
            "INSUFFICIENT_FUNDS": bank.send("1000", **nobody),
            "ACCOUNT_NOT_FOUND": bank.send(**nobody),
        }
        for reason, call in expected.items():
            assert (await refused(call)).reason == reason


async def test_nothing_is_sent_to_the_account_itself(bank: Bank) -> None:
    same = {"source_account_id": "b-1"}
    for destination in ({"destination_account_id": "b-1"}, {"destination_account_number": "12345678"}):
        refusal = await refused(bank.send(**same, **destination))
        assert (refusal.code, refusal.reason) == (StatusCode.INVALID_ARGUMENT, "SAME_ACCOUNT")
        assert refusal.metadata["field"] in destination


async def test_a_refusal_of_the_source_moves_nothing(bank: Bank) -> None:
    refusal = await refused(bank.send("100.01"))
    assert (refusal.reason, refusal.metadata["availableBalance"]) == ("INSUFFICIENT_FUNDS", "100.00 USD")
    assert (await refused(bank.send(expected_revision=7))).metadata["accountId"] == "a-1"
    assert (await refused(bank.send(source_account_id="none"))).metadata == {"accountId": "none"}
    assert (await refused(bank.send(hold_id="none"))).reason == "HOLD_NOT_FOUND"
    assert (await refused(bank.send(Money(currency_code="EUR", units=1)))).reason == "CURRENCY_MISMATCH"
    await bank.freeze("a-1")
    assert (await refused(bank.send())).reason == "ACCOUNT_NOT_ACTIVE"
    assert len(await bank.account_events()) == 3


async def test_a_refusal_of_the_destination_sends_nothing_and_reveals_no_figures(bank: Bank) -> None:
    await bank.open(account_id="euro", currency_code="EUR")
    full = Money(currency_code="USD", units=MOST // 100, nanos=MOST % 100 * 10_000_000)
    await bank.open(account_id="full", initial_deposit=full)
    name = request_id()
    await bank.freeze("b-1")
    expected = {
        "none": "ACCOUNT_NOT_FOUND",
        "full": "BALANCE_LIMIT_EXCEEDED",
        "b-1": "ACCOUNT_NOT_ACTIVE",
    }
    for account_id, reason in expected.items():
        refusal = await refused(bank.send(destination_account_id=account_id, request_id=name))
        assert (refusal.reason, dict(refusal.metadata)) == (reason, {"accountId": account_id})
    assert (await refused(bank.send(destination_account_id="euro"))).reason == "CURRENCY_MISMATCH"
    # Nothing was written: the same request succeeds once the account takes money.
    await bank.accounts.UnfreezeAccount(accounts.UnfreezeAccountRequest(account_id="b-1"))
    assert not (await bank.send(request_id=name)).replayed


async def test_a_hold_pays_another_account(bank: Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    placed = await bank.holds.PlaceHold(holds.PlaceHoldRequest(account_id="a-1", amount=usd("80")))
    hold_id = placed.hold.hold_id
    assert (await refused(bank.send("30"))).reason == "INSUFFICIENT_FUNDS"
    assert (await refused(bank.send("80.01", hold_id=hold_id))).reason == "CAPTURE_EXCEEDS_HOLD"
    sent = await bank.send("30", hold_id=hold_id)
    assert (sent.transfer.hold_id, show(sent.account.held_balance)) == (hold_id, "50.00 USD")
    assert [show(sent.account.balance), show(sent.account.available_balance)] == ["70.00 USD", "20.00 USD"]

    async def freeze_first(*arguments: Any) -> Any:
        await bank.freeze("b-1")
        return await settling.settle(*arguments)

    # What comes back goes to the balance, and not into the hold.
    monkeypatch.setattr("openbank.commands.transfers.settle", freeze_first)
    assert (await refused(bank.send("50", hold_id=hold_id))).reason == "TRANSFER_RETURNED"
    last = await bank.deposit("a-1", "1")
    assert [show(last.account.balance), show(last.account.available_balance)] == ["71.00 USD", "71.00 USD"]
    asked = holds.GetHoldRequest(hold_id=hold_id, consistency_token=last.consistency_token)
    hold = (await bank.holds.GetHold(asked)).hold
    assert (show(hold.captured_amount), hold.state) == ("80.00 USD", hold_pb2.HOLD_STATE_CAPTURED)


async def test_an_account_whose_debits_are_frozen_is_paid(bank: Bank) -> None:
    await bank.freeze("b-1", DEBITS_FROZEN)
    assert (await bank.send()).transfer.state == COMPLETED


async def test_transfers_are_listed_newest_first_by_account_and_state(bank: Bank) -> None:
    there = [(await bank.send("1")).transfer.transfer_id for _ in range(3)]
    back = await bank.send("1", source_account_id="b-1", destination_account_id="a-1")
    other = await bank.open(account_id="c-1")
    newest_first = [back.transfer.transfer_id, *reversed(there)]
    token = other.consistency_token
    for account_id in ("a-1", "b-1", ""):
        assert await bank.listed(token, account_id=account_id) == newest_first
        assert await bank.listed(token, account_id=account_id, states=[COMPLETED]) == newest_first
        assert await bank.listed(token, account_id=account_id, states=[RETURNED]) == []
    assert await bank.listed(token, account_id="c-1") == []
    first = await bank.transfers.ListTransfers(messages.ListTransfersRequest(page_size=3, consistency_token=token))
    assert [one.transfer_id for one in first.transfers] == newest_first[:3]
    assert await bank.listed("", page_token=first.next_page_token, page_size=3) == newest_first[3:]
    assert (await refused(bank.listed(token, account_id="none"))).reason == "ACCOUNT_NOT_FOUND"
    assert (await refused(bank.listed(token, states=[0]))).reason == "UNKNOWN_ENUM_VALUE"
    assert (await refused(bank.transfer("none", token))).reason == "TRANSFER_NOT_FOUND"


async def test_an_account_is_closed_once_nothing_that_it_sent_can_come_back(bank: Bank) -> None:
    await bank.send("100")
    name = request_id()
    closed = await bank.close("a-1", request_id=name)
    assert closed.account.state == account_pb2.ACCOUNT_STATE_CLOSED
    assert (await bank.close("a-1", request_id=name)).replayed
    refusal = await refused(bank.send(source_account_id="b-1", destination_account_id="a-1"))
    assert (refusal.reason, dict(refusal.metadata)) == ("ACCOUNT_NOT_ACTIVE", {"accountId": "a-1"})
