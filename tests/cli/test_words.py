"""What is typed wrong is answered with the usage of that command, and with what was perhaps meant."""

from __future__ import annotations

import pytest

from openbank.cli.main import main
from tests.servers import run_openbank

MISTYPED: dict[str, tuple[list[str], str]] = {
    "a flag of serve": (["serve", "--port", "5"], "openbank serve: error: unrecognized arguments: --port 5"),
    "nearly a flag": (["serve", "--log-levl", "x"], "unrecognized arguments: --log-levl x; did you mean --log-level?"),
    "of an action": (["sinks", "list", "--all"], "openbank sinks list: error: unrecognized arguments: --all"),
    "a command": (["serv"], "openbank: error: argument COMMAND: invalid choice: 'serv'"),
    "a target": (
        ["tail", "accounts", "--target", "bank"],
        "openbank tail: error: argument --target: must be",
    ),
    "no text": (["tail", "accounts", "--account", "\udcff"], "argument --account: is not UTF-8"),
    "no text for the bank": (["health", "\udcff"], "openbank health: error: argument PART: is not UTF-8"),
    "no text for a sink": (["sinks", "show", "\udcff"], "openbank sinks show: error: argument NAME: is not UTF-8"),
    "a revision": (["sinks", "skip", "crm", "account-1", "--revision", "9" * 20], "--revision: must be a whole number"),
    "a negative one": (["sinks", "skip", "crm", "account-1", "--revision=-1"], "--revision: must be a whole number"),
    "a revision of many digits": (["sinks", "skip", "a", "b", "--revision", "9" * 5000], "--revision: must be a whole"),
}


@pytest.mark.parametrize("what", MISTYPED)
def test_the_usage_is_that_of_the_command(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, line = MISTYPED[what]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (2, "")
    assert line in err
    command = line.partition(": error")[0] if ": error" in line else "openbank"
    assert err.startswith(f"usage: {command}")


async def test_a_mistyped_variable_is_one_line() -> None:
    for command in ("serve", "health", "verify"):
        code, out, err = await run_openbank(command, environment={"OPENBANK_LOG_LEVL": "debug"})
        assert (code, out) == (2, "")
        assert err == "openbank: OPENBANK_LOG_LEVL is no setting: did you mean OPENBANK_LOG_LEVEL?\n"


@pytest.mark.parametrize("command", ["backup", "verify", "accept-loss"])
def test_only_serve_says_that_it_creates_the_data_directory(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for each, creates in ((command, False), ("serve", True)):
        with pytest.raises(SystemExit):
            main([each, "--help"])
        out = capsys.readouterr().out
        assert "--data" in out
        assert ("created" in out) == creates
        assert "made where" not in out
