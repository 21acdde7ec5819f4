"""Instructions that a server process executes for a call: they repeat where times do not.

Counted by `perf stat` where the machine lets it, which many virtual machines don't; else by valgrind's callgrind, which
executes the server itself, some fifty times slower, and counts what it does outside the kernel.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks import messages, servers
from benchmarks.bench import MANY, bench
from benchmarks.load import Load, load
from benchmarks.measure import Found, NotMeasured, Round, Row, experiment, ratio
from benchmarks.scratch import Scratch
from benchmarks.seed import seed
from benchmarks.servers import ServerProcess

CALLS = {"perf": 5_000, "callgrind": 400}
WARM_UP_SECONDS = {"perf": 1.0, "callgrind": 10.0}
_CALLGRIND = ("valgrind", "--tool=callgrind", "--cache-sim=no")
MODULE = {"perf": "openbank", "callgrind": "benchmarks.slow_bank"}

Drive = Callable[[], Load]
Count = Callable[[ServerProcess, Drive], float]
"""Instructions a call of one drive."""


@experiment(
    Row(
        "server instructions a Deposit / an echo",
        2.3,
        "{:,.0f} of {:,.0f} thousand, {:.0f} deposits a commit",
        at_most=True,
    ),
    rounds=3,
)
def counted(scratch: Scratch) -> Iterator[Round]:
    counter = _counter()
    with bench(scratch):
        """For the echo's answers and the bodies."""
    directory = scratch.directory
    metrics = f"127.0.0.1:{servers.free_port()}"

    def drive(server: ServerProcess, warm_up: float = 0.0) -> Load:
        calls = 1 if warm_up else CALLS[counter]
        path, bodies = messages.path("Deposit"), directory / "deposits"
        return load(server.address, path, bodies, MANY, calls=calls, warm_up=warm_up)

    under_bank, count_bank = _under(counter, directory)
    under_echo, count_echo = _under(counter, directory)
    flags = ("--metrics-listen", metrics)
    with (
        servers.bank(directory / "counted", under_bank, flags, module=MODULE[counter]) as bank,
        servers.echo(directory / "answers", under_echo) as echo,
    ):
        seed(bank.address)
        for server in (bank, echo):
            drive(server, WARM_UP_SECONDS[counter])

        def measure() -> Sequence[Found]:
            before = _commits(metrics)
            of_bank = count_bank(bank, lambda: drive(bank)) / 1000
            events, commits = (now - then for now, then in zip(_commits(metrics), before, strict=True))
            return [ratio(of_bank, count_echo(echo, lambda: drive(echo)) / 1000, events / commits)]

        yield measure


def _counter() -> str:
    """What counts on this machine."""
    if shutil.which("perf"):
        tried = subprocess.run(
            ["perf", "stat", "-x,", "-e", "instructions", "true"], capture_output=True, text=True, check=False
        )
        if tried.returncode == 0 and re.match(r"\d+,", tried.stderr):
            return "perf"
    if shutil.which("valgrind"):
        return "callgrind"
    raise NotMeasured("neither perf's counter nor valgrind on this machine")


def _under(counter: str, directory: Path) -> tuple[Sequence[str], Count]:
    """The command to start a server with, and how to count what it does."""
    if counter == "perf":
        return (), _perf
    dumps = Path(tempfile.mkdtemp(dir=directory)) / "callgrind.out"
    return (*_CALLGRIND, f"--callgrind-out-file={dumps}"), _callgrind(dumps)


def _perf(server: ServerProcess, drive: Drive) -> float:
    perf = subprocess.Popen(
        ["perf", "stat", "-x,", "-e", "instructions", "-p", str(server.pid)], stderr=subprocess.PIPE, text=True
    )
    calls = drive().calls
    perf.send_signal(signal.SIGINT)
    _, counted = perf.communicate()
    return int(counted.split(",")[0]) / calls


def _callgrind(dumps: Path) -> Count:
    """Each dump counts from the one before, which the first of a pair therefore begins."""

    def count(server: ServerProcess, drive: Drive) -> float:
        _dump(server.pid, dumps)
        calls = drive().calls
        return _dump(server.pid, dumps) / calls

    return count


def _dump(pid: int, dumps: Path) -> int:
    subprocess.run(["callgrind_control", "-d", str(pid)], capture_output=True, check=True)
    newest = max(dumps.parent.glob(f"{dumps.name}.*"), key=lambda path: int(path.suffix[1:]))
    total = re.search(r"^totals: (\d+)", newest.read_text(), re.MULTILINE)
    if total is None:
        raise SystemExit(f"callgrind's dump {newest.name} has no total")
    return int(total[1])


def _commits(metrics: str) -> tuple[float, float]:
    """Events committed so far, and the commits that they were in."""
    scraped = urllib.request.urlopen(f"http://{metrics}/metrics", timeout=60).read().decode()
    found = dict(re.findall(r"^openbank_commit_size_events_(sum|count)\S* (\S+)", scraped, re.MULTILINE))
    return float(found["sum"]), float(found["count"])
