"""Both wheels as their users get them: each installed in an environment with nothing else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest

from tests.packages import wheels
from tests.packages.wheels import NAMES, ROOT, Environment
from tests.servers import ServerProcess

CALLER = Path(__file__).with_name("caller.py")
ISOLATED = {"PYTHONSAFEPATH": "1", "PYTHONPATH": ""}
"""Else the openbank of the repository would be found first."""
CLIENT_PROGRAM = """
from openbank.accounts.v1.accounts_service_pb2 import DepositRequest
from openbank.client import BankError
from openbank.common.v1.money_pb2 import Money

def reason(error: BankError) -> str:
    return error.reason

DepositRequest(account_id="johns", amount=Money(currency_code="USD", units=25))
DepositRequest(account_id=1)  # mistake
reason("INSUFFICIENT_FUNDS")  # mistake
"""
SERVER_PROGRAM = """
from openbank.config import Settings
from openbank.domain.money import Currency, Money
from openbank.storage.v1.request_pb2 import RequestClaimed

Settings(drain_seconds=1.0)
Settings(drain_seconds="soon")  # mistake
Money(Currency("USD", 2), "1")  # mistake
RequestClaimed(no_field=1)  # mistake
"""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheels.build(tmp_path_factory.mktemp("wheels"))


def environment(name: str, built: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    made = Environment(tmp_path_factory.mktemp(name))
    found = [f"--find-links={directory}" for directory in (built, wheels.dependencies(built))]
    made.install("--no-index", *found, name)
    return made


@pytest.fixture(scope="session")
def client(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return environment("openbank-client", built, tmp_path_factory)


@pytest.fixture(scope="session")
def server(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    return environment("openbank", built, tmp_path_factory)


def wheel_of(name: str, built: Path) -> zipfile.ZipFile:
    [path] = built.glob(f"{name.replace('-', '_')}-*.whl")
    return zipfile.ZipFile(path)


def files_of(name: str, built: Path) -> set[str]:
    """The wheel's files, without its own metadata."""
    with wheel_of(name, built) as wheel:
        return {file for file in wheel.namelist() if ".dist-info/" not in file}


def metadata_of(name: str, built: Path) -> Message:
    with wheel_of(name, built) as wheel:
        [file] = (file for file in wheel.namelist() if file.endswith(".dist-info/METADATA"))
        return message_from_bytes(wheel.read(file))


def in_the_repository(*roots: Path) -> set[str]:
    return {
        str(path.relative_to(root))
        for root in roots
        for path in root.glob("openbank/**/*")
        if path.is_file() and path.suffix != ".pyc"
    }


def test_each_file_is_in_one_of_the_two_wheels(built: Path) -> None:
    client, server = (files_of(name, built) for name in NAMES)
    assert client & server == set()
    assert client | server == in_the_repository(ROOT, ROOT / "generated")


def test_the_client_has_its_library_and_all_that_is_generated_but_what_the_bank_stores(built: Path) -> None:
    generated = in_the_repository(ROOT / "generated")
    published = {file for file in generated if not file.startswith("openbank/storage/")}
    library = {file for file in files_of("openbank-client", built) if file.startswith("openbank/client/")}
    assert library
    assert files_of("openbank-client", built) == published | library


@pytest.mark.parametrize("name", NAMES)
def test_a_wheel_is_typed_licensed_and_leaves_the_namespace_open(name: str, built: Path) -> None:
    files = files_of(name, built)
    packages = {file.removesuffix("__init__.py") for file in files if file.endswith("/__init__.py")}
    assert "openbank/" not in packages
    top = {package for package in packages if package.count("/") == 2}
    assert top
    assert {f"{package}py.typed" for package in top} <= files
    with wheel_of(name, built) as wheel:
        assert any(file.endswith("/licenses/LICENSE") for file in wheel.namelist())
    assert metadata_of(name, built)["License-Expression"] == "Apache-2.0"


def test_both_have_one_version_and_the_server_needs_the_client_of_its_own(built: Path) -> None:
    versions = {metadata_of(name, built)["Version"] for name in NAMES}
    assert len(versions) == 1
    assert f"openbank-client=={versions.pop()}" in metadata_of("openbank", built).get_all("Requires-Dist", [])


def test_the_client_needs_grpcio_and_protobuf_only(built: Path) -> None:
    needed = metadata_of("openbank-client", built).get_all("Requires-Dist", [])
    assert sorted(requirement.partition("<")[0] for requirement in needed) == ["grpcio", "protobuf"]


async def test_a_bank_serves_and_is_called_each_from_an_environment_of_its_own(
    client: Environment, server: Environment, tmp_path: Path
) -> None:
    bank = ServerProcess(tmp_path / "data", python=server.python, environment=ISOLATED)
    await bank.start()
    try:
        called = await asyncio.to_thread(client.run, CALLER, bank.address)
        assert (called.returncode, called.stderr) == (0, "")
    finally:
        assert await bank.stop() == 0


def test_the_server_needs_no_package_of_an_extra(built: Path) -> None:
    requirements = metadata_of("openbank", built).get_all("Requires-Dist", [])
    needed = {requirement.partition("<")[0] for requirement in requirements if "extra ==" not in requirement}
    assert "grpcio" in needed
    assert needed & {"esdbclient", "motor", "pymongo", "nats-py", "opentelemetry-sdk"} == set()


ESDB, MONGODB = "esdb://127.0.0.1:9?Tls=false", "mongodb://127.0.0.1:9/openbank"


@pytest.mark.parametrize(
    ("command", "needs"),
    [
        (["serve", "--event-store", ESDB], "an address that begins with esdb needs the extra eventstoredb"),
        (["serve", "--views", MONGODB], "an address that begins with mongodb needs the extra mongodb"),
        (["serve", "--sink", "bus=nats://127.0.0.1:9"], "the sink bus needs the extra nats"),
        (["completion", "bash"], "openbank completion needs the extra cli"),
        (["serve", "--trace-endpoint", "http://127.0.0.1:9"], "--trace-endpoint needs the extra otel"),
        (["verify", "--event-store", ESDB], "an address that begins with esdb needs the extra eventstoredb"),
        (["verify", "--views", MONGODB], "an address that begins with mongodb needs the extra mongodb"),
        (["copy", "--from", ESDB, "--to", "copy"], "an address that begins with esdb needs the extra eventstoredb"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else "",
)
def test_a_setting_that_needs_an_extra_says_which(
    server: Environment, tmp_path: Path, command: list[str], needs: str
) -> None:
    done = server.run("-m", "openbank", *command, directory=tmp_path)
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    extra = needs.rpartition(" ")[2]
    assert line.endswith(f"{needs}: pip install 'openbank[{extra}]'")
    assert line.startswith("openbank: ")


def test_the_command_is_installed_with_the_server(server: Environment) -> None:
    command = [str(server.python.with_name("openbank")), "--version"]
    assert subprocess.check_output(command, text=True).startswith("openbank ")


@pytest.mark.parametrize(
    ("name", "text"), [("client", CLIENT_PROGRAM), ("server", SERVER_PROGRAM)], ids=["client", "server"]
)
def test_a_type_checker_finds_mistakes_with_what_is_installed(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, text: str
) -> None:
    installed: Environment = request.getfixturevalue(name)
    program = tmp_path / "program.py"
    program.write_text(text)
    command = [sys.executable, "-m", "mypy", "--strict", f"--python-executable={installed.python}"]
    command += ["--config-file=", f"--cache-dir={tmp_path / 'cache'}", str(program)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    mistakes = [number for number, line in enumerate(text.splitlines(), 1) if line.endswith("# mistake")]
    found = [line.partition(": error: ")[0] for line in done.stdout.splitlines() if ": error: " in line]
    assert found == [f"{program.name}:{number}" for number in mistakes], done.stdout + done.stderr
