"""All rows, each under a word that chooses it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.eventstoredb import deposits, long_account, reading, watches
from benchmarks.measure import Measure

ROWS: dict[str, Callable[[Path, int, float], Sequence[Measure]]] = {
    "reading": reading.rows,
    "deposits": deposits.beside_embedded,
    "long": long_account.rows,
    "cold": deposits.cold,
    "watches": watches.rows,
    "embedded-watches": watches.embedded,
}


def rows(scratch: Path, rounds: int, seconds: float, only: Sequence[str] = ()) -> list[Measure]:
    found: list[Measure] = []
    for word, make in ROWS.items():
        if not only or word in only:
            # Each deletes its log, which may be half a gigabyte.
            with tempfile.TemporaryDirectory(dir=scratch) as directory:
                found += make(Path(directory), rounds, seconds)
    return found
