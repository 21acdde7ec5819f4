"""Histories of random calls on a few persons and accounts, for what must hold in any of them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.holds.v1 import holds_service_pb2 as holds
from openbank.persons.v1 import person_pb2
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.transfers.v1 import transfers_service_pb2 as transfers
from tests.callers import john_doe, refusal, usd
from tests.stories.one_account import AccountCaller

WEIGHTS = {
    "RegisterPerson": 1, "UpdateAddress": 1, "OpenAccount": 3, "Deposit": 2, "Withdraw": 1, "FreezeAccount": 0.5,
    "UnfreezeAccount": 2, "CloseAccount": 1, "SetOverdraftLimit": 0.5, "SetSpendingLimits": 0.5, "CreateTransfer": 6,
    "PlaceHold": 3, "CaptureHold": 2, "ReleaseHold": 2, "ReverseMovement": 4, "ReverseTransfer": 3,
}  # fmt: skip
"""How often a history has each call."""


class AnyCaller(AccountCaller):
    async def outcome(self, rpc: str, request: Any) -> Any:
        """The answer, or the refusal."""
        service = next(one for one in (self.persons, self.accounts, self.transfers, self.holds) if hasattr(one, rpc))
        try:
            return await getattr(service, rpc)(request)
        except grpc.aio.AioRpcError as error:
            return refusal(error)


class History:
    """Requests of all kinds on a few persons and accounts. Many are refused, and some repeat an earlier one."""

    def __init__(self, seed: int, weights: Mapping[str, float] = WEIGHTS) -> None:
        self._choice = random.Random(seed)
        self._weights = weights
        self._holds: list[tuple[str, str]] = []
        self._transfers = ["none"]
        self._sent: list[tuple[str, Any]] = []

    def next(self) -> tuple[str, Any]:
        if self._sent and self._choice.random() < 0.15:
            return self._choice.choice(self._sent)
        (rpc,) = self._choice.choices(*zip(*self._weights.items(), strict=True))
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
