"""The one event loop of the benchmarks: grpc.aio's engine stays with the first loop that it meets."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

Result = TypeVar("Result")

_RUNNER = asyncio.Runner(loop_factory=uvloop.new_event_loop)


def run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    return _RUNNER.run(coroutine)
