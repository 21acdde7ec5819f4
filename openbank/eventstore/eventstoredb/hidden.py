"""What operators have hidden of the bank's streams: truncated, deleted, or deleted permanently.

Reads of the log still give such events until they are scavenged; reads of their streams do not.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from openbank.eventstore.eventstoredb.link import Link
from openbank.eventstore.streams import CATEGORIES

_DELETED = (1 << 63) - 1
"""The `$tb` of a stream that was deleted and may be written again."""
_LIMITS = ("$maxAge", "$maxCount")


async def hidden_streams(link: Link, prefix: str) -> AsyncIterator[str]:
    """One sentence for each of the bank's streams of which something is, or may be, hidden."""
    ours = tuple(f"{prefix}{category}-" for category in CATEGORIES)
    found: dict[str, str] = {}
    async for event in link.history(prefixes=[f"$${name}" for name in ours]):
        # Only the last metadata of a stream counts.
        stream = event.stream_name.removeprefix(f"$${prefix}")
        found[stream] = _hides(event.data)
    async for event in link.history(type_prefixes=["$streamDeleted"]):
        if event.stream_name.startswith(ours):
            found[event.stream_name.removeprefix(prefix)] = "was deleted permanently, by a tombstone"
    for stream, what in found.items():
        if what:
            yield f"{stream} {what}"


def _hides(data: bytes) -> str:
    try:
        metadata = json.loads(data)
    except ValueError:
        return ""
    if not isinstance(metadata, dict):
        return ""
    before = metadata.get("$tb")
    if before == _DELETED:
        return "was deleted"
    if isinstance(before, int) and before > 0:
        return f"was truncated: its events before revision {before + 1} are hidden"
    limits = [name for name in _LIMITS if name in metadata]
    return f"has {' and '.join(limits)} in its metadata, which hides events" if limits else ""
