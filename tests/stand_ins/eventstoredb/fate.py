"""One operation, under whatever faults are set."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import NoReturn, TypeVar

import grpc

from tests.stand_ins.eventstoredb.faults import Faults, Kind, Operation
from tests.stand_ins.eventstoredb.log import StreamDeleted, WrongExpectedVersion
from tests.stand_ins.eventstoredb.messages import Context, abort

T = TypeVar("T")
_REFUSALS = {
    "strange": (grpc.StatusCode.UNAUTHENTICATED, "Unauthenticated"),
    "deny": (grpc.StatusCode.PERMISSION_DENIED, "Access Denied"),
}


class Cut(Exception):
    """The call ends here, as it does when a connection is lost, or is refused."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.kind = kind


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
    if fault.kind.startswith("hang"):
        raise Silence
    raise Cut(fault.kind)


async def abort_cut(context: Context, cut: Cut) -> NoReturn:
    broken = (grpc.StatusCode.UNAVAILABLE, "the stand-in breaks this call on purpose")
    await abort(context, *_REFUSALS.get(cut.kind, broken))


async def never() -> NoReturn:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("nothing answers")
