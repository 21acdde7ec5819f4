"""python -m benchmarks.metrics: processor time of a call with metrics on, beside a bank with metrics off.

Two banks of the same code take turns, in pairs, and the order changes from pair to pair. Every few pairs both are
started again, since each process has a speed of its own. The one with metrics is scraped every 5 seconds, which is more
often than Prometheus does by default.
"""

from __future__ import annotations

import argparse
import socket
import tempfile
import timeit
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from benchmarks import messages, servers
from benchmarks.load import build, load, write_bodies
from benchmarks.measure import interval, median, ratios
from benchmarks.report import machine
from benchmarks.seed import ACCOUNTS, seed
from benchmarks.servers import ServerProcess
from openbank.rpc.statistics import Durations

IN_FLIGHT = 64
AIM = 1.03
CONFIDENCE = 0.9
SCRAPE_SECONDS = 5.0
WARM_UP_SECONDS = 0.2
PAIRS_OF_A_START = 5
METHODS = {"Deposit": messages.deposit, "GetAccount": messages.get_account}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics", description=__doc__)
    parser.add_argument("--pairs", type=int, default=30, help="of runs, for each method (default: 30)")
    parser.add_argument("--calls", type=int, default=4_000, help="in a run (default: 4,000)")
    arguments = parser.parse_args()
    build()
    used: dict[tuple[str, bool], list[float]] = {(method, on): [] for method in METHODS for on in (False, True)}
    done = 0
    while done < arguments.pairs:
        pairs = min(PAIRS_OF_A_START, arguments.pairs - done)
        with tempfile.TemporaryDirectory(prefix="openbank-bench-") as directory:
            _measure(Path(directory), range(done, done + pairs), arguments.calls, used)
        done += pairs
    print(f"{machine()}\n")
    print(f"| CPU of a call with metrics / without, {IN_FLIGHT} in flight | median | 90 % interval | aim | pairs |")
    print("|---|---|---|---|---|")
    for method in METHODS:
        on, off = used[method, True], used[method, False]
        found = ratios(on, off)
        low, high = interval(found, CONFIDENCE)
        figures = f"{median(found):.3f} | {low:.3f} to {high:.3f} | {AIM}"
        print(f"| {method} | {figures} | {len(found)}, {median(on):.0f} of {median(off):.0f} us |")
    print(f"\nCounting a call takes {_counting_us():.2f} us, with metrics and without.")


def _measure(scratch: Path, pairs: range, calls: int, used: dict[tuple[str, bool], list[float]]) -> None:
    metrics = f"127.0.0.1:{_free_port()}"
    flags = ["--metrics-listen", metrics]
    # Who is started first changes too.
    order = (False, True) if pairs.start // PAIRS_OF_A_START % 2 else (True, False)
    with (
        servers.bank(scratch / "first", flags=flags if order[0] else ()) as first,
        servers.bank(scratch / "second", flags=flags if order[1] else ()) as second,
        _scraped(metrics),
    ):
        banks = dict(zip(order, (first, second), strict=True))
        for bank in banks.values():
            seed(bank.address)
        for method, message in METHODS.items():
            bodies = write_bodies(scratch / method, map(message, range(ACCOUNTS)))
            for number in pairs:
                for on in (number % 2 == 0, number % 2 == 1):
                    used[method, on].append(_cpu_us(banks[on], method, bodies, calls))


def _cpu_us(bank: ServerProcess, method: str, bodies: Path, calls: int) -> float:
    """Microseconds of processor time a call."""
    begin = bank.cpu_nanoseconds()
    done = load(bank.address, messages.path(method), bodies, IN_FLIGHT, calls=calls, warm_up=WARM_UP_SECONDS)
    return (bank.cpu_nanoseconds() - begin) / done.all_calls / 1_000


@contextmanager
def _scraped(metrics: str) -> Iterator[None]:
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


def _counting_us() -> float:
    """What `Call.ended` does for the metrics."""
    counting = timeit.Timer('durations["OK"].observe(0.0012)', globals={"durations": Durations()})
    runs = 1_000_000
    return min(counting.repeat(number=runs)) * 1e6 / runs


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


if __name__ == "__main__":
    main()
