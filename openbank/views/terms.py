"""Terms by which movements are found: one for each filter that a movement passes.

A list with any combination of filters is therefore one range of one index, however many movements pass only some of
them.
"""

from __future__ import annotations

import json
from hashlib import blake2b

from openbank.domain.tags import Tags
from openbank.views.port import MovementFilter

TERM_BYTES = 16


def term(filter: MovementFilter) -> bytes:
    """What the list of the movements that pass this filter is kept under."""
    return blake2b(json.dumps(filter).encode(), digest_size=TERM_BYTES).digest()


def terms(account_id: str, tags: Tags) -> tuple[bytes, ...]:
    """The terms of a movement. Its account alone needs none: account and position find it."""
    filters = [MovementFilter(account_id, label=label) for label in tags.labels]
    if tags.external_reference:
        for label in (None, *tags.labels):
            filters += [MovementFilter(of, tags.external_reference, label) for of in ("", account_id)]
    return tuple(map(term, filters))
