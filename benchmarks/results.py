"""The last result of every row, kept in results.json: some rows take an hour and are measured on their own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from benchmarks.measure import Measure, Row
from benchmarks.servers import ROOT

FILE = ROOT / "benchmarks" / "results.json"


def read(rows: Iterable[Row]) -> list[Measure]:
    """The last results of these rows; without values where there are none."""
    kept = _read()
    return [_measure(row, kept.get(row.name)) for row in rows]


def keep(measures: Iterable[Measure]) -> None:
    """Puts these in the place of the earlier results of the same rows."""
    kept = {**_read(), **{measure.row.name: _values(measure) for measure in measures}}
    FILE.write_text(json.dumps(kept, indent=1) + "\n")


def _read() -> dict[str, Mapping[str, object]]:
    return dict(json.loads(FILE.read_text())) if FILE.exists() else {}


def _values(measure: Measure) -> Mapping[str, object]:
    return {"values": list(measure.values), "note": measure.note, "day": measure.day}


def _measure(row: Row, kept: Mapping[str, object] | None) -> Measure:
    if kept is None:
        return Measure(row, [], "not measured yet", "")
    values = kept["values"]
    assert isinstance(values, Sequence)
    return Measure(row, values, str(kept["note"]), str(kept["day"]))
