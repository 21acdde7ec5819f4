"""An hour of mixed load on a bank with 1,000,000 events and 100,000 accounts, and what memory it takes: `make soak`.

The load is paced, as it is memory that is measured here and not speed. It has calls of every kind, by TLS with a key,
and metrics are scraped.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import grpc

from benchmarks import history, loop, results, rounds, servers, stored
from benchmarks.measure import Found, Round, Row, experiment
from benchmarks.metrics import scraped
from benchmarks.mixed_load import MixedLoad
from benchmarks.scratch import Scratch
from benchmarks.seed import register
from benchmarks.servers import ServerProcess
from benchmarks.ways import ways

MINUTES = 60.0
CALLS_PER_SECOND = 300.0
SAMPLE_SECONDS = 10.0
SAID_SECONDS = 60.0
EARLY_SECONDS = 600.0


@experiment(
    Row(
        "memory after an hour's soak, all features in the mix",
        250,
        "1,000,000 events and 100,000 accounts at the beginning; {:.0f} MB after ten minutes, {:.0f} at most;"
        " {:,.0f} calls",
        at_most=True,
        unit="MB",
    ),
    rounds=1,
    long=True,
)
def memory(scratch: Scratch) -> Iterator[Round]:
    yield lambda: [soak(scratch.directory, MINUTES, CALLS_PER_SECOND)]


def soak(directory: Path, minutes: float, rate: float) -> Found:
    """`rate`: calls a second, about."""
    data, metrics = directory / "bank", f"127.0.0.1:{servers.free_port()}"
    _, with_key, _ = ways(directory)
    print("writing the history", flush=True)
    history.write(data)
    with (
        servers.bank(data, flags=(*with_key.serve, "--metrics-listen", metrics)) as bank,
        scraped(metrics),
    ):
        stored.wait_until_projected(data, history.EVENTS)
        certificate, token = with_key.call[1], with_key.call[3]
        return loop.run(_soak(bank, Path(certificate).read_bytes(), token, minutes, rate))


async def _soak(bank: ServerProcess, certificate: bytes, token: str, minutes: float, rate: float) -> Found:
    tls, key = grpc.ssl_channel_credentials(certificate), grpc.access_token_call_credentials(token)
    credentials = grpc.composite_channel_credentials(tls, key)
    async with grpc.aio.secure_channel(bank.address, credentials) as channel:
        load = MixedLoad(channel, await register(channel), rate, time.monotonic() + minutes * 60)
        running = asyncio.create_task(load.run())
        samples = []
        begin = said = time.monotonic()
        while not running.done():
            samples.append(bank.resident_megabytes())
            if time.monotonic() - said > SAID_SECONDS:
                said = time.monotonic()
                print(f"{(said - begin) / 60:6.1f} min {samples[-1]:7.1f} MB {dict(load.calls)}", flush=True)
            await asyncio.wait([running], timeout=SAMPLE_SECONDS)
        await running
    early = samples[min(len(samples) - 1, round(EARLY_SECONDS / SAMPLE_SECONDS))]
    calls = load.calls.total() - load.calls["events followed"]
    return Found(samples[-1], (early, max(samples), calls))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=MINUTES, help="a whole hour is kept as a row (default: 60)")
    parser.add_argument("--rate", type=float, default=CALLS_PER_SECOND, help="calls a second, about (default: 300)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="openbank-soak-") as directory:
        found = soak(Path(directory), arguments.minutes, arguments.rate)
    [measured] = [rounds.result(row, [found]) for row in memory.rows]
    if arguments.minutes >= MINUTES:
        results.keep([measured])
    print(f"{found.value:.0f} MB at the end; {measured.note}")


if __name__ == "__main__":
    main()
