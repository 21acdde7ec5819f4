"""A client in another language by mutual TLS, while certificates are replaced."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path

import pytest
from google.protobuf.empty_pb2 import Empty

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from tests.callers import Caller, until, usd
from tests.certificates import Authority
from tests.clients.programs import go
from tests.clients.test_stop import PATIENCE_SECONDS, SERVICE, WORKERS
from tests.go_programs import GoMissing
from tests.servers import ServerProcess


async def test_no_call_of_a_go_client_fails_while_certificates_are_replaced(tmp_path: Path) -> None:
    """It makes each call until one fails, on one connection, and on a new one each time: all fail at the stop only."""
    try:
        command = go()
    except GoMissing as missing:
        pytest.skip(str(missing))
    ca = Authority(tmp_path)
    pair, client = ca.sign("bank"), ca.sign("client", ["client.example"])
    flags = ("--tls-cert", str(pair.cert), "--tls-key", str(pair.key), "--tls-client-ca", str(ca.file))
    bank = ServerProcess(tmp_path / "data", *flags, "--local-socket", f"unix:{tmp_path}/bank.sock")
    await bank.start()
    async with Caller(f"unix:{tmp_path}/bank.sock") as local:
        account_id = (await local.open()).account.account_id
    requests = {
        "Deposit": accounts.DepositRequest(account_id=account_id, amount=usd("1")),
        "GetAccount": accounts.GetAccountRequest(account_id=account_id),
        "WatchAccountEvents": accounts.WatchAccountEventsRequest(live=Empty()),
    }
    calls = [
        {"method": SERVICE + name, "body": request.SerializeToString().hex(), "stream": name.startswith("Watch")}
        for name, request in requests.items()
    ]
    files = {"ca": str(ca.file), "cert": str(client.cert), "key": str(client.key)}
    task = json.dumps({"address": bank.address, "workers": WORKERS, "calls": calls, **files})
    calling = await asyncio.create_subprocess_exec(*command, task, stdout=asyncio.subprocess.PIPE)
    for replaced in (1, 2):
        await calls_more(bank)
        ca.sign("bank")
        bank.tell(signal.SIGHUP)
        await until(lambda: len(bank.said("changed files are used")) == replaced, PATIENCE_SECONDS)  # noqa: B023
    await calls_more(bank)
    assert await bank.stop() == 0
    out, _ = await asyncio.wait_for(calling.communicate(), PATIENCE_SECONDS)
    ends = json.loads(out)
    assert len(ends) == len(calls) * (WORKERS + 1)
    # What only the bank itself says; a broken connection has no details.
    assert all(b"SERVER_DRAINING" in bytes.fromhex(end["details"]) for end in ends), ends


async def calls_more(bank: ServerProcess) -> None:
    before = len(bank.said("call"))
    await until(lambda: len(bank.said("call")) > before + 50, PATIENCE_SECONDS)
