"""A bank to call: in this process, or in one that can be killed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from openbank.app import serving
from openbank.config import Settings
from openbank.server import Server
from tests.callers import Caller
from tests.servers import ServerProcess


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of the bank that `server` runs; a test module may have its own."""
    return Settings(listen="127.0.0.1:0", data=tmp_path / "data", drain_seconds=5)


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[Server]:
    async with serving(settings) as running:
        yield running


@pytest.fixture
async def bank(server: Server) -> AsyncIterator[Caller]:
    async with Caller(server.address) as caller:
        yield caller


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """A bank in a process of its own, started by the test as often as it likes."""
    process = ServerProcess(tmp_path / "data")
    await process.start()
    yield process
    await process.stop()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says by name what was left out, and why: a test that has not run has not passed."""
    for report in terminalreporter.stats.get("skipped", []):
        terminalreporter.write_line(f"left out: {report.nodeid}: {report.longrepr[2]}", yellow=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI everything is there that a test can need, so one that is skipped fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
