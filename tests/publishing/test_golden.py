"""What a type is published as never changes; a change is a new version."""

from __future__ import annotations

import json

import pytest

from openbank.integration.v1.cloud_event_pb2 import CloudEvent as CloudEventMessage
from openbank.publishing import cloudevent
from tests.publishing.golden import TYPES, json_of, protobuf_of, published


@pytest.mark.parametrize("type", TYPES)
def test_its_json_is_the_golden_file(type: str) -> None:
    golden = json.loads(json_of(type).read_text())
    assert cloudevent.to_json(published(type)) == golden
    assert golden["type"] == type


@pytest.mark.parametrize("type", TYPES)
def test_its_protobuf_is_the_golden_file_byte_for_byte(type: str) -> None:
    golden = protobuf_of(type).read_bytes()
    assert cloudevent.to_protobuf(published(type)).SerializeToString(deterministic=True) == golden
    assert CloudEventMessage.FromString(golden).type == type


def test_every_golden_file_is_of_a_type_that_is_still_published() -> None:
    """An old version continues beside the new one."""
    for suffix in (".json", ".binpb"):
        assert {path.name.removesuffix(suffix) for path in json_of("x").parent.glob(f"*{suffix}")} == set(TYPES)
