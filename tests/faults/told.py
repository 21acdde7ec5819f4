"""The driver's requests and the bank's answers, to be compared with the log."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from grpc import StatusCode
from grpc.aio import AioRpcError

from tests.callers import refusal

SECONDS_MAX = 15.0
"""For one call. A bank whose store is away says so long before."""

_REFUSALS = {
    StatusCode.INVALID_ARGUMENT,
    StatusCode.NOT_FOUND,
    StatusCode.ALREADY_EXISTS,
    StatusCode.FAILED_PRECONDITION,
    StatusCode.ABORTED,
}
_DAMAGE = {"LOG_MISMATCH", "AGGREGATE_QUARANTINED"}
"""No campaign does any to what its clients use."""
_BROKEN = {StatusCode.UNAVAILABLE, StatusCode.CANCELLED}
"""gRPC's own words for a connection that broke, without a detail of the bank's."""


class Broken(Exception):
    """The bank has not kept its word."""


class Told(Enum):
    """What one call ended with."""

    DONE = "done"
    REFUSED = "refused"
    NOTHING_WRITTEN = "nothing written"
    UNCERTAIN = "uncertain"


@dataclass(eq=False)
class Asked:
    """One request, which may be sent several times. Each time it has a correlation id, which its event keeps."""

    number: int
    rpc: str
    message: Any
    sent: int = 0
    answers: list[Any] = field(default_factory=list)
    refusal: str = ""
    """Why, where it has been refused for good."""
    done_at: float = 0.0
    """When its first answer had come, in seconds since 1970."""

    @property
    def named(self) -> bool:
        """Whether it has a request id, and so may be sent again."""
        return bool(self.message.request_id)

    @property
    def came_back(self) -> bool:
        """Whether it is a transfer that was sent, and refused by its destination."""
        return self.refusal == "TRANSFER_RETURNED"

    @property
    def written(self) -> tuple[int, int]:
        """The least and the most events that it can have in the log."""
        if self.answers or self.came_back:
            return 1, 1
        return (0, 0) if self.refusal else (0, 1)

    async def send(self, stub: Any, seconds_max: float = SECONDS_MAX) -> Told:
        self.sent += 1
        metadata = (("x-correlation-id", f"{self.number}.{self.sent}"),)
        try:
            answer = await getattr(stub, self.rpc)(self.message, timeout=seconds_max, metadata=metadata)
        except AioRpcError as error:
            told, why = understand(error)
            if told is Told.NOTHING_WRITTEN and self.named:
                # The same words also mean an append whose outcome is unknown: sent again it is safe.
                told = Told.UNCERTAIN
            if told in (Told.REFUSED, Told.NOTHING_WRITTEN):
                self.refusal = why
            return told
        self._take(answer)
        return Told.DONE

    def _take(self, answer: Any) -> None:
        self.refusal = ""
        for earlier in self.answers[:1]:
            if (earlier.event_id, revision(earlier)) != (answer.event_id, revision(answer)):
                raise Broken(f"{self} was answered differently: {earlier} and then {answer}")
        self.done_at = self.done_at or time.time()
        self.answers.append(answer)

    def __str__(self) -> str:
        return f"{self.rpc} {self.number} ({' '.join(str(self.message).split())})"


def understand(error: AioRpcError) -> tuple[Told, str]:
    """What an error says of the write. Raises Broken for one that the bank must never answer."""
    told = refusal(error)
    if "ErrorInfo" not in told.details:
        if error.code() in _BROKEN or _reset(error):
            return Told.UNCERTAIN, "broken connection"
    elif error.code() in _REFUSALS and told.reason not in _DAMAGE:
        return Told.REFUSED, told.reason
    elif told.reason == "STORE_UNAVAILABLE":
        return Told.NOTHING_WRITTEN, told.reason
    elif told.reason in ("OUTCOME_UNKNOWN", "VIEW_BEHIND", "SERVER_DRAINING"):
        return Told.UNCERTAIN, told.reason
    raise Broken(f"an answer that no outage explains: {error.code()}: {error.details()}")


def _reset(error: AioRpcError) -> bool:
    """A connection that broke in the middle of an answer."""
    return error.code() in (StatusCode.INTERNAL, StatusCode.UNKNOWN) and "RST_STREAM" in (error.details() or "")


def revision(answer: Any) -> int:
    return int(resource(answer).revision)


def resource(answer: Any) -> Any:
    return answer.account if "account" in answer.DESCRIPTOR.fields_by_name else answer.person
