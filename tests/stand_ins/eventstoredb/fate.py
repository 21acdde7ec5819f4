"""One operation, under whatever faults are set."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import NoReturn, TypeVar

import grpc

from tests.stand_ins.eventstoredb.faults import Faults, Operation
from tests.stand_ins.eventstoredb.log import StreamDeleted, WrongExpectedVersion
from tests.stand_ins.eventstoredb.messages import Context, abort

T = TypeVar("T")


class Cut(Exception):
    """The call ends here, as it does when a connection is lost."""


class Silence(Exception):
    """No answer, now or later."""


async def under_faults(faults: Faults, operation: Operation, stream: str, act: Callable[[], T]) -> T:
    if not faults.active:
        return act()
    if delay := faults.delay(operation, stream):
        await asyncio.sleep(delay)
    fault = faults.strike(operation, stream)
    if fault is None:
        return act()
    if fault.kind in ("cut_after", "hang_after"):
        with contextlib.suppress(WrongExpectedVersion, StreamDeleted):
            act()
    raise Silence if fault.kind.startswith("hang") else Cut


async def abort_cut(context: Context) -> NoReturn:
    await abort(context, grpc.StatusCode.UNAVAILABLE, "the stand-in was told to break this call")


async def never() -> NoReturn:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("nothing answers")
