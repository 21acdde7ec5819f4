"""`openbank context` keeps banks by name, and `openbank completion` what a shell needs."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import shutil
import stat
import subprocess
from io import StringIO
from pathlib import Path

import pytest

from openbank.cli import contexts
from openbank.cli.completion import SHELLS
from openbank.server import Server
from tests.cli.commands import Ended, run, run_here

NOBODY = "127.0.0.1:9"
SECRET = "obk_k7f3_thisIsSecret"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("OPENBANK_TOKEN", raising=False)
    return tmp_path / "config"


def context(*arguments: str) -> Ended:
    return run_here("context", *arguments)


def listed() -> dict[str, dict[str, str]]:
    return {one["name"]: one for one in json.loads(context("list").out)}


async def test_a_command_calls_the_context_that_is_current_or_named(server: Server, home: Path) -> None:
    assert context("add", "here", "--target", server.address).code == 0
    assert context("add", "nobody", "--target", NOBODY).code == 0
    assert context("use", "here").code == 0
    environment = {"XDG_CONFIG_HOME": str(home)}
    current, named, typed = await asyncio.gather(
        run("health", environment=environment),
        run("health", "--context", "nobody", environment=environment),
        run("health", "--target", NOBODY, environment=environment),
    )
    assert current.out.startswith("SERVING\n")
    assert (named.code, typed.code) == (3, 3)
    assert run_here("health", "--context", "none").err == "openbank: there is no context none: openbank context list\n"


def test_the_token_of_the_current_context_is_not_sent_to_a_target_that_is_typed(home: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("not a token!\n")
    context("add", "prod", "--target", NOBODY, "--token-file", str(token))
    context("use", "prod")
    # A token that cannot be used is noticed wherever it would be sent.
    assert "--token-file must" in run_here("account", "show", "a").err
    assert "--token-file must" in run_here("account", "show", "a", "--context", "prod", "--target", NOBODY).err
    assert "nothing listens" in run_here("account", "show", "a", "--target", NOBODY).err


def test_the_file_is_private_and_has_no_token(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text(SECRET)
    monkeypatch.setenv("OPENBANK_TOKEN", SECRET)
    monkeypatch.chdir(tmp_path)
    os.umask(os.umask(0))
    context("add", "prod", "--target", "bank.example:443", "--tls-ca", "ca.pem", "--token-file", "token")
    file = home / "openbank/config.toml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert SECRET not in file.read_text()
    # From any directory.
    assert listed()["prod"]["token_file"] == str(tmp_path / "token")
    assert listed()["prod"]["tls_ca"] == str(tmp_path / "ca.pem")
    assert os.listdir(file.parent) == ["config.toml"]


def test_contexts_are_added_replaced_chosen_and_removed() -> None:
    context("add", "a", "--target", "a.example:1")
    again = context("add", "a", "--target", "b.example:1")
    assert (again.code, again.err) == (2, "openbank: there is a context a: give --replace, or another name\n")
    assert context("add", "a", "--target", "b.example:1", "--replace").code == 0
    assert listed()["a"] == {"name": "a", "current": "", "target": "b.example:1"}
    context("use", "a")
    assert listed()["a"]["current"] == "*"
    rows = list(csv.DictReader(StringIO(context("list", "-o", "csv").out)))
    assert [row["target"] for row in rows] == ["b.example:1"]
    context("use", "--none")
    assert listed()["a"]["current"] == ""
    context("use", "a")
    context("remove", "a")
    assert listed() == {}
    for command in (("use", "a"), ("remove", "a"), ("use",), ("add", "b")):
        assert context(*command).code == 2


def test_names_and_paths_of_any_kind_come_back(tmp_path: Path) -> None:
    odd = str(tmp_path / 'ca "quoted" \\ 日本\u007f.pem')
    context("add", "a.b-c", "--target", "bank.example:443", "--tls-ca", odd)
    assert listed()["a.b-c"]["tls_ca"] == odd


def test_a_link_to_the_file_stays(home: Path, tmp_path: Path) -> None:
    (home / "openbank").mkdir(parents=True)
    (home / "openbank/config.toml").symlink_to(tmp_path / "dotfiles.toml")
    context("add", "a", "--target", "a.example:1")
    assert (home / "openbank/config.toml").is_symlink()
    assert "a.example:1" in (tmp_path / "dotfiles.toml").read_text()


BROKEN = {
    "no TOML": "current =",
    "no texts": "[contexts.a]\ntarget = 5\n",
    "no target": '[contexts.a]\ntls_ca = "x"\n',
    "a field of a newer version": '[contexts.a]\ntarget = "a.example:1"\ntoken = "secret"\n',
    "a target that is none": 'current = "a"\n[contexts.a]\ntarget = "here"\n',
    "a current one that is not there": 'current = "a"\n',
    "something else": "colour = 5\n",
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_file_that_cannot_be_read_is_named_in_one_line_and_stays(what: str, home: Path) -> None:
    file = home / "openbank/config.toml"
    file.parent.mkdir(parents=True)
    file.write_text(BROKEN[what])
    ended = run_here("account", "show", "a")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"openbank: {file}: ")
    assert ended.err.count("\n") == 1
    assert "secret" not in ended.err
    # Another bank can still be called, and the file is not overwritten.
    assert "nothing listens" in run_here("account", "show", "a", "--target", NOBODY).err
    context("use", "--none")
    assert file.read_text() == BROKEN[what] or what == "a target that is none"


def test_commands_that_write_at_once_lose_nothing(home: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def add(name: str) -> None:
        with contexts.changing() as contents:
            contents["contexts"][name] = {"target": "a.example:1"}

    names = [f"c{number}" for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(add, names))
    assert set(contexts.read().by_name) == set(names)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_completion_names_commands_actions_and_flags(shell: str) -> None:
    ended = run_here("completion", shell)
    assert ended.code == 0
    for word in ("account", "update-address", "context"):
        assert word in ended.out
    if shell != "tcsh":
        assert "--request-id" in ended.out
    if path := shutil.which(shell):
        assert subprocess.run([path, "-n"], input=ended.out, text=True, capture_output=True).stderr == ""
