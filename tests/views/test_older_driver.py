"""The views with the oldest PyMongo that is tested; all other tests run with the newest.

The test takes longer than others: it is the whole conformance suite on two servers.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from tests.views import older_driver

ROOT = Path(__file__).parents[2]


# A whole suite, which shares two cores with others.
@pytest.mark.timeout(300)
async def test_the_conformance_suite_holds_with_it(first_mongodb: str, mongo_java_server: str) -> None:
    path = os.pathsep.join([str(older_driver.install()), *filter(None, [os.environ.get("PYTHONPATH")])])
    servers = {"OPENBANK_TEST_MONGODB": first_mongodb, "OPENBANK_TEST_MONGO_JAVA_SERVER": mongo_java_server}
    check = f"import pymongo, pytest, sys; assert pymongo.version == '{older_driver.VERSION}'; sys.exit(pytest.main())"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", check, "-q", "-p", "no:cacheprovider", "tests/views/test_mongo.py::TestMongoViews"),
        cwd=ROOT,
        env={**os.environ, **servers, "PYTHONPATH": path},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    assert process.returncode == 0, told.decode()
    assert " passed" in told.decode()
