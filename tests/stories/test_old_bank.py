"""A data directory that an earlier version left: a bank starts on it, and all that it ever said still holds.

`old_bank/make` made it, with the code of commit 472b5f5. It is never made again.
"""

from __future__ import annotations

import asyncio
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.empty_pb2 import Empty

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.config import Settings
from openbank.operations.v1 import quarantine_service_pb2 as quarantine
from openbank.operations.v1 import sinks_service_pb2 as sinks
from openbank.operations.v1 import views_rebuild_pb2 as rebuilds
from openbank.operations.v1 import views_service_pb2 as views
from openbank.operations.v1.sinks_service_pb2_grpc import SinksServiceStub
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.sinks.address import parse_all
from openbank.upkeep.verify import verify
from openbank.views.sqlite import SqliteRebuilds
from tests.back_ends import BackEnd
from tests.callers import Caller, refused
from tests.servers import run_openbank
from tests.stories.test_rebuild import rebuilt

ARCHIVE = Path(__file__).parent / "old_bank/data.tar.xz"
MESSAGES: Any = {
    "RegisterPerson": (persons.RegisterPersonRequest, persons.RegisterPersonResponse),
    "UpdateAddress": (persons.UpdateAddressRequest, persons.UpdateAddressResponse),
    "OpenAccount": (accounts.OpenAccountRequest, accounts.OpenAccountResponse),
    "Deposit": (accounts.DepositRequest, accounts.DepositResponse),
    "Withdraw": (accounts.WithdrawRequest, accounts.WithdrawResponse),
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    # Not by extractall: Python 3.11.2 has no filter, and newer versions want one.
    with tarfile.open(ARCHIVE) as tar:
        for member in tar:
            if file := tar.extractfile(member):
                path = directory / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.read())
                path.chmod(member.mode)
    return directory


@pytest.fixture
def said(data: Path) -> Any:
    return json.loads((data / "said.json").read_text())


@pytest.fixture
def settings(data: Path, said: Any) -> Settings:
    """With the sink it had, whose receiver is not there any more."""
    return BackEnd().settings(data, sink=parse_all(["crm=http://127.0.0.1:1/events"]))


async def account_events(bank: Caller, **start: Any) -> list[Any]:
    watch = accounts.WatchAccountEventsRequest(stop_when_caught_up=True, **start)
    pages = [page async for page in bank.accounts.WatchAccountEvents(watch)]
    events = [in_json(event) for page in pages for event in page.events]
    for event in events:
        # Newer than that bank.
        assert event.pop("available_balance") == event["balance"]
    return events


def in_json(message: Any) -> Any:
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


async def test_an_old_bank_starts_and_serves_its_data(bank: Caller, said: Any) -> None:
    for account_id, account in said["accounts"].items():
        answer = await bank.accounts.GetAccount(accounts.GetAccountRequest(account_id=account_id))
        assert in_json(answer.account) == account
    assert await account_events(bank, beginning=Empty()) == said["account_events"]
    after = await account_events(bank, resume_token=said["token"])
    assert 0 < len(after) < len(said["account_events"])
    assert after == said["account_events"][-len(after) :]
    second = accounts.ListAccountsByOwnerRequest(owner_id="john", page_size=9, page_token=said["page_token"])
    page = await bank.accounts.ListAccountsByOwner(second)
    assert [account.account_id for account in page.accounts] == ["parked", "poisoned"]


async def test_its_views_serve_at_once_while_a_rebuild_adds_what_they_lack(
    settings: Settings, said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    filling, next_views = asyncio.Event(), SqliteRebuilds.next_views

    async def later(rebuilds: SqliteRebuilds) -> Any:
        await filling.wait()
        return await next_views(rebuilds)

    monkeypatch.setattr(SqliteRebuilds, "next_views", later)
    balance_then = accounts.GetAccountBalanceRequest(account_id="busy", revision=1)
    async with serving(settings) as server, Caller(server.address) as bank:
        for account_id, account in said["accounts"].items():
            answer = await bank.accounts.GetAccount(accounts.GetAccountRequest(account_id=account_id))
            assert in_json(answer.account) == account
            number = accounts.GetAccountByNumberRequest(account_number=account["account_number"].replace("-", ""))
            assert (await bank.accounts.GetAccountByNumber(number)).account == answer.account
        paid = await bank.deposit("busy", "1")
        assert (await bank.balance("busy", paid.consistency_token)).startswith(str(paid.account.balance.units))
        refusal = await refused(bank.accounts.GetAccountBalance(balance_then))
        assert (refusal.reason, refusal.metadata) == ("VIEW_BEHIND", {"retrySeconds": "5"})
        state = await bank.views.GetRebuild(views.GetRebuildRequest())
        assert (state.rebuild.state, state.complete) == (rebuilds.VIEWS_REBUILD_STATE_RUNNING, False)
        filling.set()
        await rebuilt(bank)
        assert (await bank.views.GetRebuild(views.GetRebuildRequest())).complete
        assert (await bank.accounts.GetAccountBalance(balance_then)).revision == 1
    assert (await verify(settings)).fault_count == 0


async def test_the_requests_of_an_old_bank_are_replayed(bank: Caller, said: Any) -> None:
    assert {one["rpc"] for one in said["requests"]} == set(MESSAGES)
    for one in said["requests"]:
        request, response = (kind() for kind in MESSAGES[one["rpc"]])
        json_format.ParseDict(one["request"], request)
        json_format.ParseDict(one["response"], response)
        service = bank.persons if one["rpc"] in ("RegisterPerson", "UpdateAddress") else bank.accounts
        again = await getattr(service, one["rpc"])(request)
        assert again.replayed
        for field in ("replayed", "consistency_token"):
            again.ClearField(field)
            response.ClearField(field)
        assert again == response


async def test_parked_and_skipped_events_stay_so(bank: Caller, said: Any) -> None:
    sink = await SinksServiceStub(bank.channel).GetSink(sinks.GetSinkRequest(sink="crm"))
    assert in_json(sink)["parked_aggregates"] == said["parked"]
    aside = await bank.quarantine.ListQuarantined(quarantine.ListQuarantinedRequest())
    assert not aside.aggregates
    paid = await bank.deposit("poisoned", "1")
    assert (paid.account.revision, await bank.balance("poisoned", paid.consistency_token)) == (4, "12.00 USD")


async def test_an_old_bank_is_written_and_verified(settings: Settings, data: Path) -> None:
    before_a_start = await verify(settings)
    assert before_a_start.fault_count == 0
    assert "an earlier version of the bank wrote" in before_a_start.lines[-1]
    async with serving(settings) as server, Caller(server.address) as bank:
        before = await bank.accounts.GetAccount(accounts.GetAccountRequest(account_id="busy"))
        paid = await bank.deposit("busy", "1")
        assert paid.account.revision == before.account.revision + 1
        opened = await bank.open("jane", account_number="NEW-1")
        await bank.balance(opened.account.account_id, opened.consistency_token)
    code, out, err = await run_openbank("verify", "--data", str(data))
    assert (code, err) == (0, "")
    assert out.endswith("no fault\n")
