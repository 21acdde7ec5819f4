"""A fresh bank with 1,000 accounts, the bare echo beside it, and the bodies to send to both."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
from google.protobuf.message import Message

from benchmarks import load, messages, servers, stored
from benchmarks.load import Load, write_bodies
from benchmarks.scratch import Scratch
from benchmarks.seed import ACCOUNTS, OWNERS, seed
from benchmarks.servers import ServerProcess
from openbank.accounts.v1.accounts_service_pb2_grpc import AccountsServiceStub

MANY = 64
FEW = 8


class Bench:
    def __init__(self, scratch: Scratch, bank: ServerProcess, echo: ServerProcess) -> None:
        self.scratch = scratch
        self.data = scratch.directory / "bank"
        self.bank = bank
        self.echo = echo
        self.deposited = stored.deposits(self.data)

    def load(self, server: ServerProcess, method: str, in_flight: int, bodies: str) -> Load:
        path = self.scratch.directory / bodies
        done = load.load(server.address, messages.path(method), path, in_flight, seconds=self.scratch.seconds)
        if server is self.bank and method == "Deposit":
            self.deposited += done.all_calls
        return done

    def deposits(self, in_flight: int = MANY, bodies: str = "deposits") -> Load:
        return self.load(self.bank, "Deposit", in_flight, bodies)

    def echoes(self, in_flight: int = MANY) -> Load:
        return self.load(self.echo, "Deposit", in_flight, "deposits")

    def check(self) -> None:
        """As many deposits in the store as there were calls."""
        held = stored.deposits(self.data)
        if held != self.deposited:
            raise SystemExit(f"the store holds {held} deposits, {self.deposited} calls were answered")


@contextmanager
def bench(scratch: Scratch) -> Iterator[Bench]:
    directory = scratch.directory
    write_bodies(directory / "deposits", (messages.deposit(number) for number in range(ACCOUNTS)))
    write_bodies(directory / "deposits to one", [messages.deposit(0)])
    write_bodies(directory / "gets", (messages.get_account(number) for number in range(ACCOUNTS)))
    write_bodies(directory / "lists", (messages.list_accounts(number) for number in range(OWNERS)))
    with servers.bank(directory / "bank") as bank:
        seed(bank.address)
        _keep_answers(bank.address, directory / "answers")
        with servers.echo(directory / "answers") as echo:
            made = Bench(scratch, bank, echo)
            yield made
            made.check()


def _keep_answers(address: str, directory: Path) -> None:
    """The bank's own answers, for the echo to give."""
    directory.mkdir()
    with grpc.insecure_channel(address) as channel:
        bank = AccountsServiceStub(channel)
        answers: dict[str, Message] = {
            "Deposit": bank.Deposit(messages.deposit(1, request_id="a3a0f1f0-6d4c-4f0e-9d2b-3f0f0c8f1e5d")),
            "GetAccount": bank.GetAccount(messages.get_account(1)),
            "ListAccountsByOwner": bank.ListAccountsByOwner(messages.list_accounts(1)),
        }
    for name, answer in answers.items():
        (directory / name).write_bytes(answer.SerializeToString())
