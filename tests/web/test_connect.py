"""Connect's own client for gRPC-Web, where Node.js is: it reaches the bank by the bridge as by any other."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.json_format import MessageToDict

from openbank.server import Server
from tests.callers import Caller
from tests.clients.programs import node_program
from tests.web.test_bridge import page_of

HERE = Path(__file__).parent / "connect"
PROTOS = Path(__file__).parents[2] / "protos"
SECONDS_MAX = 60


@pytest.fixture(scope="module")
def descriptors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The contract, as `make protos` writes it."""
    made = tmp_path_factory.mktemp("contract") / "openbank.binpb"
    service = "openbank/accounts/v1/accounts_service.proto"
    options = [f"--proto_path={PROTOS}", "--include_imports", f"--descriptor_set_out={made}", service]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *options], check=True)
    return made


# Only where its tools are: the project needs Node.js for nothing else.
if shutil.which("node") and shutil.which("npm"):

    async def test_connect_web_calls_watches_and_reads_refusals(
        server: Server, bank: Caller, descriptors: Path
    ) -> None:
        account = (await bank.open()).account
        last = await bank.deposit(account.account_id, "2.50")
        program = await asyncio.to_thread(node_program, "connect-web", HERE)
        async with page_of(server.address) as page:
            process = await asyncio.create_subprocess_exec(
                *program, page.url, str(descriptors), account.account_id, stdout=asyncio.subprocess.PIPE
            )
            said, _unused = await asyncio.wait_for(process.communicate(), SECONDS_MAX)
        answer = json.loads(said)
        assert answer["account"] == MessageToDict(last.account)
        assert (answer["revisions"], answer["refused"]) == ([1, 2], "NotFound true")
