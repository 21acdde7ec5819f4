"""What clients in other languages see of a stop under load: each call ends with SERVER_DRAINING."""

from __future__ import annotations

import asyncio
import json
import signal

import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from tests.callers import Caller, until, usd
from tests.clients.programs import LANGUAGES
from tests.go_programs import GoMissing
from tests.servers import ServerProcess

SERVICE = "/openbank.accounts.v1.AccountsService/"
WORKERS = 8
UNAVAILABLE = 14
PATIENCE_SECONDS = 30

CASES = [("go", number) for number in (signal.SIGINT, signal.SIGHUP)]
CASES += [(language, signal.SIGTERM) for language in LANGUAGES]


@pytest.mark.parametrize(("language", "number"), CASES, ids=[f"{name}-{number.name}" for name, number in CASES])
async def test_every_call_that_meets_a_stop_learns_the_reason(
    process: ServerProcess, language: str, number: signal.Signals
) -> None:
    try:
        command = LANGUAGES[language]()
    except GoMissing as missing:
        pytest.skip(str(missing))
    async with Caller(process.address) as bank:
        account_id = (await bank.open()).account.account_id
    calls = [
        _call("Deposit", accounts.DepositRequest(account_id=account_id, amount=usd("1"))),
        _call("GetAccount", accounts.GetAccountRequest(account_id=account_id)),
        _call("WatchAccountEvents", accounts.WatchAccountEventsRequest(live=Empty()), stream=True),
    ]
    task = json.dumps({"address": process.address, "workers": WORKERS, "calls": calls})
    client = await asyncio.create_subprocess_exec(*command, task, stdout=asyncio.subprocess.PIPE)
    await until(lambda: len(process.said("call")) > 500, PATIENCE_SECONDS)
    process.tell(number)
    assert await asyncio.wait_for(process.ended(), PATIENCE_SECONDS) == 0

    out, _ = await asyncio.wait_for(client.communicate(), PATIENCE_SECONDS)
    ends = json.loads(out)
    assert len(ends) == len(calls) * (WORKERS + 1)
    for end in ends:
        status = status_pb2.Status.FromString(bytes.fromhex(end["details"]))
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        assert any(detail.Unpack(info) for detail in status.details), end
        assert any(detail.Unpack(retry) for detail in status.details), end
        assert (end["code"], info.domain, info.reason) == (UNAVAILABLE, "openbank", "ERROR_REASON_SERVER_DRAINING")
    assert all(end["answers"] for end in ends if not end["method"].endswith("WatchAccountEvents"))


def _call(method: str, request: Message, *, stream: bool = False) -> dict[str, object]:
    return {"method": SERVICE + method, "body": request.SerializeToString().hex(), "stream": stream}
