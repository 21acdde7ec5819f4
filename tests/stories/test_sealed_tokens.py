"""Tokens show nothing of other customers, and those that clients have stored before keep their meaning."""

from __future__ import annotations

import base64
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.config import Settings
from openbank.eventstore.port import LogPosition
from openbank.persons.v1 import persons_service_pb2 as persons
from tests.callers import Caller, refused
from tests.servers import ServerProcess
from tests.tokens import open_token


async def test_a_heartbeat_does_not_name_the_account_of_somebody_else(bank: Caller) -> None:
    mine = (await bank.open()).account
    theirs = (await bank.open(account_id="account-of-somebody-else")).account
    watch = bank.accounts.WatchAccountEvents(
        accounts.WatchAccountEventsRequest(
            owner_ids=[mine.owner_id], live=Empty(), heartbeat_interval=Duration(seconds=1)
        )
    )
    await watch.read()
    deposited = await bank.deposit(theirs.account_id, "1")
    heartbeat = await watch.read()
    watch.cancel()
    # It is the place of that deposit.
    assert heartbeat.resume_token == deposited.consistency_token
    for token in (heartbeat.resume_token, deposited.consistency_token):
        raw = base64.urlsafe_b64decode(token)
        assert theirs.account_id.encode() not in raw
    assert len({len(token) for token in (heartbeat.resume_token, (await bank.open()).consistency_token)}) == 1


async def test_tokens_from_before_they_were_sealed_are_good_after_the_upgrade(tmp_path: Path) -> None:
    settings = Settings(listen="127.0.0.1:0", data=tmp_path / "data")
    async with serving(settings) as server, Caller(server.address) as bank:
        account_id = (await bank.open()).account.account_id
        await bank.deposit(account_id, "1")
    # The data as the earlier version leaves it, and a token that it gave.
    with closing(sqlite3.connect(settings.data / "events.db", isolation_level=None)) as earlier:
        earlier.execute("DELETE FROM meta WHERE name = 'token_key'")
        meta = dict(earlier.execute("SELECT name, value FROM meta"))
        [[end]] = earlier.execute("SELECT max(position) FROM events")
    stored = open_token(meta["bank_id"], meta["store_id"], LogPosition(end - 1, f"account-{account_id}", 1))
    given: list[str] = []
    for _ in range(2):
        async with serving(settings) as server, Caller(server.address) as bank:
            for token in (stored, *given):
                assert await bank.balance(account_id, token) == "1.00 USD"
                assert [event.revision for event in await events_after(bank, token)] == [2]
            given.append((await first_response(bank, stored)).resume_token)
    # Both starts have one key.
    assert len(set(given)) == 1
    assert base64.urlsafe_b64decode(given[0])[0] == 2


async def events_after(bank: Caller, token: str) -> list[Any]:
    request = accounts.WatchAccountEventsRequest(resume_token=token, stop_when_caught_up=True)
    return [event async for response in bank.accounts.WatchAccountEvents(request) for event in response.events]


async def first_response(bank: Caller, token: str) -> Any:
    """Its token is that of the place where the watch begins."""
    watch = bank.accounts.WatchAccountEvents(accounts.WatchAccountEventsRequest(resume_token=token))
    response = await watch.read()
    watch.cancel()
    return response


async def test_a_token_of_another_bank_is_refused_by_name(bank: Caller, tmp_path: Path) -> None:
    other = Settings(listen="127.0.0.1:0", data=tmp_path / "other")
    async with serving(other) as server, Caller(server.address) as elsewhere:
        token = (await elsewhere.open()).consistency_token
        page = (await elsewhere.persons.ListPersons(persons.ListPersonsRequest(page_size=1))).next_page_token
        assert page == ""
    told = await refused(bank.persons.ListPersons(persons.ListPersonsRequest(consistency_token=token)))
    assert told.violations == {"consistency_token": "TOKEN_OF_ANOTHER_BANK"}


async def test_no_log_line_and_no_error_has_the_key(tmp_path: Path) -> None:
    process = ServerProcess(tmp_path / "data", "--log-level", "debug")
    await process.start()
    async with Caller(process.address) as bank:
        await bank.open()
        told = await refused(bank.persons.ListPersons(persons.ListPersonsRequest(consistency_token="x")))
    await process.stop()
    with closing(sqlite3.connect(tmp_path / "data/events.db")) as log:
        [[key]] = log.execute("SELECT value FROM meta WHERE name = 'token_key'")
    assert len(key) == 64
    said = f"{process.lines} {process.other_output} {told}"
    assert key not in said
    assert str(bytes.fromhex(key)) not in said
