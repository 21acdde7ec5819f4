"""Operators hide events of the bank's streams with EventStoreDB's tools. That stops these accounts alone."""

from __future__ import annotations

from pathlib import Path

from esdbclient import AsyncEventStoreDBClient, StreamState

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from tests.back_ends import BackEnd
from tests.callers import Caller, refused, usd
from tests.stand_ins.process import eventstoredb

HIDDEN = ("truncated", "limited", "deleted", "tombstoned")


async def test_accounts_whose_events_were_hidden_take_no_money_through_restart_and_rebuild(tmp_path: Path) -> None:
    async with eventstoredb() as events:
        settings = BackEnd(events.uri).settings(tmp_path / "data")
        async with serving(settings) as server, Caller(server.address) as bank:
            await bank.register(person_id="john")
            for account_id in (*HIDDEN, "sound"):
                await bank.open("john", account_id=account_id, initial_deposit=usd("5"))
                for _ in range(2):
                    paid = await bank.deposit(account_id, "1")
            assert await bank.balance("sound", paid.consistency_token) == "7.00 USD"
        async with AsyncEventStoreDBClient(events.uri) as client:
            await client.connect()
            await client.set_stream_metadata("account-truncated", metadata={"$tb": 2})
            await client.set_stream_metadata("account-limited", metadata={"$maxCount": 1})
            await client.tombstone_stream("account-tombstoned", current_version=StreamState.ANY)
            await client.delete_stream("account-deleted", current_version=StreamState.ANY)
        events.log.scavenge()
        for balance in (8, 9):
            async with serving(settings) as server, Caller(server.address) as bank:
                paid = await bank.deposit("sound", "1")
                assert await bank.balance("sound", paid.consistency_token) == f"{balance}.00 USD"
                for account_id in HIDDEN:
                    told = await refused(bank.deposit(account_id, "1"))
                    wanted = "ACCOUNT_NOT_FOUND" if account_id == "deleted" else "AGGREGATE_QUARANTINED"
                    assert (account_id, told.reason) == (account_id, wanted)
                    if account_id != "deleted":
                        request = accounts.GetAccountRequest(account_id=account_id)
                        assert (await refused(bank.accounts.GetAccount(request))).reason == wanted
            (tmp_path / "data" / "views.db").unlink()
