"""Processor time of a call with metrics on, beside a bank with metrics off.

Two banks of the same code take turns, in pairs, and the order changes from pair to pair. Each round starts both again,
since each process has a speed of its own. The one with metrics is scraped every 5 seconds, which is more often than
Prometheus does by default.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event, Thread

from google.protobuf.message import Message

from benchmarks import messages, servers
from benchmarks.bench import MANY
from benchmarks.cpu import used
from benchmarks.load import write_bodies
from benchmarks.measure import Found, Round, Row, experiment, median, ratio
from benchmarks.scratch import Scratch
from benchmarks.seed import ACCOUNTS, seed
from benchmarks.servers import ServerProcess

CALLS = 3_000
"""In a run."""
PAIRS = 5
"""Pairs of runs in a round."""
NOTE = f"{{:,.0f}} of {{:,.0f}} us; each round is {PAIRS} pairs on banks just started"
SCRAPE_SECONDS = 5.0
METHODS: Mapping[str, Callable[[int], Message]] = {"Deposit": messages.deposit, "GetAccount": messages.get_account}


@experiment(
    *(Row(f"server CPU a {method} with metrics / without", 1.03, NOTE, at_most=True) for method in METHODS), rounds=6
)
def on_and_off(scratch: Scratch) -> Iterator[Round]:
    for method, message in METHODS.items():
        write_bodies(scratch.directory / method, map(message, range(ACCOUNTS)))
    metrics = f"127.0.0.1:{servers.free_port()}"

    def measure() -> Sequence[Found]:
        with scratch.inner() as fresh, _banks(fresh, metrics) as (off, on), scraped(metrics):
            return [_compared(scratch, method, off, on) for method in METHODS]

    yield measure


@contextmanager
def _banks(scratch: Scratch, metrics: str) -> Iterator[tuple[ServerProcess, ServerProcess]]:
    with (
        servers.bank(scratch.directory / "off") as off,
        servers.bank(scratch.directory / "on", flags=("--metrics-listen", metrics)) as on,
    ):
        for bank in (off, on):
            seed(bank.address)
        yield off, on


def _compared(scratch: Scratch, method: str, off: ServerProcess, on: ServerProcess) -> Found:
    """The median of the pairs."""
    pairs = []
    for number in range(PAIRS):
        us = {bank: _us(scratch, method, bank) for bank in ((off, on) if number % 2 else (on, off))}
        pairs.append(ratio(us[on], us[off]))
    figures = (median(values) for values in zip(*(pair.figures for pair in pairs), strict=True))
    return Found(median([pair.value for pair in pairs]), tuple(figures))


def _us(scratch: Scratch, method: str, bank: ServerProcess) -> float:
    return used(bank, messages.path(method), scratch.directory / method, MANY, calls=CALLS).us


@contextmanager
def scraped(metrics: str) -> Iterator[None]:
    """Scrapes every few seconds until the block ends."""
    ended = Event()

    def scrape() -> None:
        while not ended.wait(SCRAPE_SECONDS):
            urllib.request.urlopen(f"http://{metrics}/metrics", timeout=10).read()

    scraping = Thread(target=scrape)
    scraping.start()
    try:
        yield
    finally:
        ended.set()
        scraping.join()
