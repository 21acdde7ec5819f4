"""A sink receiver: takes CloudEvents over HTTP and queues one welcome letter for each new customer.

    python examples/sink_receiver.py 127.0.0.1:8804 letters.db
    openbank serve --sink letters=http://127.0.0.1:8804/

The bank delivers at least once. The receiver stores the id of each event in the transaction that has its effect, and
answers 2xx only after the commit; an id it has already gets 2xx and no effect.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SCHEMA = """
CREATE TABLE IF NOT EXISTS seen (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS letters (email TEXT, text TEXT);
"""
BODY_BYTES_MAX = 1 << 20


class Receiver(BaseHTTPRequestHandler):
    database = ""
    timeout = 30

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
            self.answer(413)
            return
        try:
            take(self.database, json.loads(self.rfile.read(int(length))))
            self.answer(204)
        except (ValueError, KeyError, TypeError):
            # Not the event that it should be: the bank parks its aggregate until an operator decides.
            self.answer(400)
        except sqlite3.Error:
            # The bank sends it again, after growing pauses.
            self.answer(503)

    def answer(self, status: int) -> None:
        self.send_response(status)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: events have personal data."""


def take(database: str, event: dict[str, Any]) -> None:
    # A connection for each request: every request has a thread of its own.
    with closing(sqlite3.connect(database)) as connection, connection:
        identity = f"{event['source']} {event['id']}"
        is_new = connection.execute("INSERT OR IGNORE INTO seen VALUES (?)", (identity,)).rowcount
        if is_new and event["type"] == "person.registered.v1":
            person = event["data"]
            text = f"Welcome, {person['full_name']}!"
            connection.execute("INSERT INTO letters VALUES (?, ?)", (person.get("email", ""), text))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("listen")
    parser.add_argument("database")
    flags = parser.parse_args()
    with closing(sqlite3.connect(flags.database)) as connection:
        connection.executescript(SCHEMA)
    Receiver.database = flags.database
    host, _, port = flags.listen.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Receiver)
    print(f"listening on {host}:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
