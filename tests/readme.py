"""The README and the pages that continue it: commands to paste, and what they print."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

README = Path(__file__).parents[1] / "README.md"
TOUR = Path(__file__).parents[1] / "docs/tour.md"
TRANSFERS = Path(__file__).parents[1] / "docs/transfers.md"
BATCHES = Path(__file__).parents[1] / "docs/batches.md"
HOLDS = Path(__file__).parents[1] / "docs/holds.md"
STATEMENTS = Path(__file__).parents[1] / "docs/statements.md"
REVERSALS = Path(__file__).parents[1] / "docs/reversals.md"
INTEGRATION_EVENTS = Path(__file__).parents[1] / "docs/integration-events.md"
ADDRESS = "127.0.0.1:50051"
INSTANCES = ("127.0.0.1:50061", "127.0.0.1:50062")
"""The instances of the bank on servers."""

_FENCED = re.compile(r"^```(\w+)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
_CHANGING = re.compile(
    r'("(?:\w+_token|id|event_id|request_id|(?:\w+_)?transfer_id|correlation_id|correlationid)": '
    r'(?:{\s*"ce_string": )?)"[^"]*"'
)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


class Example(NamedTuple):
    """A block of one language, and the block of output right after it."""

    language: str
    source: str
    output: str


def blocks(file: Path) -> list[tuple[str, str]]:
    """The language and the text of each."""
    return [(match[1], match[2]) for match in _FENCED.finditer(file.read_text())]


def examples(file: Path) -> list[Example]:
    found = blocks(file)
    following = [*found[1:], ("", "")]
    return [
        Example(language, source, output)
        for (language, source), (kind, output) in zip(found, following, strict=True)
        if kind == "text" and language != "text"
    ]


def comparable(output: str) -> str:
    """Without what differs at each run: ids of events and requests, times and tokens; white space does not count."""
    return " ".join(_TIME.sub("...", _CHANGING.sub(r'\1"..."', output)).split())
