"""validate_only: a call is answered as if it were carried out, and leaves nothing. On every back end."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from openbank import sweeper
from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.eventstore.eventstoredb.store import EventStoreDBEventStore
from openbank.eventstore.sqlite import SqliteEventStore
from openbank.holds.v1 import holds_service_pb2 as holds
from openbank.persons.v1 import person_pb2
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.transfers.v1 import transfers_service_pb2 as transfers
from tests.back_ends import BackEnd
from tests.callers import Refusal, john_doe, refusal, usd
from tests.foresight import check_foreseen, dry
from tests.stories.one_account import AccountCaller, Clock, opened

HOUR = 3_600_000_000
STEPS = 400
SEED = 13
_WEIGHTS = {
    "RegisterPerson": 1, "UpdateAddress": 1, "OpenAccount": 3, "Deposit": 2, "Withdraw": 1, "FreezeAccount": 0.5,
    "UnfreezeAccount": 2, "CloseAccount": 1, "SetOverdraftLimit": 0.5, "SetSpendingLimits": 0.5, "CreateTransfer": 6,
    "PlaceHold": 3, "CaptureHold": 2, "ReleaseHold": 2, "ReverseMovement": 4, "ReverseTransfer": 3,
}  # fmt: skip
"""How often a history has each call."""
_MET = {
    *_WEIGHTS, "REPLAYED", "ACCOUNT_NOT_FOUND", "ACCOUNT_NOT_ACTIVE", "ACCOUNT_NUMBER_TAKEN", "HOLD_NOT_OPEN",
    "INSUFFICIENT_FUNDS", "OWNER_NOT_FOUND", "REQUEST_ID_REUSED", "REVISION_MISMATCH", "SPENDING_LIMIT_EXCEEDED",
    "CAPTURE_EXCEEDS_HOLD", "ALREADY_REVERSED", "MOVEMENT_NOT_FOUND", "NOT_REVERSIBLE",
}  # fmt: skip
"""What a history must come to, so that it shows something."""


class Bank(AccountCaller):
    async def outcome(self, rpc: str, request: Any) -> Any:
        """The answer, or the refusal."""
        service = next(one for one in (self.persons, self.accounts, self.transfers, self.holds) if hasattr(one, rpc))
        try:
            return await getattr(service, rpc)(request)
        except grpc.aio.AioRpcError as error:
            return refusal(error)


@pytest.fixture(params=["embedded", "esdb"])
def chosen(request: pytest.FixtureRequest) -> BackEnd:
    """Each event store, with views in SQLite: a dry run does not ask them."""
    return BackEnd(event_store=request.param)


@pytest.fixture
async def bank(appended: list[str], back_end: BackEnd, tmp_path: Path, clock: Clock) -> AsyncIterator[Bank]:
    async with opened(Bank, back_end, tmp_path / "data", clock) as bank:
        yield bank


@pytest.fixture
def appended(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The streams of all appends from now on. The bank itself sweeps no holds meanwhile."""
    monkeypatch.setattr(sweeper, "REST_SECONDS", 600.0)
    streams: list[str] = []
    for store in (SqliteEventStore, EventStoreDBEventStore):

        def append(self: Any, stream: str, *rest: Any, _append: Any = store.append) -> Any:
            streams.append(stream)
            return _append(self, stream, *rest)

        monkeypatch.setattr(store, "append", append)
    return streams


class History:
    """Requests of all kinds on a few persons and accounts. Many are refused, and some repeat an earlier one."""

    def __init__(self, seed: int) -> None:
        self._choice = random.Random(seed)
        self._holds: list[tuple[str, str]] = []
        self._transfers = ["none"]
        self._sent: list[tuple[str, Any]] = []

    def next(self) -> tuple[str, Any]:
        if self._sent and self._choice.random() < 0.15:
            return self._choice.choice(self._sent)
        (rpc,) = self._choice.choices(*zip(*_WEIGHTS.items(), strict=True))
        request = getattr(self, rpc)()
        if self._choice.random() < 0.7:
            request.request_id = f"00000000-0000-0000-0000-{self._choice.randrange(1, 200):012}"
        if "expected_revision" in request.DESCRIPTOR.fields_by_name and self._choice.random() < 0.1:
            request.expected_revision = self._choice.randrange(1, 12)
        self._sent.append((rpc, request))
        return rpc, request

    def take(self, answer: Any) -> None:
        if hasattr(answer, "hold"):
            self._holds.append((answer.hold.account_id, answer.hold.hold_id))
        if hasattr(answer, "transfer"):
            self._transfers.append(answer.transfer.transfer_id)

    def RegisterPerson(self) -> Any:
        return john_doe(person_id=self._choice.choice(["", "p1", "p2", "p3"]))

    def UpdateAddress(self) -> Any:
        address = person_pb2.Address(street="1 Main St", city=self._choice.choice(["Paris", ""]), country="FR")
        return persons.UpdateAddressRequest(person_id=self._choice.choice(["p1", "p2", "p9"]), address=address)

    def OpenAccount(self) -> Any:
        return accounts.OpenAccountRequest(
            account_id=self._choice.choice(["", "a-1", "a-2", "a-3", "a-4"]),
            owner_id=self._choice.choice(["p1", "p2", "p9"]),
            account_number=f"N{self._choice.randrange(12)}",
            initial_deposit=self._choice.choice([None, self._amount()]),
        )

    def Deposit(self) -> Any:
        return accounts.DepositRequest(account_id=self._account(), amount=self._amount())

    def Withdraw(self) -> Any:
        return accounts.WithdrawRequest(account_id=self._account(), amount=self._amount())

    def FreezeAccount(self) -> Any:
        state: Any = self._choice.choice([2, 4, 5])
        return accounts.FreezeAccountRequest(account_id=self._account(), state=state, reason="Court order")

    def UnfreezeAccount(self) -> Any:
        return accounts.UnfreezeAccountRequest(account_id=self._account())

    def CloseAccount(self) -> Any:
        return accounts.CloseAccountRequest(account_id=self._choice.choice(["a-3", "a-4"]))

    def SetOverdraftLimit(self) -> Any:
        return accounts.SetOverdraftLimitRequest(account_id=self._account(), limit=self._amount())

    def SetSpendingLimits(self) -> Any:
        return accounts.SetSpendingLimitsRequest(account_id=self._account(), per_day=usd("50"))

    def CreateTransfer(self) -> Any:
        account_id, hold_id = self._choice.choice([(self._account(), ""), (self._account(), ""), self._hold()])
        request = transfers.CreateTransferRequest(source_account_id=account_id, amount=self._amount(), hold_id=hold_id)
        if self._choice.random() < 0.5:
            request.destination_account_number = "N3"
        else:
            request.destination_account_id = self._account()
        return request

    def ReverseMovement(self) -> Any:
        revision, overdraw = self._choice.randrange(1, 30), self._choice.random() < 0.5
        return accounts.ReverseMovementRequest(account_id=self._account(), revision=revision, allow_overdraw=overdraw)

    def ReverseTransfer(self) -> Any:
        transfer_id, overdraw = self._choice.choice(self._transfers[-5:]), self._choice.random() < 0.5
        return transfers.ReverseTransferRequest(transfer_id=transfer_id, allow_overdraw=overdraw)

    def PlaceHold(self) -> Any:
        ttl = Duration(seconds=self._choice.choice([1, 7200, 86_400]))
        return holds.PlaceHoldRequest(account_id=self._account(), amount=self._amount(), ttl=ttl)

    def CaptureHold(self) -> Any:
        account_id, hold_id = self._hold()
        return holds.CaptureHoldRequest(
            account_id=account_id,
            hold_id=hold_id,
            amount=self._choice.choice([None, usd("5"), usd("50")]),
            release_remainder=self._choice.random() < 0.5,
        )

    def ReleaseHold(self) -> Any:
        account_id, hold_id = self._hold()
        return holds.ReleaseHoldRequest(account_id=account_id, hold_id=hold_id)

    def _account(self) -> str:
        return self._choice.choice(["a-1", "a-1", "a-2", "a-2", "a-3", "nobody"])

    def _amount(self) -> Any:
        return usd(self._choice.choice(["5", "5", "20", "20", "90", "1000"]))

    def _hold(self) -> tuple[str, str]:
        """A recent one, and its account, or rarely another."""
        account_id, hold_id = self._choice.choice(self._holds[-6:] or [("a-1", "none")])
        return (account_id if self._choice.random() < 0.9 else self._account()), hold_id


async def test_a_dry_run_says_what_the_call_then_does(bank: Bank, clock: Clock, appended: list[str]) -> None:
    await bank.register(person_id="p1")
    await bank.open("p1", account_id="a-2", account_number="N3", initial_deposit=usd("500"))
    history, met = History(SEED), set()
    for step in range(STEPS):
        rpc, request = history.next()
        del appended[:]
        foreseen = await bank.outcome(rpc, dry(request))
        assert appended == [], f"step {step}: a dry run of {rpc} was recorded in {appended}"
        came = await bank.outcome(rpc, request)
        check_foreseen(request, foreseen, came)
        if isinstance(came, Refusal):
            met.add(came.reason)
        else:
            met.add("REPLAYED" if came.replayed else rpc)
            history.take(came)
        if step % 10 == 9:
            clock.now += HOUR
    assert met >= _MET
