"""Adds the golden files of types that have none yet: `python -m tests.publishing.golden`. None is ever made again."""

from __future__ import annotations

import json

from openbank.publishing.cloudevent import to_json, to_protobuf
from openbank.publishing.events import cloud_event
from tests.publishing.golden import TYPES, json_of, protobuf_of, recorded

for type in TYPES:
    event = cloud_event(recorded(type))
    if event and not json_of(type).exists():
        json_of(type).write_text(json.dumps(to_json(event), ensure_ascii=False, indent=2) + "\n")
        protobuf_of(type).write_bytes(to_protobuf(event).SerializeToString(deterministic=True))
        print(f"added: {type}")
