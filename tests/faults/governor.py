"""What clients of a bank that is killed ask for beside movements: states, limits, holds, transfers and reversals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.duration_pb2 import Duration

from openbank.accounts.v1 import account_pb2
from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.common.v1.money_pb2 import Money
from openbank.holds.v1 import holds_service_pb2 as holds
from openbank.transfers.v1 import transfers_service_pb2 as transfers

if TYPE_CHECKING:
    from tests.faults.driver import Call, Driver

FREEZES = (
    account_pb2.ACCOUNT_STATE_FROZEN,
    account_pb2.ACCOUNT_STATE_DEBITS_FROZEN,
    account_pb2.ACCOUNT_STATE_CREDITS_FROZEN,
)
SOON_SECONDS = 43_200
"""Longer than any campaign. A hold that ends sooner ends during it."""
HOLDS_MAX = 50
"""Ids of holds that are remembered, open or not."""
MOVED_MAX = 30
"""Movements and transfers that are remembered, reversed or not."""


class Governor:
    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._random = driver.random
        self._holds: list[tuple[str, str]] = []
        """The holds of some accounts: their ids, and those of the accounts."""
        self._moved: list[tuple[str, int]] = []
        """Accounts, and revisions at which money may have moved."""
        self._transfers: list[tuple[str, str, str]] = []
        """The ids of transfers, and those of the accounts on both sides."""
        self._frozen: list[str] = []
        self.ttls: tuple[int, ...] = (1, 2, 2 * SOON_SECONDS)
        """How long holds last, in seconds: some so short that they end by themselves."""

    @property
    def mix(self) -> dict[Call, int]:
        """Calls, and how often each is made."""
        return {
            self._transfer: 30,
            self._transfer_there_and_back: 4,
            self._place: 12,
            self._end_hold: 12,
            self._reverse: 8,
            self._send_back: 6,
            self._freeze: 3,
            self._unfreeze: 6,
            self._limit: 4,
            self._close: 1,
        }

    def learn(self, answer: Any) -> None:
        if "hold" in answer.DESCRIPTOR.fields_by_name:
            self._holds.append((answer.hold.account_id, answer.hold.hold_id))
            del self._holds[:-HOLDS_MAX]
        if "account" in answer.DESCRIPTOR.fields_by_name:
            self._moved.append((answer.account.account_id, answer.account.revision))
            del self._moved[:-MOVED_MAX]
        if "transfer" in answer.DESCRIPTOR.fields_by_name:
            made = answer.transfer
            self._transfers.append((made.transfer_id, made.source_account_id, made.destination_account_id))
            del self._transfers[:-MOVED_MAX]

    def _some(self) -> str:
        """Any account but the first, which always moves."""
        return self._random.choice(self._driver.accounts[1:])

    async def _transfer(self) -> None:
        source, destination = self._random.sample(self._driver.accounts, 2)
        await self._send(source, destination, self._driver.amount())

    async def _transfer_there_and_back(self) -> None:
        """What two pay each other leaves both as they were."""
        one, other = self._random.sample(self._driver.accounts, 2)
        amount = self._driver.amount()
        await self._send(one, other, amount)
        await self._send(other, one, amount)

    async def _send(self, source: str, destination: str, amount: Money) -> None:
        request = transfers.CreateTransferRequest(
            source_account_id=source, destination_account_id=destination, amount=amount
        )
        own = [hold_id for account_id, hold_id in self._holds if account_id == source]
        if own and self._random.random() < 0.3:
            request.hold_id = self._random.choice(own)
        await self._ask("CreateTransfer", request)

    async def _place(self) -> None:
        """Some for so short that they end by themselves."""
        ttl = Duration(seconds=self._random.choice(self.ttls))
        account_id = self._random.choice(self._driver.accounts)
        await self._ask(
            "PlaceHold", holds.PlaceHoldRequest(account_id=account_id, amount=self._driver.amount(), ttl=ttl)
        )

    async def _end_hold(self) -> None:
        if not self._holds:
            return
        account_id, hold_id = self._random.choice(self._holds)
        if account_id in self._driver.poisoned:
            return
        if self._random.random() < 0.4:
            await self._ask("ReleaseHold", holds.ReleaseHoldRequest(account_id=account_id, hold_id=hold_id))
            return
        request = holds.CaptureHoldRequest(account_id=account_id, hold_id=hold_id)
        if self._random.random() < 0.6:
            request.amount.CopyFrom(Money(currency_code="USD", units=self._random.randint(1, 50)))
            request.release_remainder = self._random.random() < 0.5
        await self._ask("CaptureHold", request)

    async def _reverse(self) -> None:
        """Some a second time, and some that are no movements."""
        account_id, revision = self._random.choice(self._moved or [("nobody", 1)])
        if account_id not in self._driver.poisoned:
            overdraw = self._random.random() < 0.5
            request = accounts.ReverseMovementRequest(account_id=account_id, revision=revision, allow_overdraw=overdraw)
            await self._ask("ReverseMovement", request)

    async def _send_back(self) -> None:
        transfer_id, *accounts_of = self._random.choice(self._transfers or [("none", "nobody", "nobody")])
        # The payer's stream is read too.
        if not self._driver.poisoned.intersection(accounts_of):
            overdraw = self._random.random() < 0.5
            request = transfers.ReverseTransferRequest(transfer_id=transfer_id, allow_overdraw=overdraw)
            await self._ask("ReverseTransfer", request)

    async def _freeze(self) -> None:
        account_id = self._some()
        self._frozen.append(account_id)
        state = self._random.choice(FREEZES)
        request = accounts.FreezeAccountRequest(account_id=account_id, state=state, reason="Inquiry")
        await self._ask("FreezeAccount", request)

    async def _unfreeze(self) -> None:
        frozen = [account_id for account_id in self._frozen if account_id not in self._driver.poisoned]
        self._frozen.clear()
        for account_id in frozen:
            await self._ask("UnfreezeAccount", accounts.UnfreezeAccountRequest(account_id=account_id))

    async def _limit(self) -> None:
        account_id, limit = self._some(), self._driver.amount()
        if self._random.random() < 0.5:
            await self._ask("SetOverdraftLimit", accounts.SetOverdraftLimitRequest(account_id=account_id, limit=limit))
            return
        request = accounts.SetSpendingLimitsRequest(account_id=account_id)
        if self._random.random() < 0.5:
            limit.units += 1_000
            request.per_day.CopyFrom(limit)
        await self._ask("SetSpendingLimits", request)

    async def _close(self) -> None:
        """Empty ones are few: most have money, or some in transit."""
        account_id = self._some()
        await self._ask("CloseAccount", accounts.CloseAccountRequest(account_id=account_id))

    async def _ask(self, rpc: str, request: Any) -> None:
        await self._driver.finish(self._driver.ask(rpc, request))
