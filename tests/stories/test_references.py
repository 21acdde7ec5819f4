"""References and labels come back wherever what they were given with is shown, on every back end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.common.v1.label_pb2 import Label
from openbank.holds.v1 import holds_service_pb2 as holds
from openbank.transfers.v1 import transfers_service_pb2 as transfers
from tests.back_ends import BackEnd
from tests.callers import Caller, refused, request_id, usd

LABELS = [Label(key="shop.id", value="Zoë\u2019s 12"), Label(key="till", value="")]
TAGS: Mapping[str, Any] = {"external_reference": "order 7", "labels": LABELS}


@pytest.fixture
async def bank(back_end: BackEnd, tmp_path: Path) -> AsyncIterator[Caller]:
    async with serving(back_end.settings(tmp_path / "data")) as server, Caller(server.address) as bank:
        await bank.open(account_id="a-1", initial_deposit=usd("100"))
        await bank.open(account_id="b-1", initial_deposit=usd("0"))
        yield bank


def tags_of(message: Any) -> tuple[str, list[Label]]:
    return message.external_reference, list(message.labels)


async def test_events_of_movements_have_them(bank: Caller) -> None:
    amount = usd("1")
    await bank.accounts.Deposit(accounts.DepositRequest(account_id="a-1", amount=amount, **TAGS))
    await bank.accounts.Withdraw(accounts.WithdrawRequest(account_id="a-1", amount=amount, **TAGS))
    placed = await bank.holds.PlaceHold(holds.PlaceHoldRequest(account_id="a-1", amount=amount, **TAGS))
    hold_id = placed.hold.hold_id
    await bank.holds.CaptureHold(holds.CaptureHoldRequest(account_id="a-1", hold_id=hold_id, **TAGS))
    request = transfers.CreateTransferRequest(
        source_account_id="a-1", destination_account_id="b-1", amount=amount, **TAGS
    )
    sent = await bank.transfers.CreateTransfer(request)
    events = {event.revision: event for event in await bank.account_events() if event.account_id == "a-1"}
    payloads = [getattr(events[number], str(events[number].WhichOneof("payload"))) for number in range(2, 7)]
    assert [tags_of(payload) for payload in payloads] == [("order 7", LABELS)] * 5
    listed = accounts.ListAccountEventsRequest(account_id="a-1", consistency_token=sent.consistency_token)
    assert list((await bank.accounts.ListAccountEvents(listed)).events) == [
        events[number] for number in range(6, 0, -1)
    ]


async def test_holds_and_transfers_have_them_and_the_payee_sees_them_in_no_event(bank: Caller) -> None:
    placed = await bank.holds.PlaceHold(holds.PlaceHoldRequest(account_id="a-1", amount=usd("5"), **TAGS))
    hold_id = placed.hold.hold_id
    assert tags_of(placed.hold) == ("order 7", LABELS)
    request = transfers.CreateTransferRequest(
        source_account_id="a-1", destination_account_id="b-1", amount=usd("2"), hold_id=hold_id, **TAGS
    )
    sent = await bank.transfers.CreateTransfer(request)
    assert tags_of(sent.transfer) == ("order 7", LABELS)
    token = sent.consistency_token
    got = holds.GetHoldRequest(hold_id=hold_id, consistency_token=token)
    listed = holds.ListHoldsRequest(account_id="a-1", consistency_token=token)
    shown = [(await bank.holds.GetHold(got)).hold, *(await bank.holds.ListHolds(listed)).holds]
    assert [tags_of(hold) for hold in shown] == [("order 7", LABELS)] * 2
    asked = transfers.GetTransferRequest(transfer_id=sent.transfer.transfer_id, consistency_token=token)
    assert (await bank.transfers.GetTransfer(asked)).transfer == sent.transfer
    every = transfers.ListTransfersRequest(consistency_token=token)
    assert list((await bank.transfers.ListTransfers(every)).transfers) == [sent.transfer]
    [received] = [event for event in await bank.account_events() if event.WhichOneof("payload") == "transfer_received"]
    assert b"order 7" not in received.SerializeToString()


async def test_they_are_part_of_what_a_request_id_compares(bank: Caller) -> None:
    amount = usd("1")
    request = accounts.DepositRequest(request_id=request_id(), account_id="a-1", amount=amount, **TAGS)
    first = await bank.accounts.Deposit(request)
    again = await bank.accounts.Deposit(request)
    assert (again.replayed, again.event_id) == (True, first.event_id)
    for other in (
        {"external_reference": "order 8", "labels": LABELS},
        {"external_reference": "order 7", "labels": LABELS[::-1]},
        {"external_reference": "order 7", "labels": LABELS[:1]},
        {"external_reference": "order 7"},
        {},
    ):
        changed = accounts.DepositRequest(request_id=request.request_id, account_id="a-1", amount=amount, **other)
        assert (await refused(bank.accounts.Deposit(changed))).reason == "REQUEST_ID_REUSED"


async def test_a_reference_need_not_be_unique(bank: Caller) -> None:
    request = accounts.DepositRequest(account_id="a-1", amount=usd("1"), **TAGS)
    assert not (await bank.accounts.Deposit(request)).replayed
    assert not (await bank.accounts.Deposit(request)).replayed
