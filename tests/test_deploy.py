"""What the container files name is there: Docker itself does not run in tests."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from dataclasses import fields
from pathlib import Path

import grpc.aio
import pytest

from openbank.config import Settings
from openbank.persons.v1.persons_service_pb2 import ListPersonsRequest
from tests.access.callers import ask
from tests.readme import blocks
from tests.servers import ServerProcess

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = (ROOT / "deploy/compose.yaml").read_text()
ENVOY = (ROOT / "deploy/envoy.yaml").read_text()
SETTINGS = dict(re.findall(r"(OPENBANK_(?:TLS_CERT|TLS_KEY|ACCESS)): (\S+)", COMPOSE))
"""What lets the bank's containers be reached."""
LIST = "openbank.persons.v1.PersonsService/ListPersons"

OF_COMPOSE_ITSELF = {"OPENBANK_MONGODB_PASSWORD"}


def test_only_existing_settings_are_set() -> None:
    settings = {f"OPENBANK_{setting.name.upper()}" for setting in fields(Settings)}
    assert set(re.findall(r"OPENBANK_\w+", DOCKERFILE + COMPOSE)) - OF_COMPOSE_ITSELF <= settings


def test_files_copied_into_the_image_exist_and_are_not_ignored() -> None:
    let_through = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = [
        name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()
    ]
    assert sorted(let_through) == sorted(copied)
    assert all((ROOT / name).exists() for name in copied)


def test_no_container_is_open() -> None:
    assert "OPENBANK_LISTEN=0.0.0.0" in DOCKERFILE
    assert "OPENBANK_INSECURE" not in DOCKERFILE + COMPOSE
    # That a bank which can be reached by others needs all of them is in tests/rpc/test_tls.py.
    assert {"OPENBANK_TLS_CERT", "OPENBANK_TLS_KEY", "OPENBANK_ACCESS"} <= set(SETTINGS)


def test_the_secrets_are_kept_out_of_the_repository() -> None:
    assert "/deploy/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


async def test_the_files_that_the_docs_make_are_those_that_the_containers_use(tmp_path: Path) -> None:
    await make_secrets(tmp_path)
    secrets = tmp_path / "deploy/secrets"
    for container, directory in re.findall(r"\./secrets/(\w+):([\w/]+):ro", COMPOSE):
        named = re.findall(rf"{directory}/([\w.]+)", COMPOSE + ENVOY)
        assert named
        assert all((secrets / container / name).stat().st_mode & 0o004 for name in named)
    assert secrets.stat().st_mode & 0o077 == 0
    # A bank with the settings of the container, under the name that the proxy looks for in its certificate.
    environment = {name: value.replace("/etc/openbank", f"{secrets}/bank") for name, value in SETTINGS.items()}
    bank = ServerProcess(tmp_path / "data", environment=environment)
    await bank.start()
    [name] = re.findall(r"san_type: DNS, matcher: \{exact: (\w+)\}", ENVOY)
    authority = grpc.ssl_channel_credentials((secrets / "proxy/ca.pem").read_bytes())
    options = (("grpc.ssl_target_name_override", name),)
    async with grpc.aio.secure_channel(bank.address, authority, options) as channel:
        reasons = [
            (await ask(channel, LIST, ListPersonsRequest(), token)).reason
            for token in (None, (secrets / "till.key").read_text().strip())
        ]
    await bank.stop()
    assert reasons == ["TOKEN_MISSING", "OK"]


async def make_secrets(directory: Path) -> None:
    """By the commands of docs/servers.md."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not here")
    [commands] = [source for _, source in blocks(ROOT / "docs/servers.md") if "openbank access new-key" in source]
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    process = await asyncio.create_subprocess_exec(
        "sh", "-e", "-c", commands, cwd=directory, env={**os.environ, "PATH": path}, stderr=asyncio.subprocess.DEVNULL
    )
    assert await process.wait() == 0


def test_no_password_has_a_default() -> None:
    values = re.findall(r"PASSWORD: (.+)", COMPOSE)
    assert values
    assert all(value.startswith("${OPENBANK_MONGODB_PASSWORD:?") for value in values)
