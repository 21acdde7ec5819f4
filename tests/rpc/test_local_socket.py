"""The bank on a socket of its machine, for operators and probes."""

from __future__ import annotations

import os
import re
import socket
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from openbank.app import serving
from openbank.config import BadSetting, Settings
from openbank.config import settings as read_settings
from openbank.ports import CannotListen
from tests.callers import Caller
from tests.servers import ServerProcess, run_openbank


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bank 100%41.sock"


@pytest.fixture
def settings(settings: Settings, path: Path) -> Settings:
    return replace(settings, local_socket=f"unix:{path}")


def mode(path: Path) -> str:
    """As `ls` shows it; empty for what is not there."""
    return stat.filemode(path.lstat().st_mode) if os.path.lexists(path) else ""


async def test_it_serves_beside_the_port_for_its_own_user_only_and_is_gone_after_a_stop(
    settings: Settings, path: Path
) -> None:
    async with serving(settings) as server:
        assert mode(path) == "srw-------"
        async with Caller(f"unix:{path}") as local, Caller(server.address) as by_network:
            person = (await local.register()).person
            account = (await by_network.open(person.person_id)).account
            assert account.owner_id == person.person_id
    assert mode(path) == ""


async def test_health_asks_there_by_default(settings: Settings, path: Path) -> None:
    async with serving(settings) as server:
        await server.ready()
        environment = {"OPENBANK_LOCAL_SOCKET": f"unix:{path}", "OPENBANK_LISTEN": "127.0.0.1:1"}
        code, out, err = await run_openbank("health", environment=environment)
        assert (code, out.splitlines()[0], err) == (0, "SERVING", "")


async def test_the_socket_of_a_killed_bank_is_replaced(path: Path, settings: Settings, tmp_path: Path) -> None:
    bank = ServerProcess(tmp_path / "data", "--local-socket", f"unix:{path}")
    await bank.start()
    await bank.kill()
    assert mode(path)
    async with serving(settings), Caller(f"unix:{path}") as local:
        await local.register()
    assert mode(path) == ""


async def test_a_socket_that_is_in_use_is_left_alone(settings: Settings, path: Path, tmp_path: Path) -> None:
    async with serving(settings), Caller(f"unix:{path}") as local:
        with pytest.raises(CannotListen, match=re.escape(f"cannot listen on unix:{path}: another program does")):
            async with serving(replace(settings, data=tmp_path / "other")):
                pass
        await local.register()


async def test_a_file_that_is_not_a_socket_is_left_alone(settings: Settings, path: Path) -> None:
    os.symlink("elsewhere", path)
    with pytest.raises(CannotListen, match="the file is there, and is not a socket"):
        async with serving(settings):
            pass
    assert mode(path)[0] == "l"


async def test_a_missing_directory_is_reported(settings: Settings, tmp_path: Path) -> None:
    target = f"unix:{tmp_path}/none/bank.sock"
    with pytest.raises(CannotListen, match=re.escape(f"cannot listen on {target}: No such file or directory")):
        async with serving(replace(settings, local_socket=target)):
            pass


async def test_a_socket_that_does_not_answer_counts_as_in_use(settings: Settings, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        with pytest.raises(CannotListen):
            async with serving(settings):
                pass
    assert mode(path)


@pytest.mark.parametrize("text", ["/run/bank.sock", "unix:", "tcp:1", "unix:" + 108 * "a", "unix:" + 54 * "ä"])
def test_a_local_socket_is_a_path_that_the_system_takes(text: str) -> None:
    with pytest.raises(BadSetting, match=r"^--local-socket must be unix:PATH, with a path of at most 107 bytes"):
        read_settings({"local_socket": text}, {})
