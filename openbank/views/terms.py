"""Terms by which movements are found: one for each filter that a movement passes.

A list with any combination of filters is therefore one range of one index, however many movements pass only some of
them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b

from openbank.domain.tags import NO_TAGS, Tags
from openbank.views.port import MovementFilter

TERM_BYTES = 16


def term(filter: MovementFilter) -> bytes:
    """What the list of the movements that pass this filter is kept under."""
    return _term(*map(json.dumps, filter))


def terms(account_id: str, tags: Tags) -> Sequence[bytes]:
    """The terms of a movement. Its account alone needs none: account and position find it."""
    if tags is NO_TAGS:
        return ()
    every, account, reference = map(json.dumps, ("", account_id, tags.external_reference))
    labels = list(map(json.dumps, tags.labels))
    found = [_term(account, every, label) for label in labels]
    if tags.external_reference:
        found += [_term(of, reference, label) for label in ("null", *labels) for of in (every, account)]
    return found


def count(tags: Tags) -> int:
    """How many terms a movement has."""
    labels = len(tags.labels)
    return 2 + 3 * labels if tags.external_reference else labels


def _term(account: str, reference: str, label: str) -> bytes:
    """Each as JSON."""
    return blake2b(f"[{account}, {reference}, {label}]".encode(), digest_size=TERM_BYTES).digest()
