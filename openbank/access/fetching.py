"""Gets key sets: over HTTP, off the path of any call, or from a file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp

from openbank.access.policy import Issuer

BYTES_MAX = 1 << 20
PART_BYTES = 64 << 10
SECONDS_MAX = 5.0


async def fetch(issuer: Issuer) -> bytes:
    """The document of an issuer's key set. Raises OSError."""
    if issuer.jwks_is_file:
        return await asyncio.to_thread(_read, Path(issuer.jwks))
    timeout = aiohttp.ClientTimeout(total=SECONDS_MAX)
    try:
        # A redirect could lead to a host that the access file does not name.
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(issuer.jwks, allow_redirects=False, headers={"Accept": "application/json"}) as response,
        ):
            if response.status != 200:
                raise OSError(f"was answered with HTTP status {response.status}")
            document = bytearray()
            async for part in response.content.iter_chunked(PART_BYTES):
                document += part
                _check_size(len(document))
            return bytes(document)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise OSError(f"could not be fetched: {type(error).__name__}") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            document = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise OSError(f"could not be read: {error.strerror or error}") from None
    _check_size(len(document))
    return document


def _check_size(size: int) -> None:
    if size > BYTES_MAX:
        raise OSError(f"has more than {BYTES_MAX} bytes")
