"""Sinks behind https:// and http://: one POST a message.

Which answers mean what is a table in docs/sinks.md: success is the event's end, and what is said about the address or
the credentials is not held against the event.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from importlib.metadata import version

import aiohttp
from yarl import URL

from openbank.publishing.cloudevent import CloudEvent
from openbank.sinks.address import BATCHED, SinkAddress
from openbank.sinks.encoding import encode
from openbank.sinks.transport import Accepted, Answer, Later, Refused, cannot_connect

BATCH_EVENTS_MAX = 100
MESSAGES_MAX = 16
RETRY_AFTER_SECONDS_MAX = 3600.0
"""A sink that asks for a longer pause is asked again nonetheless."""
IDLE_SECONDS_MAX = 2.0
"""For which a connection is kept: servers close idle ones after 5 s and more, and what is sent just then is lost."""
ANSWER_BYTES_MAX = 1 << 16
"""What is read of an answer's body, for the connection to be used again; nothing is made of it."""

_NOT_NOW = {408, 425, 429}
_NOT_HERE = {401, 403, 404, 405, 407, 410, 421}
"""Of the address or the credentials, rather than of the event."""


class HttpTransport:
    def __init__(self, address: SinkAddress, timeout_seconds: float) -> None:
        """To be made in the event loop that it is used in."""
        batched = address.mode == BATCHED
        self.events_max = BATCH_EVENTS_MAX if batched else 1
        self.messages_max = 1 if batched else MESSAGES_MAX
        self._mode = address.mode
        # As it was given: in a query that is signed every character counts.
        self._url = URL(address.url, encoded=True)
        self._timeout_seconds = timeout_seconds
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self.messages_max, keepalive_timeout=IDLE_SECONDS_MAX),
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            headers={"user-agent": f"openbank/{version('openbank')}"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def send(self, events: Sequence[CloudEvent]) -> Answer:
        message = encode(self._mode, events)
        try:
            # To follow a redirect would be to send the bank's events where nobody has told it to.
            async with self._session.post(
                self._url, data=message.body, headers=message.headers, allow_redirects=False
            ) as response:
                with suppress(aiohttp.ClientError, TimeoutError):
                    await response.content.read(ANSWER_BYTES_MAX)
                return judge(response.status, response.headers.get("retry-after", ""))
        except TimeoutError:
            return Later(f"no answer within {self._timeout_seconds:g} s")
        except aiohttp.ClientConnectorCertificateError:
            return Later("cannot connect: the certificate is not trusted")
        except aiohttp.ClientConnectorError as error:
            return cannot_connect(error.os_error)
        except (aiohttp.ClientError, OSError) as error:
            # Without the error's own text, in which there may be the URL.
            return Later(f"the connection failed: {type(error).__name__}")

    async def close(self) -> None:
        await self._session.close()


def judge(status: int, retry_after: str = "") -> Answer:
    """What an answer of this status means."""
    if 200 <= status < 300:
        return Accepted()
    reason = f"HTTP {status}"
    with suppress(ValueError):
        reason += f" {HTTPStatus(status).phrase}"
    if 400 <= status < 500 and status not in _NOT_NOW | _NOT_HERE:
        return Refused(reason)
    return Later(reason, min(_seconds(retry_after), RETRY_AFTER_SECONDS_MAX))


def _seconds(retry_after: str) -> float:
    """From either form of Retry-After; 0 for what is neither."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    try:
        then = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return max(0.0, (then - datetime.now(UTC)).total_seconds())
