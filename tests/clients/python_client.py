"""Calls a bank until it stops, and prints how each call ended. See programs.py."""

from __future__ import annotations

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc


def call_until_refused(address: str, kept: grpc.Channel | None, call: dict[str, Any]) -> dict[str, Any]:
    answers = 0
    while True:
        # A pool of its own, so that the channel gets a connection of its own.
        channel = kept or grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)])
        try:
            call_once(channel, call)
            answers += 1
        except grpc.RpcError as error:
            status: Any = error
            return {
                "method": call["method"],
                "kept": kept is not None,
                "answers": answers,
                "code": status.code().value[0],
                "message": status.details(),
                "details": dict(status.trailing_metadata() or ()).get("grpc-status-details-bin", b"").hex(),
            }
        finally:
            if kept is None:
                channel.close()


def call_once(channel: grpc.Channel, call: dict[str, Any]) -> None:
    body = bytes.fromhex(call["body"])
    method: Any = (channel.unary_stream if call["stream"] else channel.unary_unary)(call["method"])
    answer = method(body)
    if call["stream"]:
        for _ in answer:
            pass


def main() -> None:
    task = json.loads(sys.argv[1])
    kept = grpc.insecure_channel(task["address"])
    with ThreadPoolExecutor(max_workers=1000) as threads:
        workers = [
            threads.submit(call_until_refused, task["address"], channel, call)
            for call in task["calls"]
            for channel in [kept] * task["workers"] + [None]
        ]
        print(json.dumps([worker.result() for worker in workers]))


if __name__ == "__main__":
    main()
