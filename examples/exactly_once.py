"""An exactly-once consumer: adds up what is deposited to each account, through crashes of either side.

    python examples/exactly_once.py 127.0.0.1:50051 deposits.db

One SQLite file holds the effect (the sums) and the resume token. Both change in one transaction, so a crash loses no
event and counts none twice. Sums show every mistake, which is why they are the example; to know a balance, read the
event's `balance`.
"""

from __future__ import annotations

import argparse
import sqlite3
from contextlib import closing

import grpc
from google.protobuf.empty_pb2 import Empty

from openbank.accounts.v1.account_events_pb2 import ACCOUNT_EVENT_TYPE_MONEY_DEPOSITED, AccountEvent
from openbank.accounts.v1.accounts_service_pb2 import WatchAccountEventsRequest
from openbank.client import CHANNEL_OPTIONS, watch_sync

SCHEMA = """
CREATE TABLE IF NOT EXISTS deposits (account_id TEXT PRIMARY KEY, count INTEGER, units INTEGER, nanos INTEGER);
CREATE TABLE IF NOT EXISTS place (only_one INTEGER PRIMARY KEY CHECK (only_one = 1), resume_token TEXT);
"""
ADD = """
INSERT INTO deposits VALUES (?, 1, ?, ?)
ON CONFLICT DO UPDATE SET count = count + 1, units = units + excluded.units, nanos = nanos + excluded.nanos
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("database")
    parser.add_argument("--until-caught-up", action="store_true")
    flags = parser.parse_args()
    with closing(sqlite3.connect(flags.database, isolation_level=None)) as database:
        database.executescript(SCHEMA)
        follow(flags.target, database, flags.until_caught_up)


def follow(target: str, database: sqlite3.Connection, until_caught_up: bool) -> None:
    request = WatchAccountEventsRequest(
        event_types=[ACCOUNT_EVENT_TYPE_MONEY_DEPOSITED], stop_when_caught_up=until_caught_up
    )
    kept = database.execute("SELECT resume_token FROM place").fetchone()
    if kept:
        request.resume_token = kept[0]
    else:
        request.beginning.CopyFrom(Empty())
    with grpc.insecure_channel(target, options=CHANNEL_OPTIONS) as channel:
        # Resumes by itself after an interruption of the connection or of the bank.
        for response in watch_sync(channel, request):
            database.execute("BEGIN IMMEDIATE")
            for event in response.events:
                add(database, event)
            # Also for responses without events: it spares a restart what the filter left out.
            database.execute("INSERT OR REPLACE INTO place VALUES (1, ?)", (response.resume_token,))
            database.execute("COMMIT")


def add(database: sqlite3.Connection, event: AccountEvent) -> None:
    amount = event.money_deposited.amount
    database.execute(ADD, (event.account_id, amount.units, amount.nanos))


if __name__ == "__main__":
    main()
