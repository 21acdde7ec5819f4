"""References and labels, which requests and resources have under the same names."""

from __future__ import annotations

from typing import Any

from openbank.domain.fields import EXTERNAL_REFERENCE_LENGTH_MAX, Fields
from openbank.domain.tags import NO_TAGS, Tags


def read_tags(fields: Fields, message: Any) -> Tags:
    if not (message.external_reference or message.labels):
        return NO_TAGS
    return Tags(
        fields.text("external_reference", message.external_reference, EXTERNAL_REFERENCE_LENGTH_MAX),
        fields.labels("labels", [(label.key, label.value) for label in message.labels]),
    )


def fill_tags(message: Any, tags: Tags) -> None:
    message.external_reference = tags.external_reference
    for key, value in tags.labels:
        message.labels.add(key=key, value=value)
