"""A start that cannot be ends with one line that says why, and exit code 2."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

from openbank.app import serving
from openbank.config import Settings
from openbank.datadir import DataDirectoryInUse
from openbank.ports import CannotListen
from openbank.server import Server
from tests.servers import ServerProcess, console_session, run_openbank

BAD: dict[str, tuple[list[str], dict[str, str], str]] = {
    "a flag": (["--listen", "here"], {}, "--listen must be HOST:PORT"),
    "a variable": ([], {"OPENBANK_LISTEN": "127.0.0.1:99999"}, "OPENBANK_LISTEN must be HOST:PORT"),
    "a level": (["--log-level", "loud"], {}, "--log-level must be one of debug, info, warning, error"),
    "a format": ([], {"OPENBANK_LOG_FORMAT": "xml"}, "OPENBANK_LOG_FORMAT must be one of console, json"),
    "a number": (["--watches-max", "many"], {}, "--watches-max must be a whole number"),
    "seconds": ([], {"OPENBANK_DRAIN_SECONDS": "nan"}, "OPENBANK_DRAIN_SECONDS must be a number of seconds"),
}


@pytest.mark.parametrize("what", BAD)
async def test_a_bad_value_is_one_line_that_names_where_it_came_from(what: str, tmp_path: Path) -> None:
    flags, environment, line = BAD[what]
    arguments = ["serve", "--data", str(tmp_path / "data"), *flags]
    code, out, err = await run_openbank(*arguments, environment=environment)
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    assert line in err
    assert not (tmp_path / "data").exists()


async def test_an_unknown_flag_is_refused() -> None:
    code, _, err = await run_openbank("serve", "--gold")
    assert code == 2
    assert "--gold" in err


async def test_a_busy_port_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        address = f"127.0.0.1:{busy.getsockname()[1]}"
        code, out, err = await run_openbank("serve", "--listen", address, "--data", str(tmp_path / "data"))
    assert (code, out) == (2, "")
    assert err == f"openbank: cannot listen on {address}: Address already in use\n"


@pytest.mark.parametrize("there", [None, [], ["notes"]])
async def test_a_start_that_fails_leaves_nothing_in_a_new_directory(
    server: Server, tmp_path: Path, there: list[str] | None
) -> None:
    other = tmp_path / "some" / "other"
    if there is not None:
        os.makedirs(other)
    for name in there or ():
        (other / name).touch()
    with pytest.raises(CannotListen, match=re.escape(server.address)):
        async with serving(Settings(listen=server.address, data=other)):
            pass
    assert ("some" in os.listdir(tmp_path)) == (there is not None)
    if there is not None:
        assert os.listdir(other) == there


async def test_a_start_that_fails_takes_nothing_from_a_bank(server: Server, tmp_path: Path) -> None:
    other = tmp_path / "other"
    async with serving(Settings(listen="127.0.0.1:0", data=other)):
        pass
    with pytest.raises(CannotListen, match=re.escape(server.address)):
        async with serving(Settings(listen=server.address, data=other)):
            pass
    assert {"events.db", "views.db", "lock"} <= set(os.listdir(other))
    async with serving(Settings(listen="127.0.0.1:0", data=other)):
        pass


async def test_a_bank_that_fails_while_it_serves_keeps_its_directory(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with serving(Settings(listen="127.0.0.1:0", data=tmp_path / "data")):
            raise ZeroDivisionError
    assert "events.db" in os.listdir(tmp_path / "data")


async def test_a_second_bank_on_the_same_directory_learns_which_process_has_it(
    server: Server, settings: Settings
) -> None:
    with pytest.raises(DataDirectoryInUse, match=rf"process \d+, which serves on {re.escape(server.address)}"):
        async with serving(settings):
            pass


async def test_a_second_process_on_the_same_directory_is_refused_with_one_line(
    process: ServerProcess, tmp_path: Path
) -> None:
    code, out, err = await run_openbank("serve", "--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"))
    assert (code, out) == (2, "")
    expected = rf"openbank: \S+/data is in use by process \d+, which serves on {re.escape(process.address)}\n"
    assert re.fullmatch(expected, err)


async def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, out, err = await run_openbank("serve", "--data", str(tmp_path / "file" / "data"))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "file/data" in err


async def test_a_file_that_is_not_a_bank_is_refused(tmp_path: Path) -> None:
    (tmp_path / "events.db").write_text("this is not a database, but it is long enough to look at" * 100)
    (tmp_path / "events.db").chmod(0o600)
    code, _, err = await run_openbank("serve", "--listen", "127.0.0.1:0", "--data", str(tmp_path))
    assert code == 2
    assert err.count("\n") == 1
    assert "events.db" in err


async def test_the_command_prints_the_version() -> None:
    code, out, _ = await run_openbank("--version")
    assert code == 0
    assert re.fullmatch(r"openbank \d+\.\d+\.\d+\n", out)


async def test_when_it_is_ready_it_says_where_and_what_to_try(tmp_path: Path) -> None:
    out = await console_session(tmp_path / "data")
    assert re.search(r"listens on  127\.0\.0\.1:\d+\n", out)
    assert f"data in     {tmp_path / 'data'}" in out
    assert re.search(r"grpcurl -plaintext 127\.0\.0\.1:\d+ openbank\.persons\.v1\.PersonsService/ListPersons", out)
