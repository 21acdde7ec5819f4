"""`openbank top`: what its screen shows, and that it behaves on a terminal."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from openbank.cli.main import main
from openbank.cli.terminal import width
from openbank.cli.top.metrics import MetricsReading, NoMetrics, parsed, read
from openbank.cli.top.screen import screen
from openbank.cli.top.state import AccountLine, SharedState, TopState
from tests.callers import Caller, usd
from tests.cli.commands import run_here
from tests.servers import ServerProcess

SECONDS_MAX = 30

METRICS = """
openbank_build_info{version="1.2.3",python="3.11"} 1
openbank_serving{side="commands"} 1
openbank_serving{side="queries"} 0
openbank_log_position 12345
openbank_events_appended_total{type="MONEY_DEPOSITED"} 100
openbank_events_appended_total{type="PERSON_REGISTERED"} 10
rpc_server_call_duration_seconds_count{rpc_method="a",rpc_response_status_code="OK"} 50
rpc_server_call_duration_seconds_bucket{rpc_method="a",rpc_response_status_code="OK",le="1"} 50
openbank_calls_in_flight{group="commands"} 3
openbank_view_lag_events 40
openbank_view_lag_seconds 12.5
openbank_watches 7
openbank_watch_lag_events 0
openbank_watch_lag_seconds 0
openbank_transfers_in_transit 2
openbank_holds_due 0
openbank_quarantined_aggregates 0
openbank_sink_lag_events{sink="crm"} 6
openbank_sink_lag_seconds{sink="crm"} 90
openbank_sink_parked{sink="crm"} 1
openbank_refusals_total{reason="INSUFFICIENT_FUNDS"} 4
openbank_refusals_total{reason="ACCOUNT_NOT_FOUND"} 2
openbank_refusals_total{reason="TOO_MANY_CALLS"} 0
"""


def reading(text: str, at: float) -> MetricsReading:
    return MetricsReading(at, parsed(text))


def after(*texts: str, accounts: dict[str, AccountLine] | None = None) -> TopState:
    """After readings of these metrics, ten seconds apart."""
    state = TopState("bank.example:443", accounts=accounts or {})
    for number, text in enumerate(texts):
        state = state.read(reading(text, 1000.0 + 10 * number))
    return state


def text_of(state: TopState, columns: int = 80, rows: int = 24) -> list[str]:
    return ["".join(span.text for span in line) for line in screen(state, columns, rows)]


def line_of(state: TopState, beginning: str) -> str:
    return next(line for line in text_of(state, columns=120) if line.startswith(beginning))


def test_the_screen_shows_the_figures_of_the_bank() -> None:
    state = after(METRICS, METRICS.replace('MONEY_DEPOSITED"} 100', 'MONEY_DEPOSITED"} 150').replace("} 50", "} 70"))
    assert text_of(state)[0].startswith("OpenBank 1.2.3  bank.example:443  ")
    assert text_of(state)[1] == "commands serving  queries NOT SERVING  "
    assert line_of(state, "log") == "log      position 12,345   5.0 events/s appended here"
    assert line_of(state, "calls") == "calls    2.0 calls/s   3 in flight"
    assert line_of(state, "views") == "views    lag 40 events, 12 s"
    assert line_of(state, "watches") == "watches  7   furthest lag 0 events, 0 s"
    assert line_of(state, "open") == "open     2 transfers in transit   0 holds due   0 quarantined"
    assert line_of(state, "crm").split() == ["crm", "6", "2", "min", "1"]


def test_the_last_refusals_come_first() -> None:
    lines = text_of(after(METRICS, METRICS.replace('ACCOUNT_NOT_FOUND"} 2', 'ACCOUNT_NOT_FOUND"} 3')))
    heading = next(number for number, line in enumerate(lines) if line.startswith("LAST REFUSALS"))
    assert [line.split()[:2] for line in lines[heading + 1 :]] == [
        ["ACCOUNT_NOT_FOUND", "3"],
        ["INSUFFICIENT_FUNDS", "4"],
    ]
    assert lines[-1].endswith("  before")


def test_a_restart_sets_counters_back_and_rates_stay_right() -> None:
    state = after(METRICS, METRICS.replace('MONEY_DEPOSITED"} 100', 'MONEY_DEPOSITED"} 0'))
    assert "1.0 events/s" in line_of(state, "log")


def test_a_figure_that_the_bank_does_not_report_is_a_dash() -> None:
    state = after("openbank_log_position 5\n")
    assert line_of(state, "log") == "log      position 5   - events/s appended here"
    assert line_of(state, "views") == "views    lag -"


def test_without_metrics_the_last_figures_stay_and_the_reason_is_shown() -> None:
    state = after(METRICS).failed("connection refused")
    assert text_of(state)[1].startswith("no metrics for 0.0 s: connection refused")
    assert line_of(state, "log").startswith("log      position 12,345")


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (40, 12), (200, 60), (10, 3), (1, 1)])
def test_the_screen_fits_the_terminal(columns: int, rows: int) -> None:
    accounts = {f"日本{number}\033[2J": AccountLine("1.00 EUR", "1.00 EUR", "ACTIVE", 3) for number in range(50)}
    lines = text_of(after(METRICS, accounts=accounts), columns, rows)
    assert len(lines) <= rows
    assert all(width(line) <= columns for line in lines)
    assert "\033" not in "".join(lines)
    if rows >= 24:
        assert any(line.startswith("and ") and line.endswith(" more accounts") for line in lines)


def test_an_older_event_does_not_undo_a_newer_one() -> None:
    state = TopState("", accounts={"anns": AccountLine()})
    state = state.saw("anns", AccountLine("2.00 EUR", revision=5)).saw("anns", AccountLine("1.00 EUR", revision=4))
    assert state.accounts["anns"].balance == "2.00 EUR"


def test_threads_that_write_at_once_lose_nothing() -> None:
    names = [str(number) for number in range(200)]
    shared = SharedState("", names)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: shared.saw(name, AccountLine(revision=1)), names))
    assert {one.revision for one in shared.state.accounts.values()} == {1}


async def test_an_address_without_a_bank_has_no_metrics(process: ServerProcess) -> None:
    for url in ("http://127.0.0.1:9/metrics", f"http://{process.address}/metrics", "http://no.such.name.invalid/"):
        with pytest.raises(NoMetrics):
            read(url)


class Screen:
    """A tmux of our own with one window, in which a command runs."""

    def __init__(self, socket: Path, command: str, columns: int = 80, rows: int = 24) -> None:
        self._tmux = ["tmux", "-S", str(socket)]
        self._do("-f", "/dev/null", "new-session", "-d", "-x", str(columns), "-y", str(rows), command)

    def text(self) -> str:
        return self._do("capture-pane", "-p")

    def keys(self, *keys: str) -> None:
        self._do("send-keys", *keys)

    def resize(self, columns: int, rows: int) -> None:
        self._do("resize-window", "-x", str(columns), "-y", str(rows))

    def is_full(self) -> bool:
        """Whether a program has the screen to itself."""
        return self._do("display-message", "-p", "#{alternate_on}").strip() == "1"

    def until(self, *texts: str) -> None:
        ends = time.monotonic() + SECONDS_MAX
        while any(text not in self.text() for text in texts):
            assert time.monotonic() < ends, self.text()
            time.sleep(0.1)

    def end(self) -> None:
        self._do("kill-server")

    def _do(self, *arguments: str) -> str:
        done = subprocess.run([*self._tmux, *arguments], capture_output=True, text=True, timeout=SECONDS_MAX)
        assert done.returncode == 0, done.stderr
        return done.stdout


def free_address() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """A bank with metrics, which can be started again on the same ports."""
    process = ServerProcess(tmp_path / "data", "--metrics-listen", free_address(), listen=free_address())
    await process.start()
    yield process
    await process.stop()


def url_of(process: ServerProcess) -> str:
    return f"http://{process.said('metrics are served')[-1]['listen']}/metrics"


@pytest.fixture
def screen_of(tmp_path: Path) -> Iterator[Callable[..., Screen]]:
    """Starts a command on a terminal. Its exit code and the state of the terminal are printed behind it."""
    if shutil.which("tmux") is None:
        pytest.skip("tmux is not here")
    screens = []

    def start(*arguments: str, name: str = "tmux", environment: str = "") -> Screen:
        command = shlex.join([sys.executable, "-m", "openbank", "top", *arguments])
        screens.append(Screen(tmp_path / name, f"{environment} {command}; echo code=$?; stty -a; cat"))
        return screens[-1]

    yield start
    for one in screens:
        one.end()


async def test_it_follows_a_bank_that_goes_away_and_comes_back(
    process: ServerProcess, screen_of: Callable[..., Screen]
) -> None:
    # Some seconds: a bank is started twice.
    async with Caller(process.address) as bank:
        account_id = (await bank.open(account_id="anns", initial_deposit=usd("1"))).account.account_id
        top = screen_of(
            "--target", process.address, "--metrics", url_of(process), "--every", "0.2",
            "--account", "anns", "--account", "nobodys",
        )  # fmt: skip
        await in_thread(top.until, "1.00 USD", "ACCOUNT_NOT_FOUND", "commands serving", "position 3 ")
        assert top.is_full()
        await bank.deposit(account_id, "2.50")
        await in_thread(top.until, "3.50 USD", "position 4 ")
        top.resize(50, 12)
        await in_thread(top.until, "position 4 ")
        top.resize(100, 30)
        await in_thread(top.until, "3.50 USD")
    await process.kill()
    await in_thread(top.until, "no metrics for ")
    assert "3.50 USD" in top.text()
    await process.start()
    async with Caller(process.address) as bank:
        await bank.deposit(account_id, "1")
    await in_thread(top.until, "4.50 USD", "commands serving")
    top.keys("q")
    await in_thread(top.until, "code=0")
    assert not top.is_full()


async def test_ctrl_c_leaves_the_terminal_as_it_was(process: ServerProcess, screen_of: Callable[..., Screen]) -> None:
    for number, environment in enumerate(("NO_COLOR=1", "TERM=vt100", "LC_ALL=C")):
        top = screen_of(
            "--target", process.address, "--metrics", url_of(process), name=str(number), environment=environment
        )
        await in_thread(top.until, "position ")
        top.keys("C-c")
        await in_thread(top.until, "code=130", " echo ", " icanon ")
        assert not top.is_full()
        assert "Traceback" not in top.text()


async def test_a_fault_is_reported_after_the_terminal_is_left(
    tmp_path: Path, process: ServerProcess, screen_of: Callable[..., Screen]
) -> None:
    bad = ("--token-file", str(tmp_path / "none"))
    top = screen_of("--target", process.address, "--metrics", url_of(process), *bad)
    await in_thread(top.until, "openbank: --token-file cannot be read", "code=2")
    assert not top.is_full()


async def test_it_needs_a_terminal_and_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    ended = run_here("top", "--metrics", "http://127.0.0.1:9/metrics")
    assert (ended.code, ended.err) == (2, "openbank: openbank top needs a terminal\n")
    for url in ("file:///etc/passwd", "http://user:secret@127.0.0.1/metrics"):
        with pytest.raises(SystemExit):
            main(["top", "--metrics", url])
        err = capsys.readouterr().err
        assert "argument --metrics: must be " in err
        assert "secret" not in err


async def in_thread(function: Callable[..., None], *arguments: str) -> None:
    await asyncio.to_thread(function, *arguments)
