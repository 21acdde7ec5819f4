"""What docs/sinks.md says is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from openbank.sinks.http import judge
from openbank.sinks.transport import Accepted, Later, Rejected

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/sinks.md").read_text()


def table(first_heading: str) -> list[list[str]]:
    _, _, rest = TEXT.partition(f"\n| {first_heading} |")
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rest.partition("\n\n")[0].splitlines()[2:]]


@pytest.mark.parametrize(("row", "kind"), [(0, Accepted), (1, Later), (2, Later), (3, Rejected)])
def test_the_table_of_answers_is_that_of_the_code(row: int, kind: type) -> None:
    cell = table("answer")[row][0]
    statuses = [int(status) for status in re.findall(r"\b\d{3}\b", cell)]
    if kind is not Rejected:
        # Of "any other 4xx" the ends are in other rows.
        statuses += [100 * int(hundred) + rest for hundred in re.findall(r"\b(\d)xx", cell) for rest in (1, 99)]
    assert statuses
    assert {type(judge(status)) for status in statuses} == {kind}


def test_every_log_line_shown_in_the_docs_is_in_the_code() -> None:
    code = "".join(path.read_text() for path in (ROOT / "openbank").rglob("*.py"))
    for line, _ in table("line"):
        assert line.strip("`").replace("sends to crm", "%s") in code
