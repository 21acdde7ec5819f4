"""A yardstick: deposits with the `eventsourcing` library on its SQLite recorder, as its own tutorials write them.

In process, one after another, with its cache of aggregates on. Prints deposits a second.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

ACCOUNTS = 1_000


class Account(Aggregate):
    @event("Opened")
    def __init__(self, owner_id: str) -> None:
        self.owner_id = owner_id
        self.balance = 0

    @event("MoneyDeposited")
    def deposit(self, amount: int, description: str) -> None:
        self.balance += amount


class Bank(Application[UUID]):
    def open(self, owner_id: str) -> UUID:
        account = Account(owner_id)
        self.save(account)
        return account.id

    def deposit(self, account_id: UUID, amount: int, description: str) -> int:
        account: Account = self.repository.get(account_id)
        account.deposit(amount, description)
        self.save(account)
        return account.balance


def deposits_a_second(bank: Bank, accounts: Sequence[UUID], seconds: float) -> float:
    before = bank.recorder.max_notification_id() or 0
    done = 0
    begin = time.perf_counter()
    while (took := time.perf_counter() - begin) < seconds:
        bank.deposit(accounts[done % len(accounts)], 1250, "Salary deposit")
        done += 1
    if (bank.recorder.max_notification_id() or 0) - before != done:
        raise SystemExit(f"the library's store does not hold its {done} deposits")
    return done / took


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    bank = Bank(
        env={
            "PERSISTENCE_MODULE": "eventsourcing.sqlite",
            "SQLITE_DBNAME": str(arguments.file),
            "AGGREGATE_CACHE_MAXSIZE": str(ACCOUNTS),
        }
    )
    accounts = [bank.open(f"person-{number}") for number in range(ACCOUNTS)]
    print(deposits_a_second(bank, accounts, arguments.seconds))
