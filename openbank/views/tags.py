"""References and labels of transfers and holds, as views keep them: in one text, since nobody looks for them there."""

from __future__ import annotations

import json

from openbank.domain.tags import NO_TAGS, Label, Tags


def tags_text(tags: Tags) -> str:
    """Empty for none."""
    if tags == NO_TAGS:
        return ""
    return json.dumps([tags.external_reference, *tags.labels], ensure_ascii=False)


def tags_of(text: str) -> Tags:
    """The inverse of `tags_text`."""
    if not text:
        return NO_TAGS
    external_reference, *labels = json.loads(text)
    return Tags(external_reference, tuple(Label(*label) for label in labels))
