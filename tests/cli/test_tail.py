"""`openbank tail`, as people and scripts use it."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path

import pytest

from openbank.cli.main import main
from openbank.cli.terminal import is_coloured
from openbank.server import Server
from tests.callers import Caller
from tests.client.proxy import proxy_of
from tests.servers import ServerProcess, run_openbank

PATIENCE_SECONDS = 20


def connected(address: str) -> str:
    """What a live tail says: it prints nothing until there is an event."""
    return f"openbank: connected to {address}, waiting for events; Ctrl-C ends"


class Tail:
    """A tail in a process of its own, and what it has said."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._said = asyncio.Event()
        self._reading = [
            asyncio.create_task(self._read(process.stdout, self.lines)),
            asyncio.create_task(self._read(process.stderr, self.errors)),
        ]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                self._said.clear()
                await self._said.wait()

    async def until_lines(self, count: int) -> None:
        await self.until(lambda: len(self.lines) >= count)

    async def end(self, number: signal.Signals) -> int:
        """The exit code."""
        self._process.send_signal(number)
        return await self.ended()

    async def ended(self) -> int:
        code = await asyncio.wait_for(self._process.wait(), PATIENCE_SECONDS)
        await asyncio.wait(self._reading)
        return code

    async def _read(self, stream: asyncio.StreamReader, into: list[str]) -> None:
        async for line in stream:
            into.append(line.decode().rstrip("\n"))
            self._said.set()


@asynccontextmanager
async def tailing(*arguments: str) -> AsyncIterator[Tail]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "openbank", "tail", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    tail = Tail(process)
    try:
        yield tail
    finally:
        if process.returncode is None:
            await tail.end(signal.SIGKILL)


async def test_a_tail_prints_history_and_then_new_events(bank: Caller, server: Server) -> None:
    await bank.open(account_id="anns")
    async with tailing("accounts", "--target", server.address, "--from", "beginning") as tail:
        await tail.until_lines(1)
        await bank.deposit("anns", "12.50")
        await tail.until_lines(2)
        assert [line.split()[1:] for line in tail.lines] == [
            ["anns", "1", "ACCOUNT_OPENED", "+0.00", "0.00", "USD"],
            ["anns", "2", "MONEY_DEPOSITED", "+12.50", "12.50", "USD"],
        ]
        assert await tail.end(signal.SIGINT) == 0
        assert tail.errors == [connected(server.address)]


async def test_a_lost_connection_is_made_again_and_both_are_reported(bank: Caller, server: Server) -> None:
    account_id = (await bank.open()).account.account_id
    async with (
        proxy_of(server.address) as proxy,
        tailing("accounts", "--target", proxy.address, "--from", "beginning") as tail,
    ):
        await tail.until_lines(1)
        proxy.cut()
        await bank.deposit(account_id, "1")
        await tail.until_lines(2)
        assert tail.errors[0] == connected(proxy.address)
        assert tail.errors[1].startswith(f"openbank: no connection to {proxy.address}, trying again: UNAVAILABLE: ")
        assert tail.errors[2:] == [f"openbank: connected to {proxy.address}"]
        assert await tail.end(signal.SIGTERM) == 0


async def test_a_bank_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    async with proxy_of("127.0.0.1:9") as nobody, tailing("accounts", "--target", nobody.address) as tail:
        await tail.until(lambda: len(tail.errors) == 1)
        assert await tail.end(signal.SIGINT) == 0
        assert len(tail.errors) == 1


async def test_a_tail_for_a_script_says_what_it_waits_for(server: Server) -> None:
    async with proxy_of(server.address) as proxy:
        proxy.mute()
        script = ("accounts", "--target", proxy.address, "--from", "beginning", "--until-caught-up")
        async with tailing(*script) as tail:
            await tail.until(lambda: bool(tail.errors))
            assert tail.errors == [f"openbank: waiting for an answer from {proxy.address}"]
            proxy.unmute()
            assert await tail.ended() == 0
        proxy.answer(404)
        async with tailing(*script) as tail:
            await tail.until(lambda: bool(tail.errors))
            assert tail.errors[0].startswith(f"openbank: no connection to {proxy.address}, trying again: UNIMPLEMENTED")
            proxy.stop_answering()
            assert await tail.ended() == 0
            assert tail.errors[1:] == [f"openbank: connected to {proxy.address}"]


async def test_a_tail_with_a_file_prints_each_event_once_despite_interruptions(
    process: ServerProcess, tmp_path: Path
) -> None:
    arguments = ("accounts", "--from", "beginning", "--resume", str(tmp_path / "place"), "--format", "json")
    printed: list[str] = []
    async with Caller(process.address) as bank:
        account_id = (await bank.open(account_id="anns")).account.account_id
        for number in (signal.SIGINT, signal.SIGTERM):
            async with tailing(*arguments, "--target", process.address) as tail:
                for _ in range(30):
                    await bank.deposit(account_id, "1")
                await tail.until_lines(5)
                assert await tail.end(number) == 0
                printed += tail.lines
    # At another address, too: the bank is known by its tokens.
    await process.kill()
    await process.start()
    code, out, err = await run_openbank("tail", *arguments, "--target", process.address, "--until-caught-up")
    assert (code, err) == (0, "")
    async with Caller(process.address) as bank:
        events = [json.loads(line) for line in [*printed, *out.splitlines()]]
        assert [event["event_id"] for event in events] == [event.event_id for event in await bank.account_events()]


async def test_filters_are_those_of_the_feed(bank: Caller, server: Server) -> None:
    opened = await bank.open(account_id="anns")
    await bank.open(account_id="bobs")
    await bank.deposit("anns", "1")
    owner, start = opened.account.owner_id, opened.account.create_time.ToJsonString()

    async def ids_and_revisions(*arguments: str) -> list[str]:
        command = ("tail", *arguments, "--target", server.address, "--until-caught-up")
        code, out, err = await run_openbank(*command)
        assert (code, err) == (0, "")
        return [" ".join(line.split()[1:3]) for line in out.splitlines()]

    both = ("--account", "anns", "--account", "bobs")
    assert await ids_and_revisions("accounts", "--from", start, *both) == ["anns 1", "bobs 1", "anns 2"]
    code, out, _ = await run_openbank(
        "tail",
        "accounts",
        "--target",
        server.address,
        "--from",
        "beginning",
        "--until-caught-up",
        "--time-format",
        "relative",
    )
    assert (code, out.split()[1:3]) == (0, ["s", "ago"])
    deposits = ("--type", "money-deposited", "--type", "MONEY_WITHDRAWN")
    assert await ids_and_revisions("accounts", "--from", "beginning", "--owner", owner, *deposits) == ["anns 2"]
    assert await ids_and_revisions("persons", "--from", "beginning", "--person", owner) == [f"{owner} 1"]
    assert await ids_and_revisions("accounts") == []


async def test_a_reader_that_has_had_enough_ends_it(bank: Caller, server: Server) -> None:
    await bank.open()
    command = f"{sys.executable} -m openbank tail accounts --target {server.address} --from beginning"
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", f"set -o pipefail; {command} | head -n 1",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    assert (process.returncode, out.count(b"\n"), err.decode().rstrip()) == (0, 1, connected(server.address))


async def test_a_reader_that_does_not_read_does_not_keep_it_alive(bank: Caller, server: Server) -> None:
    account_id = (await bank.open()).account.account_id
    await asyncio.gather(*(bank.deposit(account_id, "1") for _ in range(100)))
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "openbank", "tail", "accounts", "--target", server.address, "--from", "beginning",
        stdout=writing,
    )  # fmt: skip
    os.close(writing)
    await asyncio.to_thread(os.read, reading, 1)
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), PATIENCE_SECONDS) == 0
    os.close(reading)


MISTAKES: dict[str, tuple[tuple[str, ...], str]] = {
    "a type": (("accounts", "--type", "nonsense"), "--type must be one of ACCOUNT_OPENED, MONEY_DEPOSITED"),
    "a start": (("accounts", "--from", "yesterday"), "--from must be beginning, live or a time"),
    "too late a start": (("accounts", "--from", "9999-12-31T23:59:59-14:00"), "--from must be a time of the years"),
    "too early a start": (("persons", "--from", "0001-01-01T00:00:00+14:00"), "--from must be a time of the years"),
    "an owner of persons": (("persons", "--owner", "ann"), "--owner and --account are for accounts"),
    "a person of accounts": (("accounts", "--person", "ann"), "--person is for persons"),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_one_line_and_exit_code_2(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, line = MISTAKES[what]
    assert main(["tail", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"openbank: {line}")
    assert err.count("\n") == 1


REFUSALS: dict[str, tuple[tuple[str, ...], str]] = {
    "by the bank": (("accounts", "--owner", "a b"), "INVALID_ARGUMENT: owner_ids[0]: must be 1 to 64"),
    "by the disk": (("accounts", "--resume", "/nowhere/at/all"), "cannot keep the place in /nowhere/at/all"),
}


@pytest.mark.parametrize("what", REFUSALS)
async def test_a_refusal_is_one_line_and_exit_code_2(server: Server, what: str) -> None:
    arguments, line = REFUSALS[what]
    code, out, err = await run_openbank("tail", *arguments, "--target", server.address)
    assert (code, out) == (2, "")
    assert err.startswith("openbank: ")
    assert line in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("start", "count"), [("0001-01-01", 1), ("0001-01-01T00:00:00-23:59", 1), ("9999-12-31T23:59:59.999999Z", 0)]
)
async def test_the_first_and_the_last_time_are_times(bank: Caller, server: Server, start: str, count: int) -> None:
    await bank.open()
    code, out, err = await run_openbank(
        "tail", "accounts", "--target", server.address, "--from", start, "--until-caught-up"
    )
    assert (code, err, len(out.splitlines())) == (0, "", count)


@pytest.mark.parametrize("lines_wanted", [2, 700])
async def test_unread_events_are_printed_by_the_next_tail(
    bank: Caller, server: Server, tmp_path: Path, lines_wanted: int
) -> None:
    account_id = (await bank.open()).account.account_id
    for _ in range(12):
        await asyncio.gather(*(bank.deposit(account_id, "1") for _ in range(100)))
    tail = f"{sys.executable} -m openbank tail accounts --target {server.address} --from beginning --format json"
    tail += f" --resume {tmp_path / 'place'}"
    printed: list[str] = []
    # All in one response, and more of them than the pipe holds; live, and to the end.
    for command in (f"{tail} | head -n {lines_wanted}", f"{tail} --until-caught-up | head -n {lines_wanted}", tail):
        process = await asyncio.create_subprocess_shell(
            command if command != tail else f"{tail} --until-caught-up",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
        printed += out.decode().splitlines()
    events = {json.loads(line)["event_id"] for line in printed}
    assert events == {event.event_id for event in await bank.account_events()}


async def test_the_last_events_are_not_lost_where_the_reader_ends_with_them_unprinted(
    bank: Caller, server: Server, tmp_path: Path
) -> None:
    account_id = (await bank.open()).account.account_id
    for _ in range(2):
        await bank.deposit(account_id, "1")
    tail = f"{sys.executable} -m openbank tail accounts --target {server.address} --from beginning"
    tail += f" --until-caught-up --resume {tmp_path / 'place'}"
    revisions: set[str] = set()
    for command in (f"{tail} | head -n 2", tail):
        process = await asyncio.create_subprocess_shell(command, stdout=asyncio.subprocess.PIPE)
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
        revisions |= {line.split()[2] for line in out.decode().splitlines()}
    assert revisions == {"1", "2", "3"}


async def test_a_resume_file_never_runs_ahead_of_the_output_file(bank: Caller, server: Server, tmp_path: Path) -> None:
    await bank.open()
    arguments = ("tail", "accounts", "--target", server.address, "--from", "beginning", "--until-caught-up")
    with (tmp_path / "printed").open("wb") as printed:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "openbank", *arguments, "--resume", str(tmp_path / "place"), stdout=printed
        )
        assert await asyncio.wait_for(process.wait(), PATIENCE_SECONDS) == 0
    assert len((tmp_path / "printed").read_text().splitlines()) == 1
    assert await run_openbank(*arguments, "--resume", str(tmp_path / "place")) == (0, "", "")


async def test_a_second_tail_with_the_same_file_is_refused(server: Server, tmp_path: Path) -> None:
    arguments = ("accounts", "--target", server.address, "--resume", str(tmp_path / "place"))
    async with tailing(*arguments) as first:
        await first.until(lambda: first.errors == [connected(server.address)])
        code, out, err = await run_openbank("tail", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "another tail is keeping its place" in err


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
async def test_output_that_cannot_be_written_is_one_line(bank: Caller, server: Server, redirection: str) -> None:
    await bank.open()
    command = f"{sys.executable} -m openbank tail accounts --target {server.address} --from beginning"
    process = await asyncio.create_subprocess_shell(f"{command} {redirection}", stderr=asyncio.subprocess.PIPE)
    _, err = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    assert process.returncode == 2
    assert err.decode().splitlines()[-1].startswith("openbank: cannot write to standard output: ")
    assert b"Traceback" not in err


async def test_names_are_printed_in_any_encoding(bank: Caller, server: Server) -> None:
    await bank.register(first_name="Zoë", last_name="山田")
    arguments = ("tail", "persons", "--target", server.address, "--from", "beginning", "--until-caught-up")
    code, out, err = await run_openbank(*arguments, environment={"PYTHONIOENCODING": "ascii"})
    assert (code, err) == (0, "")
    assert "Zo\\xeb \\u5c71\\u7530" in out


async def test_a_place_of_another_bank_is_refused(bank: Caller, server: Server, tmp_path: Path) -> None:
    place = tmp_path / "place"
    arguments = ("tail", "accounts", "--target", server.address, "--resume", str(place), "--until-caught-up")
    assert await run_openbank(*arguments) == (0, "", "")
    kept = json.loads(place.read_text())
    place.write_text(json.dumps({**kept, "resume_token": "tomorrow"}))
    code, _, err = await run_openbank(*arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert "resume_token: is not a token of this bank" in err


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_and_for_those_who_want_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert is_coloured(Terminal())
    assert not is_coloured(StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not is_coloured(Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert not is_coloured(Terminal())
