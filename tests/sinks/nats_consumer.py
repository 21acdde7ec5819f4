"""A durable consumer of a stream in a process of its own: it writes down each event before it acknowledges it.

    python -m tests.sinks.nats_consumer nats://127.0.0.1:4222 --record FILE

A line an event: partition key, sequence, id.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
from contextlib import suppress
from pathlib import Path

import nats.errors
from nats.aio.client import Client
from nats.js.api import ConsumerConfig, StreamConfig

STREAM = "bank"
SUBJECTS = "openbank.>"
ACK_SECONDS = 0.5


async def consume(uri: str, record: int) -> None:
    """Until the server is gone."""

    async def on_error(_: Exception) -> None: ...

    client = Client()
    try:
        await client.connect(uri, allow_reconnect=False, max_reconnect_attempts=1, error_cb=on_error)
        jetstream = client.jetstream()
        await jetstream.add_stream(StreamConfig(name=STREAM, subjects=[SUBJECTS]))
        # One at a time: what it had when it was killed comes again before anything else.
        config = ConsumerConfig(ack_wait=ACK_SECONDS, max_ack_pending=1)
        subscription = await jetstream.pull_subscribe(SUBJECTS, durable="tests", config=config)
        print("ready", flush=True)
        while True:
            with suppress(nats.errors.TimeoutError):
                for message in await subscription.fetch(1, timeout=1):
                    event = json.loads(message.data)
                    line = f"{event['partitionkey']} {event['sequence']} {event['id']}\n"
                    os.write(record, line.encode())
                    await message.ack()
            if client.is_closed:
                return
    finally:
        await client.close()


async def consume_always(uri: str, file: Path) -> None:
    record = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    while True:
        with suppress(nats.errors.Error, OSError):
            await consume(uri, record)
        await asyncio.sleep(0.05)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("uri")
    parser.add_argument("--record", type=Path, required=True)
    arguments = parser.parse_args()
    asyncio.run(consume_always(arguments.uri, arguments.record))
