"""An hour of mixed load on a bank with 1,000,000 events and 100,000 accounts, and what memory it takes: `make soak`.

The load is paced, as it is memory that is measured here and not speed. Customers deposit and withdraw, look at their
accounts and movements, open new ones; watches follow, come and go. The figures go to soak.json, from which `make bench`
shows the last ones.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import grpc
from google.protobuf.empty_pb2 import Empty

from benchmarks import history, messages, servers, stored
from benchmarks.measure import Measure
from benchmarks.seed import register
from benchmarks.servers import ROOT, ServerProcess
from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub

RESULTS = ROOT / "benchmarks" / "soak.json"
MEGABYTES_MAX = 250
IN_FLIGHT = 16
WATCHES = 20
SAMPLE_SECONDS = 10.0
POPULAR = 2_000
"""The accounts that half of the calls are about. Those with a long history are among them."""


class Soak:
    def __init__(self, bank: ServerProcess, minutes: float, rate: float) -> None:
        self._bank = bank
        self._end = time.monotonic() + minutes * 60
        self._begin = time.monotonic()
        self._rate = rate
        self._random = random.Random(7)
        self.calls: Counter[str] = Counter()
        self.samples: list[tuple[float, float]] = []
        """Seconds since the beginning, and megabytes."""

    async def run(self) -> None:
        async with grpc.aio.insecure_channel(self._bank.address) as channel:
            self._stub = AccountsServiceStub(channel)
            # One person, for new accounts: the history has none.
            self._owner = await register(channel)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._sample())
                for _ in range(IN_FLIGHT):
                    tasks.create_task(self._call())
                for _ in range(WATCHES):
                    tasks.create_task(self._watch())

    async def _sample(self) -> None:
        said = 0.0
        while (now := time.monotonic()) < self._end:
            self.samples.append((now - self._begin, resident_megabytes(self._bank.pid)))
            if now - said > 60:
                said = now
                print(
                    f"{self.samples[-1][0] / 60:6.1f} min {self.samples[-1][1]:7.1f} MB {dict(self.calls)}", flush=True
                )
            await asyncio.sleep(SAMPLE_SECONDS)

    async def _call(self) -> None:
        kinds: list[Callable[[int], Awaitable[object]]] = [self._deposit, self._withdraw, self._get, self._list]
        kinds += [self._movements, self._open]
        while time.monotonic() < self._end:
            account = self._random.randrange(POPULAR if self._random.random() < 0.5 else history.ACCOUNTS)
            [kind] = self._random.choices(kinds, weights=(50, 10, 25, 5, 8, 2))
            name = kind.__name__.strip("_")
            try:
                await kind(account)
            except grpc.aio.AioRpcError as error:
                # Accounts run out of money, as they do.
                name += f" {error.code().name}"
            self.calls[name] += 1
            await asyncio.sleep(self._random.expovariate(self._rate / IN_FLIGHT))

    async def _deposit(self, account: int) -> None:
        await self._stub.Deposit(messages.deposit(account, str(uuid.uuid4())))

    async def _withdraw(self, account: int) -> None:
        await self._stub.Withdraw(
            accounts.WithdrawRequest(
                request_id=str(uuid.uuid4()), account_id=messages.account_id(account), amount=messages.PAYMENT
            )
        )

    async def _get(self, account: int) -> None:
        await self._stub.GetAccount(messages.get_account(account))

    async def _list(self, account: int) -> None:
        await self._stub.ListAccountsByOwner(messages.list_accounts(account // 5))

    async def _movements(self, account: int) -> None:
        await self._stub.ListAccountEvents(accounts.ListAccountEventsRequest(account_id=messages.account_id(account)))

    async def _open(self, account: int) -> None:
        await self._stub.OpenAccount(
            accounts.OpenAccountRequest(
                request_id=str(uuid.uuid4()),
                owner_id=self._owner,
                account_number=str(self._random.randrange(10**20, 10**21)),
                initial_deposit=messages.PAYMENT,
            )
        )

    async def _watch(self) -> None:
        """From now on, or now and then from the beginning, for some minutes."""
        while time.monotonic() < self._end:
            start = {"beginning": Empty()} if self._random.random() < 0.1 else {"live": Empty()}
            call = self._stub.WatchAccountEvents(accounts.WatchAccountEventsRequest(**start))  # type: ignore[arg-type]
            seconds = min(self._random.uniform(10, 300), self._end - time.monotonic())
            try:
                async with asyncio.timeout(max(seconds, 0.1)):
                    async for response in call:
                        self.calls["events followed"] += len(response.events)
            except TimeoutError:
                call.cancel()
            except grpc.aio.AioRpcError as error:
                self.calls[f"watch {error.code().name}"] += 1


def resident_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1000


def row() -> Measure:
    """The last soak, as `make bench` shows it."""
    name = "memory with 1,000,000 events and 100,000 accounts, after an hour of mixed load"
    if not RESULTS.exists():
        return Measure(name, [], MEGABYTES_MAX, "`make soak` has not been run here", at_most=True, unit="MB")
    result = json.loads(RESULTS.read_text())
    note = (
        f"at the end of {result['minutes']:.0f} minutes; {result['after_ten_minutes']:.0f} MB after ten,"
        f" {result['most']:.0f} at most; {result['calls']:,} calls; {result['day']}"
    )
    return Measure(name, [result["end"]], MEGABYTES_MAX, note, at_most=True, unit="MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="(default: 60)")
    parser.add_argument("--rate", type=float, default=300, help="calls a second, about (default: 300)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="openbank-soak-") as directory:
        data = Path(directory) / "bank"
        print("writing the history", flush=True)
        history.write(data)
        with servers.bank(data) as bank:
            while stored.projected(data) < history.EVENTS:
                time.sleep(1)
            soak = Soak(bank, arguments.minutes, arguments.rate)
            asyncio.run(soak.run())
    megabytes = [size for _, size in soak.samples]
    result = {
        "day": datetime.now(UTC).date().isoformat(),
        "minutes": arguments.minutes,
        "calls": sum(count for name, count in soak.calls.items() if name != "events followed"),
        "by_kind": dict(soak.calls),
        "after_ten_minutes": next((size for at, size in soak.samples if at >= 600), megabytes[-1]),
        "most": max(megabytes),
        "end": megabytes[-1],
        "samples": soak.samples,
    }
    RESULTS.write_text(json.dumps(result) + "\n")
    print(row().note)


if __name__ == "__main__":
    main()
