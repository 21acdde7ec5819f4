"""The interface of a transport: it sends a message, and returns what the sink answered."""

from __future__ import annotations

import logging
import os
import socket
import ssl
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from openbank.publishing.cloudevent import CloudEvent

_log = logging.getLogger(__name__)


class Accepted(NamedTuple):
    """The sink has accepted the message."""


class Rejected(NamedTuple):
    """The sink refuses the message permanently. Of several events, at least one is the reason."""

    reason: str


class Later(NamedTuple):
    """Nothing can be sent now, or the outcome is unknown: send it again."""

    reason: str
    after_seconds: float = 0.0
    """The shortest pause before the next try, if the sink asked for one."""
    reached: bool = True
    """Whether the sink may have seen the message: False if there was no connection."""


SendResult = Accepted | Rejected | Later


class Transport(Protocol):
    events_max: int
    """The most events in one message."""
    messages_max: int
    """The most messages under way at one time. Those of one aggregate are always sent one after another."""

    async def send(self, events: Sequence[CloudEvent]) -> SendResult:
        """Sends one message. No reason in an answer holds what the sink said in words, or any secret of the address."""
        ...

    async def close(self) -> None: ...


async def send(transport: Transport, events: Sequence[CloudEvent]) -> SendResult:
    """Sends a message. Any failure means that it was not delivered, and is sent again."""
    try:
        return await transport.send(events)
    except Exception as error:
        _log.debug("sending has failed", exc_info=True)
        return Later(f"sending fails: {type(error).__name__}")


class Counted:
    """A transport that counts the messages it has sent, by what became of them."""

    def __init__(self, transport: Transport) -> None:
        self.events_max, self.messages_max = transport.events_max, transport.messages_max
        self.close = transport.close
        self.outcomes: Counter[type[SendResult]] = Counter()
        self._transport = transport

    async def send(self, events: Sequence[CloudEvent]) -> SendResult:
        answer = await send(self._transport, events)
        self.outcomes[type(answer)] += 1
        return answer


def cannot_connect(error: OSError, host: str) -> Later:
    return Later(f"cannot connect: {_why(error, host)}", reached=False)


def _why(error: OSError, host: str) -> str:
    match error:
        case socket.gaierror():
            return f"the host {host} cannot be resolved"
        case ssl.SSLCertVerificationError():
            return f"the certificate is not trusted: {error.verify_message}"
        case ssl.SSLError():
            return f"TLS fails: {error.reason or type(error).__name__}"
    return os.strerror(error.errno) if error.errno else type(error).__name__
