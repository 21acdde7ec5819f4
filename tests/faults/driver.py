"""Clients of a bank that is being killed: a random mix of requests, each of them sent until its outcome is known."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from random import Random
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from grpc.aio import AioRpcError

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.common.v1.money_pb2 import Money
from openbank.persons.v1 import person_pb2
from openbank.persons.v1 import persons_service_pb2 as persons
from tests.callers import Caller, john_doe
from tests.faults.governor import Governor
from tests.faults.told import SECONDS_MAX, Asked, Broken, Told, resource, revision, understand

WRITERS = 6
SETTLE_SECONDS_MAX = 60.0
"""A request that has no outcome for this long means that the bank has not come back."""
ACCOUNTS_MAX = 60
"""After so many, hardly any more are opened: the views of all are compared, again and again."""

ACCOUNTS_MIN = 6

Call = Callable[[], Awaitable[None]]


def stub_of(caller: Caller, rpc: str) -> Any:
    stubs = (caller.persons, caller.accounts, caller.holds, caller.transfers)
    return next(stub for stub in stubs if hasattr(stub, rpc))


class Driver:
    def __init__(self, addresses: Callable[[], Sequence[str]], random: Random, pause_seconds: float) -> None:
        """`addresses` gives the instances that may be there. Writers rest for `pause_seconds` between two requests."""
        self.asked: list[Asked] = []
        self.poisoned: set[str] = set()
        """Accounts that nothing more is asked of."""
        self._addresses = addresses
        self.random = random
        self._pause_seconds = pause_seconds
        self._callers: dict[str, Caller] = {}
        self._closing = AsyncExitStack()
        self._stopping = False
        self._late: list[Asked] = []
        """Requests of unknown outcome that were not sent again yet."""
        self.governor = Governor(self)
        self._persons: list[str] = []
        self.accounts: list[str] = []
        self._numbers = 100_000
        self._acknowledged = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._closing.aclose()

    @property
    def done(self) -> list[Asked]:
        """The requests that were acknowledged."""
        return [asked for asked in self.asked if asked.answers]

    async def begin(self) -> None:
        """Something to work on."""
        for _ in range(3):
            await self._register()
        for _ in range(4):
            await self._open()

    async def work(self) -> None:
        """Until told to stop; then every request has its outcome."""
        self._stopping = False
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WRITERS):
                tasks.create_task(self._write())
        while self._late:
            await self._settle(self._late.pop())

    def give_up_account(self) -> str | None:
        """One that is left to be poisoned, while no request is under way; None where all others are needed."""
        if len(self.accounts) < ACCOUNTS_MIN:
            return None
        account_id = self.accounts.pop(self.random.randrange(1, len(self.accounts)))
        self.poisoned.add(account_id)
        return account_id

    async def last_word(self) -> str:
        """The token of a write that comes after all others."""
        request = accounts.DepositRequest(account_id=self.accounts[0], amount=self.amount())
        asked = self.ask("Deposit", request)
        await self.finish(asked, later=False)
        return str(asked.answers[-1].consistency_token)

    def stop(self) -> None:
        self._stopping = True

    async def acknowledged(self, more: int) -> None:
        """Until so many more requests have been. Raises Broken when that takes too long."""
        wanted = self._acknowledged + more
        try:
            async with asyncio.timeout(SETTLE_SECONDS_MAX):
                while self._acknowledged < wanted:  # noqa: ASYNC110 - there is no event
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise Broken("the bank has not come back") from None

    def caller(self) -> Caller:
        """To some instance, which may be dead. Where all are being started, to the one that was there last."""
        address = self.random.choice(self._addresses() or list(self._callers)[-1:])
        if address not in self._callers:
            self._callers[address] = caller = Caller(address)
            self._closing.push_async_callback(caller.channel.close)
        return self._callers[address]

    async def _write(self) -> None:
        mix: dict[Call, int] = {
            self._move: 60,
            self._move_without_a_name: 6,
            self._repeat: 8,
            self._read_back: 8,
            self._send_twice_at_once: 5,
            self._expect_the_same_revision: 4,
            self._move_house: 4,
            self._open: 5,
            self._open_one_number_twice: 1,
            self._reuse_a_name: 2,
            self._register: 2,
            self._settle_one: 10,
            **self.governor.mix,
        }
        while not self._stopping:
            [call] = self.random.choices(list(mix), list(mix.values()))
            await call()
            await asyncio.sleep(self.random.uniform(0, 2 * self._pause_seconds))

    async def _register(self) -> None:
        if len(self._persons) > ACCOUNTS_MAX // 3 and self.random.random() < 0.95:
            return
        await self.finish(self.ask("RegisterPerson", john_doe(first_name=f"John {len(self.asked)}")))

    async def _move_house(self) -> None:
        address = person_pb2.Address(street=f"{len(self.asked)} Main St", city="Boston", country="USA")
        request = persons.UpdateAddressRequest(person_id=self.random.choice(self._persons), address=address)
        await self.finish(self.ask("UpdateAddress", request))

    async def _open(self) -> None:
        if len(self.accounts) > ACCOUNTS_MAX and self.random.random() < 0.95:
            return
        await self.finish(self.ask("OpenAccount", self._opening()))

    async def _open_one_number_twice(self) -> None:
        """By two persons at once, perhaps."""
        one, two = self._opening(), self._opening()
        two.account_number = one.account_number.lower()
        both = [self.ask("OpenAccount", request) for request in (one, two)]
        await asyncio.gather(*(self.finish(asked, later=False) for asked in both))
        if sum(bool(asked.answers) for asked in both) != 1:
            raise Broken(f"one number, and two answers: {both[0]}, {both[1]}")

    async def _move(self) -> None:
        await self.finish(self.ask(*self._movement()))

    async def _move_without_a_name(self) -> None:
        """Sent once: where the connection breaks, the outcome stays unknown."""
        await self._send(self.ask(*self._movement(), named=False))

    async def _repeat(self) -> None:
        """What was answered long ago is answered so again."""
        if asked := self._some_done():
            await self._send(asked)

    async def _reuse_a_name(self) -> None:
        """Another request with the request id of an earlier one does nothing."""
        if earlier := self._some_done():
            if earlier.rpc not in ("Deposit", "Withdraw"):
                return
            other = self.ask(earlier.rpc, earlier.message, earlier.message.request_id)
            other.message.amount.units += 1
            await self.finish(other, later=False)
            if other.refusal != "REQUEST_ID_REUSED":
                raise Broken(f"{other} was not refused, but its request id is that of {earlier}")

    async def _send_twice_at_once(self) -> None:
        asked = self.ask(*self._movement())
        await asyncio.gather(self._send(asked), self._send(asked))
        await self.finish(asked)

    async def _expect_the_same_revision(self) -> None:
        """Of two at once that expect the same, at most one is done."""
        account_id = self.random.choice(self.accounts)
        caller = self.caller()
        try:
            found = await caller.accounts.GetAccount(
                accounts.GetAccountRequest(account_id=account_id), timeout=SECONDS_MAX
            )
        except AioRpcError as error:
            understand(error)
            return
        both = []
        for _ in range(2):
            request = accounts.DepositRequest(account_id=account_id, amount=self.amount())
            request.expected_revision = found.account.revision
            both.append(self.ask("Deposit", request))
        await asyncio.gather(*(self.finish(asked, later=False) for asked in both))
        for asked in both:
            # Holds that were due have ended before it, in the same append.
            if asked.answers and revision(asked.answers[0]) <= found.account.revision:
                raise Broken(f"{asked} was done at another revision")
        if all(asked.answers for asked in both):
            raise Broken(f"both were done at one revision: {both[0]}, {both[1]}")

    async def _read_back(self) -> None:
        """What was acknowledged is read with its token, on any instance."""
        asked = self._some_done()
        if asked is None or asked.rpc not in ("Deposit", "Withdraw", "OpenAccount"):
            return
        answer = asked.answers[-1]
        request = accounts.GetAccountRequest(
            account_id=answer.account.account_id, consistency_token=answer.consistency_token
        )
        try:
            found = await self.caller().accounts.GetAccount(request, timeout=SECONDS_MAX)
        except AioRpcError as error:
            if understand(error)[0] is Told.REFUSED:
                raise Broken(f"the account of {asked} cannot be read: {error.details()}") from None
            return
        if found.account.revision < revision(answer):
            raise Broken(f"{asked} is not in what its own token reads: {found}")

    async def _settle_one(self) -> None:
        if self._late:
            await self._settle(self._late.pop(self.random.randrange(len(self._late))))

    async def finish(self, asked: Asked, *, later: bool = True) -> None:
        """Sends a request until its outcome is known: now, or perhaps `later`, when others have been sent."""
        told = await self._send(asked)
        if told is Told.UNCERTAIN and not asked.answers:
            if later and self.random.random() < 0.3:
                self._late.append(asked)
            else:
                await self._settle(asked)

    async def _settle(self, asked: Asked) -> None:
        deadline = asyncio.get_running_loop().time() + SETTLE_SECONDS_MAX
        while not (asked.answers or asked.refusal):
            await self._send(asked)
            if asyncio.get_running_loop().time() > deadline:
                raise Broken(f"{asked} has had no outcome for {SETTLE_SECONDS_MAX} s")

    async def _send(self, asked: Asked) -> Told:
        caller = self.caller()
        known = bool(asked.answers)
        asked.refusal = ""
        told = await asked.send(stub_of(caller, asked.rpc))
        if told is Told.DONE and not known:
            self._acknowledged += 1
            self._learn(resource(asked.answers[-1]))
            self.governor.learn(asked.answers[-1])
        elif told is Told.DONE and not asked.answers[-1].replayed:
            raise Broken(f"{asked} was done a second time")
        elif told is Told.REFUSED and known and not asked.came_back:
            raise Broken(f"{asked} was done, and then refused: {asked.refusal}")
        elif told in (Told.UNCERTAIN, Told.NOTHING_WRITTEN):
            await asyncio.sleep(self.random.uniform(0.02, 0.2))
        return told

    def _learn(self, made: Any) -> None:
        """A new person, or a new account."""
        name, known = ("account_id", self.accounts) if hasattr(made, "account_id") else ("person_id", self._persons)
        if made.revision == 1:
            known.append(getattr(made, name))

    def ask(self, rpc: str, request: Any, request_id: str | None = None, *, named: bool = True) -> Asked:
        message = type(request)()
        message.CopyFrom(request)
        if named:
            message.request_id = request_id or str(UUID(int=self.random.getrandbits(128)))
        asked = Asked(len(self.asked), rpc, message)
        self.asked.append(asked)
        return asked

    def _movement(self, deposit: bool = False) -> tuple[str, Any]:
        # The first account is a hot one.
        account_id = self.accounts[0] if self.random.random() < 0.3 else self.random.choice(self.accounts)
        if deposit or self.random.random() < 0.6:
            return "Deposit", accounts.DepositRequest(account_id=account_id, amount=self.amount())
        return "Withdraw", accounts.WithdrawRequest(account_id=account_id, amount=self.amount())

    def _opening(self) -> accounts.OpenAccountRequest:
        self._numbers += 1
        return accounts.OpenAccountRequest(
            owner_id=self.random.choice(self._persons),
            account_number=f"NL {self._numbers}",
            initial_deposit=self.amount(),
        )

    def amount(self) -> Money:
        cents = self.random.randint(1, 50_000)
        return Money(currency_code="USD", units=cents // 100, nanos=cents % 100 * 10_000_000)

    def _some_done(self) -> Asked | None:
        """One with a request id; of late, or of long ago."""
        some = self.asked[-50:] if self.random.random() < 0.5 else self.asked
        asked = self.random.choice(some)
        if not (asked.answers and asked.named):
            return None
        return None if getattr(resource(asked.answers[0]), "account_id", "") in self.poisoned else asked
