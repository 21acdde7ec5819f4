"""Permanent refusals of EventStoreDB, with messages that say what to write instead."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence

import grpc
from esdbclient.exceptions import AccessDeniedError

from openbank.eventstore.errors import StoreUnavailable

PROBE_SECONDS = 1.0
MISSING_RIGHT = (
    "access denied: the user of the address must have the right to read $all, which only $admins have by default, and"
    " to read and append to the bank's streams"
)
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
"""The first bytes of an HTTP/2 client: the preface and empty settings."""
_SETTINGS = 4
"""The type of the frame that a server begins with."""


class AccessRefused(StoreUnavailable):
    """EventStoreDB does not accept the credentials, or they lack a right. Nothing was done; a retry does not help."""


def access_refused(error: Exception, *, has_user: bool) -> AccessRefused | None:
    """The AccessRefused that an error of esdbclient's stands for, if it is such a refusal."""
    if isinstance(error, AccessDeniedError):
        return AccessRefused(MISSING_RIGHT)
    cause = error.args[0] if error.args else error
    code = cause.code() if isinstance(cause, grpc.aio.AioRpcError) else None
    if code is grpc.StatusCode.PERMISSION_DENIED:
        return AccessRefused(MISSING_RIGHT)
    if code is not grpc.StatusCode.UNAUTHENTICATED:
        return None
    if has_user:
        return AccessRefused("it does not accept the user and password of the address")
    return AccessRefused("it wants a user and password: esdb://USER:PASSWORD@HOST:PORT?OPTIONS")


def bad_address(reason: str) -> str:
    """`reason` is the client library's."""
    if "Username and password are required" in reason:
        return (
            "TLS needs a user and password: esdb://USER:PASSWORD@HOST:PORT?TlsCaFile=FILE; for a server without TLS"
            " write Tls=false: esdb://HOST:PORT?Tls=false"
        )
    return reason


async def wrong_about_tls(targets: Sequence[str], tls: bool, reason: str) -> str:
    """What to change in the address if a server cannot be reached because of TLS; otherwise empty.

    `reason` is gRPC's own message.
    """
    if "CERTIFICATE_VERIFY_FAILED" in reason:
        return "its certificate is not trusted: write TlsCaFile=FILE, with the certificate of the authority behind it"
    for target in targets:
        host, _, port = target.rpartition(":")
        if tls and await _speaks_plainly(host, port):
            return f"{target} is without TLS: write Tls=false"
        if not tls and await _speaks_tls(host, port):
            return f"{target} expects TLS: write Tls=true, with a user and password, instead of Tls=false"
    return ""


async def _speaks_tls(host: str, port: str) -> bool:
    """Whatever its certificate is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            _, writer = await asyncio.open_connection(host, port, ssl=context)
    except (OSError, ValueError):
        return False
    writer.transport.abort()
    return True


async def _speaks_plainly(host: str, port: str) -> bool:
    """Whether HTTP/2 without TLS is answered."""
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(_HTTP2)
                return (await reader.readexactly(9))[3] == _SETTINGS
            finally:
                writer.transport.abort()
    except (OSError, ValueError, EOFError):
        return False
