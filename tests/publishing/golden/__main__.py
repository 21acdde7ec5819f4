"""Adds the golden files of types that have none yet: `python -m tests.publishing.golden`. None is ever made again."""

from __future__ import annotations

import json

from openbank.publishing.cloudevent import to_json, to_protobuf
from tests.publishing.golden import TYPES, json_of, protobuf_of, published

for type in TYPES:
    event = published(type)
    if not json_of(type).exists():
        json_of(type).write_text(json.dumps(to_json(event), ensure_ascii=False, indent=2) + "\n")
        protobuf_of(type).write_bytes(to_protobuf(event).SerializeToString(deterministic=True))
        print(f"added: {type}")
