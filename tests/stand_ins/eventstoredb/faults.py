"""What tests tell the stand-in to do wrong.

    fault = server.faults.add("cut_after", times=1, prefix="account-")
    ...
    server.faults.clear()

Kinds, for an append unless `on` names other operations ("append", "delete", "read", "subscribe", "gossip"):

    refuse      UNAVAILABLE at once; nothing is written
    hang        no answer, ever; nothing is written
    hang_after  no answer, ever; it is written
    cut_before  the call breaks with UNAVAILABLE; nothing is written
    cut_after   the call breaks with UNAVAILABLE; it is written
    slow        everything takes `seconds` longer (appends of one BatchAppend call wait for each other)
    strange     the credentials are refused: UNAUTHENTICATED
    deny        a right is missing: PERMISSION_DENIED, for an append in its answer
    forget      ANY and EXISTS recognise no repeat, as after a restart or under load; expected versions stay exact

A fault strikes the next `times` calls (or until it is cleared) whose stream begins with `prefix`. A call that has no
stream, like a read of $all, counts as the stream "$all". `slow` and `forget` come on top of others; of the rest only
the oldest that fits strikes.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast, get_args

Kind = Literal["refuse", "hang", "hang_after", "cut_before", "cut_after", "slow", "forget", "strange", "deny"]
FATES: tuple[Kind, ...] = ("refuse", "hang", "hang_after", "cut_before", "cut_after", "strange", "deny")
Operation = Literal["append", "delete", "read", "subscribe", "gossip"]


@dataclass(slots=True)
class Fault:
    kind: Kind
    times: int | None = None
    prefix: str = ""
    seconds: float = 0.0
    on: tuple[Operation, ...] = ("append",)
    struck: int = 0

    def fits(self, operation: Operation, stream: str) -> bool:
        spent = self.times is not None and self.struck >= self.times
        return not spent and operation in self.on and stream.startswith(self.prefix)


@dataclass(slots=True)
class Faults:
    active: list[Fault] = field(default_factory=list)

    def add(
        self,
        kind: Kind,
        *,
        times: int | None = None,
        prefix: str = "",
        seconds: float = 0.0,
        on: Iterable[Operation] = ("append",),
    ) -> Fault:
        operations = tuple(on)
        if kind not in get_args(Kind) or not set(operations) <= set(get_args(Operation)):
            raise ValueError(f"no such fault: {kind} on {operations}")
        fault = Fault(kind, times, prefix, seconds, operations)
        self.active.append(fault)
        return fault

    def clear(self) -> None:
        self.active.clear()

    def delay(self, operation: Operation, stream: str) -> float:
        slow = self._next(("slow",), operation, stream)
        return slow.seconds if slow else 0.0

    def forgets(self, stream: str) -> bool:
        return self._next(("forget",), "append", stream) is not None

    def strike(self, operation: Operation, stream: str) -> Fault | None:
        return self._next(FATES, operation, stream)

    def _next(self, kinds: tuple[Kind, ...], operation: Operation, stream: str) -> Fault | None:
        for fault in self.active:
            if fault.kind in kinds and fault.fits(operation, stream):
                fault.struck += 1
                return fault
        return None

    def described(self) -> list[dict[str, Any]]:
        return [asdict(fault) for fault in self.active]


def fault_from(described: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `Faults.add` in what came as JSON."""
    return {**described, "on": tuple(cast(list[Operation], described.get("on", ["append"])))}
