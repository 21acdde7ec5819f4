"""A bank to call: in this process, or in one that can be killed."""

from __future__ import annotations

import gc
import os
import secrets
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import grpc.aio
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pymongo import MongoClient

from openbank import server as network
from openbank.app import serving
from openbank.config import Settings
from openbank.server import Server
from tests.back_ends import BackEnd
from tests.callers import Caller
from tests.servers import ServerProcess
from tests.stand_ins import ferret, java_mongo
from tests.stand_ins.process import FerretDBProcess, MongoJavaServerProcess

# The contexts of the user who runs the tests are not used: each test says which bank it calls.
os.environ["XDG_CONFIG_HOME"] = "/nowhere"

# A script that starts the tests in the background has them ignore Ctrl-C, and so would the commands that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test asserts speed: not an example's, and not that of making one.
hypothesis_settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("untimed")


OPEN_FILES = "/proc/self/fd"
FILES_LEFT_MAX = 100


@pytest.fixture(scope="session", autouse=True)
def open_files() -> Iterator[None]:
    """Fails at the end where tests have left files open: most machines allow a process 1,024."""
    before = _open_files()
    yield
    gc.collect()
    left = _open_files() - before
    assert left.total() <= FILES_LEFT_MAX, f"{left.total()} files are left open: {left.most_common()}"


@pytest.fixture(scope="session", autouse=True)
def grpc_aio(open_files: None) -> None:
    """Keeps grpc.aio's engine to the end of the process.

    When its last object goes, it waits for a thread of its own, and that thread waits for the event loop to read. Where
    the garbage collector takes that object on the loop, both wait permanently.
    """
    grpc.aio.init_grpc_aio()


@pytest.fixture(autouse=True)
def goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bank in this process closes its connections at once when it stops.

    It waits for calls that are on their way to it, and tests seldom have any. tests/rpc/test_stop.py has some.
    """
    monkeypatch.setattr(network, "HOLD_SECONDS", 0.0)
    monkeypatch.setattr(network, "GOODBYE_SECONDS", 0.0)


@pytest.fixture
def back_end() -> BackEnd:
    """The back end of every bank here; the stories have several."""
    return BackEnd()


@pytest.fixture
def settings(back_end: BackEnd, tmp_path: Path) -> Settings:
    """The settings of the bank that `server` runs; a test module may have its own."""
    return back_end.settings(tmp_path / "data", drain_seconds=5)


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[Server]:
    async with serving(settings) as running:
        yield running


@pytest.fixture
async def bank(server: Server) -> AsyncIterator[Caller]:
    async with Caller(server.address) as caller:
        yield caller


@pytest.fixture
async def process(back_end: BackEnd, tmp_path: Path) -> AsyncIterator[ServerProcess]:
    """A bank in a process of its own, started by the test as often as it likes."""
    process = ServerProcess(tmp_path / "data", *back_end.flags)
    await process.start()
    yield process
    await process.stop()


@pytest.fixture(scope="session")
def first_mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a MongoDB: a real server where OPENBANK_TEST_MONGODB names one, else FerretDB."""
    real = os.environ.get("OPENBANK_TEST_MONGODB")
    if real:
        yield real
        return
    _need_ferretdb()
    with FerretDBProcess(tmp_path_factory.mktemp("mongodb")) as started:
        yield started.uri


@pytest.fixture(scope="session")
def mongo_java_server() -> Iterator[str]:
    """The URI of another MongoDB, made independently of the first."""
    running = os.environ.get("OPENBANK_TEST_MONGO_JAVA_SERVER")
    if running:
        yield running
        return
    try:
        java_mongo.build()
    except java_mongo.JavaMissing as missing:
        pytest.skip(str(missing))
    with MongoJavaServerProcess() as started:
        yield started.uri


@pytest.fixture(params=["first_mongodb", "mongo_java_server"])
def every_mongodb(request: pytest.FixtureRequest) -> str:
    """Each in turn, for modules whose `mongodb` it is."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture
def mongodb(first_mongodb: str) -> str:
    """The URI of the server that has a test's `database`; a test module may have its own."""
    return first_mongodb


@pytest.fixture
def database(mongodb: str) -> Iterator[str]:
    """The URI of an empty database of this test's own."""
    name = f"openbank_test_{secrets.token_hex(4)}"
    yield urlsplit(mongodb)._replace(path=f"/{name}").geturl()
    with MongoClient[dict[str, object]](mongodb) as client:
        client.drop_database(name)


@pytest.fixture
def ferretdb(tmp_path: Path) -> Iterator[FerretDBProcess]:
    """A FerretDB of this test's own, to kill."""
    _need_ferretdb()
    with FerretDBProcess(tmp_path / "ferretdb") as started:
        yield started


def _open_files() -> Counter[str]:
    """What this process has open, by name; nothing where the system does not tell."""
    names = Counter[str]()
    for number in os.listdir(OPEN_FILES) if os.path.isdir(OPEN_FILES) else ():
        # Other threads close some meanwhile.
        with suppress(OSError):
            names[os.readlink(f"{OPEN_FILES}/{number}")] += 1
    return names


def _need_ferretdb() -> None:
    try:
        ferret.build()
    except ferret.GoMissing as missing:
        pytest.skip(str(missing))


LONGEST = (
    "faults/test_campaign.py",
    "model/test_model.py",
    "views/test_older_driver.py",
    "disk/test_power.py",
    "sinks/test_kills.py",
    "feeds/test_long_run.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first, so that no process is left with one of them when the others have ended."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(LONGEST))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says by name what was left out, and why: a test that has not run has not passed."""
    for report in terminalreporter.stats.get("skipped", []):
        terminalreporter.write_line(f"left out: {report.nodeid}: {report.longrepr[2]}", yellow=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI everything is there that a test can need, so one that is skipped fails the run."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
