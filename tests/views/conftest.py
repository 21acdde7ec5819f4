"""A MongoDB for tests: a real server where OPENBANK_TEST_MONGODB names one, else FerretDB."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pymongo import MongoClient

from tests.stand_ins import ferret
from tests.stand_ins.process import FerretDBProcess


@pytest.fixture(scope="session")
def mongodb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its URI."""
    real = os.environ.get("OPENBANK_TEST_MONGODB")
    if real:
        yield real
        return
    _built()
    with FerretDBProcess(tmp_path_factory.mktemp("mongodb")) as started:
        yield started.uri


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
    _built()
    with FerretDBProcess(tmp_path / "ferretdb") as started:
        yield started


def _built() -> None:
    try:
        ferret.build()
    except ferret.GoMissing as missing:
        pytest.skip(str(missing))
