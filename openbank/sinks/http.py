"""Sinks behind https:// and http://: one POST a message.

docs/sinks.md has a table of answers. A success ends the event. An answer about the address or the credentials does not
count against the event.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from importlib.metadata import version

from openbank.publishing.cloudevent import CloudEvent
from openbank.sinks.address import BATCHED, SinkAddress
from openbank.sinks.encoding import encode
from openbank.sinks.http_client import HttpClient, NoAnswer, NotConnected
from openbank.sinks.transport import Accepted, Later, Rejected, SendResult, cannot_connect

BATCH_EVENTS_MAX = 100
MESSAGES_MAX = 16
RETRY_AFTER_SECONDS_MAX = 3600.0
"""The longest pause that a sink can ask for."""

_NOT_NOW = {408, 425, 429}
_NOT_HERE = {401, 403, 404, 405, 407, 410, 421}
"""Statuses about the address or the credentials, not about the event."""


class HttpTransport:
    def __init__(self, address: SinkAddress, timeout_seconds: float) -> None:
        """Create it in the event loop in which it is used."""
        batched = address.mode == BATCHED
        self.events_max = BATCH_EVENTS_MAX if batched else 1
        self.messages_max = 1 if batched else MESSAGES_MAX
        self._mode = address.mode
        self._timeout_seconds = timeout_seconds
        headers = {"user-agent": f"openbank/{version('openbank')}", "accept": "*/*"}
        self._client = HttpClient(address.url, timeout_seconds, headers)

    async def send(self, events: Sequence[CloudEvent]) -> SendResult:
        message = encode(self._mode, events)
        try:
            answer = await self._client.post(message.headers, message.body)
        except NoAnswer as error:
            return Later(str(error))
        except NotConnected as error:
            return Later(str(error), reached=False)
        except TimeoutError:
            return Later(f"no answer within {self._timeout_seconds:g} s")
        except OSError as error:
            return cannot_connect(error, self._client.host)
        # Redirects are not followed: they would send the bank's events to an address that nobody configured.
        return judge(answer.status, *answer.retry_after)

    async def close(self) -> None:
        await self._client.close()


def judge(status: int, *retry_after: str) -> SendResult:
    """What an answer of this status means."""
    if 200 <= status < 300:
        return Accepted()
    reason = f"HTTP {status}"
    with suppress(ValueError):
        reason += f" {HTTPStatus(status).phrase}"
    if 400 <= status < 500 and status not in _NOT_NOW | _NOT_HERE:
        return Rejected(reason)
    return Later(reason, min(max(map(_seconds, retry_after), default=0.0), RETRY_AFTER_SECONDS_MAX))


def _seconds(retry_after: str) -> float:
    """Reads either form of Retry-After, in seconds; 0 for anything else."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        then = parsedate_to_datetime(text)
        then = then if then.tzinfo else then.replace(tzinfo=UTC)
        return max(0.0, (then - datetime.now(UTC)).total_seconds())
    except (ArithmeticError, LookupError, TypeError, ValueError):
        # The parser raises each of these for some texts.
        return 0.0
