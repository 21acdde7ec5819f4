"""What it costs to know who calls: processor time of a GetAccount by TLS and with a token, beside a plain one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from benchmarks import messages, servers
from benchmarks.bench import MANY
from benchmarks.cpu import used
from benchmarks.load import write_bodies
from benchmarks.measure import Found, Round, Row, experiment, ratio
from benchmarks.scratch import Scratch
from benchmarks.seed import ACCOUNTS, seed
from benchmarks.ways import ways

PATH = messages.path("GetAccount")
AIM = 1.2
NOTE = "{:,.0f} of {:,.0f} us"


@experiment(
    Row("server CPU a GetAccount by TLS with a key / plain, 64 in flight", AIM, NOTE, at_most=True),
    Row("server CPU a GetAccount by TLS with a JWT / plain, 64 in flight", AIM, NOTE, at_most=True),
)
def callers(scratch: Scratch) -> Iterator[Round]:
    """Each way has a bank of its own with the same accounts; all take turns."""
    directory = scratch.directory
    plain, *others = ways(directory)
    with servers.bank(directory / "seeded") as bank:
        seed(bank.address)
    bodies = write_bodies(directory / "gets", map(messages.get_account, range(ACCOUNTS)))
    with ExitStack() as running:
        banks = {
            way: running.enter_context(
                servers.bank(shutil.copytree(directory / "seeded", directory / way.name), flags=way.serve)
            )
            for way in (plain, *others)
        }

        def measure() -> Sequence[Found]:
            us = {way: used(banks[way], PATH, bodies, MANY, seconds=scratch.seconds, more=way.call).us for way in banks}
            return [ratio(us[way], us[plain]) for way in others]

        yield measure
