"""Whatever a start or a copy fails at, and whatever the bank logs, no password is in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from openbank.cli.main import main
from tests.servers import run_openbank

SECRET = "S3cr3tPart"
PASSWORDS = (
    SECRET,
    f"{SECRET}/Tail9",
    f"12/{SECRET}",
    f"p@{SECRET}",
    f"{SECRET}#x",
    f"1#{SECRET}",
    f"1?{SECRET}",
    f"%zz{SECRET}",
    f"%e4{SECRET}",
    f"[{SECRET}",
    f"\N{FULLWIDTH COLON}{SECRET}",
    f"a {SECRET}",
    f"\n{SECRET}",
)
ADDRESSES = [
    *(f"{scheme}://admin:{password}@127.0.0.1:1/" for scheme in ("esdb", "MONGODB", "https") for password in PASSWORDS),
    f"esdb://admin:{SECRET}",
    f"esdb:/admin:{SECRET}@host",
    f"kurrentdb://admin:{SECRET}@host",
    f"esdb://admin:{SECRET}@host?NodePreference={SECRET}",
    f"mongodb://admin:{SECRET}@host/?authSource={SECRET}&tls={SECRET}",
    f"admin:{SECRET}@host",
    f"nats://{SECRET}@host/a.>",
]


def commands(place: str) -> list[list[str]]:
    return [
        *(["serve", setting, place] for setting in ("--event-store", "--views", "--sink", "--data", "--listen")),
        ["serve", "--sink", f"crm={place}#mode=fast"],
        ["copy", "--from", place, "--to", "target"],
        ["copy", "--from", "source", "--to", place],
        ["backup", place],
        ["health", place, place],
        ["tail", place],
    ]


@pytest.mark.parametrize("place", ADDRESSES)
def test_a_command_that_cannot_use_an_address_repeats_no_secret(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("openbank.cli.serve.run", lambda *_: 2)
    monkeypatch.setattr("openbank.app.copy", stop)
    monkeypatch.setattr("openbank.app.backup", stop)
    for command in commands(place):
        assert exit_code(command) in (1, 2)
        out, err = capsys.readouterr()
        assert SECRET not in out + err, command
        assert err.count("\n") <= 10
    assert os.listdir() == []


def exit_code(command: list[str]) -> object:
    try:
        return main(command)
    except SystemExit as end:
        return end.code


def stop(*_: object) -> None:
    raise OSError("stopped here")


@pytest.mark.parametrize(
    "flags",
    [
        ["--event-store", f"ESDB://admin:{SECRET}@127.0.0.1:1?Tls=false"],
        ["--event-store", f"esdb+discover://admin:{SECRET}@127.0.0.1:1?Tls=false&MaxDiscoverAttempts=1"],
        ["--event-store", f"esdb://admin:{SECRET}@127.0.0.1:1?Tls={SECRET}"],
        ["--views", f"MongoDB://admin:{SECRET}@127.0.0.1:1/bank"],
        ["--views", f"mongodb+srv://admin:{SECRET}@bank.invalid/bank"],
    ],
)
async def test_a_start_that_fails_later_repeats_no_secret(flags: list[str], tmp_path: Path) -> None:
    data = ["--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0"]
    code, out, err = await run_openbank("serve", *data, "--store-wait-seconds", "0", "--log-level", "debug", *flags)
    assert code == 2
    assert SECRET not in out + err
    assert "Traceback" not in err


async def test_a_copy_to_a_store_in_capitals_does_not_make_a_directory(tmp_path: Path) -> None:
    target = f"ESDB://admin:{SECRET}@127.0.0.1:1?Tls=false"
    code, out, err = await run_openbank("copy", "--from", str(tmp_path / "source"), "--to", target)
    assert code == 2
    assert SECRET not in out + err
    assert "ESDB:" not in os.listdir()
