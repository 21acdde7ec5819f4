"""What docs/integration-events.md says of the events holds for the protos, and nothing is left out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor

from openbank.publishing import cloudevent
from tests.publishing.golden import TYPES, json_of, published
from tests.readme import INTEGRATION_EVENTS

TEXT = INTEGRATION_EVENTS.read_text()


def table(first_heading: str) -> list[list[str]]:
    """The rows of the table whose first column has this heading, without the marks of code."""
    _, _, rest = TEXT.partition(f"\n| {first_heading} |")
    rows = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip().strip("`") for cell in row.strip("|").split("|")] for row in rows]


def test_every_field_of_every_event_has_a_reason_to_leave_the_bank() -> None:
    rows = table("event")
    fields = {(type, path) for type in TYPES for path in paths(published(type).data.DESCRIPTOR)}
    assert {(type, field) for type, field, _, _ in rows} == fields
    assert len(rows) == len(fields)
    assert all(personal and why for _, _, personal, why in rows)


def test_the_table_of_types_is_that_of_the_code() -> None:
    events = [published(type) for type in TYPES]
    assert [row[:3] for row in table("type")] == [
        [event.type, event.source, event.data.DESCRIPTOR.name] for event in events
    ]


def test_the_table_of_attributes_omits_only_the_obvious() -> None:
    names = cloudevent.attributes(published("money.withdrawn.v1")).keys() - {"specversion", "source", "type"}
    assert {name for name, _ in table("attribute")} == names


@pytest.mark.parametrize("shown", re.findall(r"^```json\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))
def test_the_json_that_is_shown_is_a_golden_file(shown: str) -> None:
    assert shown == json_of(json.loads(shown)["type"]).read_text()


def paths(message: Descriptor) -> Iterator[str]:
    """The fields of a message, and of the messages of this contract within it."""
    for field in message.fields:
        nested = field.message_type
        if nested is not None and nested.file.package == message.file.package:
            yield from (f"{field.name}.{path}" for path in paths(nested))
        else:
            yield field.name
