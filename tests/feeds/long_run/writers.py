"""Callers that write at a steady rate: each write is sent until it is acknowledged, to whichever instance is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Any
from uuid import UUID

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.persons.v1 import person_pb2
from openbank.persons.v1 import persons_service_pb2 as persons
from tests.callers import Caller, john_doe, opening, usd
from tests.faults.told import Asked, Broken, Told

WRITERS = 32
OWNERS = 20
WRITE_SECONDS_MAX = 120.0
"""How fast writes are is measured elsewhere: here hundreds of watches share a machine with what checks them."""
MOVES_SHARE = 0.03
"""The part of the writes that are moves; the others are deposits."""


class Writers:
    def __init__(self, addresses: Callable[[], Sequence[str]], random: Random, per_second: float) -> None:
        self.owners: list[str] = []
        self.accounts: list[str] = []
        self.deposits = 0
        """Acknowledged."""
        self.moves = 0
        self._addresses = addresses
        self._random = random
        self._pause = WRITERS / per_second
        self._callers: dict[str, Caller] = {}
        self._asked = 0
        self._stopping = False

    async def begin(self, accounts_each: int) -> None:
        """Owners, and accounts to write to."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(OWNERS):
                tasks.create_task(self._begin_one(accounts_each))

    async def _begin_one(self, accounts: int) -> None:
        owner = (await self._write("RegisterPerson", john_doe())).answers[0].person.person_id
        self.owners.append(owner)
        for _ in range(accounts):
            opened = await self._write("OpenAccount", opening(owner))
            self.accounts.append(opened.answers[0].account.account_id)

    async def run(self) -> None:
        """Until told to stop; then each write has been acknowledged."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WRITERS):
                tasks.create_task(self._go_on())

    def stop(self) -> None:
        self._stopping = True

    async def close(self) -> None:
        for caller in self._callers.values():
            await caller.channel.close()

    async def _go_on(self) -> None:
        clock = asyncio.get_running_loop().time
        due = clock() + self._random.uniform(0, self._pause)
        while not self._stopping:
            # A late writer does not catch up: that would be a burst after every outage.
            due = max(due + self._pause, clock())
            await asyncio.sleep(due - clock())
            if self._random.random() < MOVES_SHARE:
                address = person_pb2.Address(street=f"{self._asked} Main St", city="Boston", country="USA")
                await self._write(
                    "UpdateAddress",
                    persons.UpdateAddressRequest(person_id=self._random.choice(self.owners), address=address),
                )
                self.moves += 1
            else:
                account_id = self._random.choice(self.accounts)
                await self._write("Deposit", accounts.DepositRequest(account_id=account_id, amount=usd("1")))
                self.deposits += 1

    async def _write(self, rpc: str, message: Any) -> Asked:
        message.request_id = str(UUID(int=self._random.getrandbits(128)))
        self._asked += 1
        asked = Asked(self._asked, rpc, message)
        while not asked.answers:
            caller = self._caller()
            stub = caller.persons if hasattr(caller.persons, rpc) else caller.accounts
            told = await asked.send(stub, WRITE_SECONDS_MAX)
            if told is Told.REFUSED:
                raise Broken(f"{asked} was refused: {asked.refusal}")
            if not asked.answers:
                await asyncio.sleep(self._random.uniform(0.02, 0.3))
        return asked

    def _caller(self) -> Caller:
        """To an instance that may be there; while there is none, to one that was."""
        address = self._random.choice(self._addresses() or list(self._callers))
        if address not in self._callers:
            self._callers[address] = Caller(address)
        return self._callers[address]
