"""Terms by which movements are found: one for each filter that a movement passes.

A list with any combination of filters is therefore one range of one index, however many movements pass only some of
them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b

from openbank.views.port import MovementFilter

TERM_BYTES = 16


def term(filter: MovementFilter) -> bytes:
    """What the list of the movements that pass this filter is kept under."""
    return blake2b(json.dumps(filter).encode(), digest_size=TERM_BYTES).digest()


def terms(account_id: str, external_reference: str, labels: Sequence[tuple[str, str]]) -> tuple[bytes, ...]:
    """The terms of a movement. Its account alone needs none: account and position find it."""
    if not external_reference and not labels:
        return ()
    filters = [MovementFilter(account_id, label=label) for label in labels]
    if external_reference:
        for label in (None, *labels):
            filters += [MovementFilter(of, external_reference, label) for of in ("", account_id)]
    return tuple(map(term, filters))
