"""python -m benchmarks.metrics: processor time of a call with metrics on, beside a bank with metrics off.

Two banks of the same code take turns, in pairs, and the order changes from pair to pair. The one with metrics is
scraped once in each of its runs, which is far more often than Prometheus would.
"""

from __future__ import annotations

import argparse
import socket
import tempfile
import timeit
import urllib.request
from pathlib import Path
from threading import Timer

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
SCRAPE_AFTER_SECONDS = 0.3
WARM_UP_SECONDS = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics", description=__doc__)
    parser.add_argument("--pairs", type=int, default=30, help="of runs, for each method (default: 30)")
    parser.add_argument("--calls", type=int, default=4_000, help="in a run (default: 4,000)")
    arguments = parser.parse_args()
    build()
    print(f"{machine()}\n")
    print(f"| CPU of a call with metrics / without, {IN_FLIGHT} in flight | median | 90 % interval | aim | pairs |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="openbank-bench-") as directory:
        scratch = Path(directory)
        bodies = {
            "Deposit": write_bodies(scratch / "deposits", map(messages.deposit, range(ACCOUNTS))),
            "GetAccount": write_bodies(scratch / "gets", map(messages.get_account, range(ACCOUNTS))),
        }
        metrics = f"127.0.0.1:{_free_port()}"
        with (
            servers.bank(scratch / "off") as off,
            servers.bank(scratch / "on", flags=["--metrics-listen", metrics]) as on,
        ):
            for bank in (off, on):
                seed(bank.address)
            for method, sent in bodies.items():
                with_metrics, without = [], []
                for number in range(arguments.pairs):
                    for turn in (number, number + 1):
                        if turn % 2:
                            with_metrics.append(_cpu_us(on, method, sent, arguments.calls, metrics))
                        else:
                            without.append(_cpu_us(off, method, sent, arguments.calls))
                found = ratios(with_metrics, without)
                low, high = interval(found, CONFIDENCE)
                of = f"{median(with_metrics):.0f} of {median(without):.0f} us"
                print(
                    f"| {method} | {median(found):.3f} | {low:.3f} to {high:.3f} | {AIM} | {len(found)}, {of} |",
                    flush=True,
                )
    print(f"\nCounting a call takes {_counting_us():.2f} us, with metrics and without.")


def _cpu_us(bank: ServerProcess, method: str, bodies: Path, calls: int, metrics: str = "") -> float:
    """Microseconds of processor time a call."""
    scrape = Timer(SCRAPE_AFTER_SECONDS, _scrape, [metrics])
    if metrics:
        scrape.start()
    begin = bank.cpu_nanoseconds()
    done = load(bank.address, messages.path(method), bodies, IN_FLIGHT, calls=calls, warm_up=WARM_UP_SECONDS)
    used = bank.cpu_nanoseconds() - begin
    if metrics:
        scrape.join()
    return used / done.all_calls / 1_000


def _scrape(metrics: str) -> None:
    urllib.request.urlopen(f"http://{metrics}/metrics", timeout=10).read()


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
