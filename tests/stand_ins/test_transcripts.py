"""Conversations recorded from the real server, sent again to the stand-in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.stand_ins.process import EventStoreDBProcess
from tests.stand_ins.subprocesses import ROOT

# Persistent subscriptions, which nothing here uses and the stand-in does not offer.
NOT_OFFERED = ("12-", "13-")


def recordings() -> Path:
    return Path(os.environ.get("OPENBANK_ESDB_TRANSCRIPTS", ROOT.parent / "shared" / "eventstoredb"))


@pytest.fixture
def replay() -> Path:
    program = recordings() / "replay.py"
    if not program.exists():
        missing = f"no recordings of EventStoreDB in {recordings()} (OPENBANK_ESDB_TRANSCRIPTS)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return program


def test_the_stand_in_answers_as_the_real_server(replay: Path) -> None:
    names = sorted(path.stem for path in (replay.parent / "transcripts").glob("*.json"))
    offered = [name for name in names if not name.startswith(NOT_OFFERED)]
    assert offered
    with EventStoreDBProcess() as server:
        command = [sys.executable, str(replay), server.address, *offered]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout.splitlines() == [*(f"same       {name}" for name in offered), "0 scenarios differ"], done.stderr
