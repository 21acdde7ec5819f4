"""An HTTP receiver in a process of its own: it writes down each event before it says that it has it.

    python -m tests.sinks.http_receiver --listen 127.0.0.1:0 --record FILE

A line an event: partition key, sequence, id. An event whose id is in FILE.poison is refused with 422, alone or in a
batch, of which then nothing is taken. So is one whose id is in FILE.failing, with 500.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from pathlib import Path

from aiohttp import web
from cloudevents.core.base import BaseCloudEvent
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat

BATCH = "application/cloudevents-batch+json"


class Receiver:
    def __init__(self, record: Path) -> None:
        self._record = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._poison = record.with_suffix(".poison")
        self._failing = record.with_suffix(".failing")

    async def take(self, request: web.Request) -> web.Response:
        events = read(dict(request.headers), await request.read())
        ids = {event.get_id() for event in events}
        if _ids(self._poison) & ids:
            return web.Response(status=422)
        if _ids(self._failing) & ids:
            return web.Response(status=500)
        lines = (
            f"{event.get_extension('partitionkey')} {event.get_extension('sequence')} {event.get_id()}\n"
            for event in events
        )
        os.write(self._record, "".join(lines).encode())
        return web.Response(status=204)


def _ids(file: Path) -> set[str]:
    return set(file.read_text().split()) if file.exists() else set()


def read(headers: dict[str, str], body: bytes) -> list[BaseCloudEvent]:
    named = {name.lower(): value for name, value in headers.items()}
    if named["content-type"] == BATCH:
        return [JSONFormat().read(None, json.dumps(event)) for event in json.loads(body)]
    return [from_http_event(HTTPMessage(named, body))]


async def serve(listen: str, record: Path) -> None:
    app = web.Application()
    app.router.add_post("/{path:.*}", Receiver(record).take)
    runner = web.AppRunner(app)
    await runner.setup()
    host, _, port = listen.rpartition(":")
    await web.TCPSite(runner, host, int(port), reuse_address=True).start()
    print(f"ready at {host}:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True)
    parser.add_argument("--record", type=Path, required=True)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.listen, arguments.record))
