"""This version reads what every earlier one stored; `corpus/__main__.py` says how to add an example."""

from __future__ import annotations

import base64
import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from openbank.codec import events as codec
from openbank.eventstore.errors import WrongExpectedRevision
from openbank.eventstore.sqlite import FILE, SqliteEventStore
from openbank.eventstore.streams import split
from tests.eventstore.conformance import some_events, whole_log
from tests.eventstore.corpus import EVENTS, STORE, STORE_LOG, lines, said_by

FROZEN_LINES = 48
FROZEN = "8fa13a5d1cfb9e57965a35069ea5d84e540e81cba9bf0c4fc76c06d6037fbd6d"
"""SHA-256 of the first lines: they never change. Raise both when lines were added."""


@pytest.mark.parametrize("line", lines(), ids=lambda line: line["name"])
@pytest.mark.parametrize("form", ["binary", "json"])
def test_the_meaning_of_stored_bytes_never_changes(line: dict[str, Any], form: str) -> None:
    data = base64.b64decode(line["data"])
    if form == "json":
        data = codec.from_json(line["type"], line["json"].encode())
    event = codec.decode(line["type"], data, split(line["stream"])[1])
    assert_says(said_by(event), line["event"])


def assert_says(now: Any, then: Any) -> None:
    """All that was said then, by the same names; what a later version says beside it is its own."""
    if isinstance(then, dict):
        for name, value in then.items():
            assert_says(now[name], value)
    elif isinstance(then, list):
        assert len(now) == len(then)
        for part, value in zip(now, then, strict=True):
            assert_says(part, value)
    else:
        assert now == then


def test_every_stored_type_has_an_example() -> None:
    assert {line["type"] for line in lines()} >= set(codec.TYPES)


def test_every_example_has_a_type_that_is_still_known() -> None:
    assert {line["type"] for line in lines()} <= set(codec.TYPES)


def test_examples_are_added_and_never_changed() -> None:
    first = EVENTS.read_bytes().splitlines(keepends=True)[:FROZEN_LINES]
    assert hashlib.sha256(b"".join(first)).hexdigest() == FROZEN


async def test_a_store_of_format_1_is_read_and_written(tmp_path: Path) -> None:
    shutil.copy(STORE, tmp_path / FILE)
    bank_id, store_id, *events = STORE_LOG.read_text().splitlines()
    store = SqliteEventStore(tmp_path)
    assert (store.bank_id, store.store_id) == (bank_id, store_id)
    log = await whole_log(store)
    # Written before events had actors.
    assert [repr(event).replace(", actor=''", "") for event in log] == events
    for event in log:
        codec.decode(event.type, event.data, split(event.stream)[1])

    with_request = next(event for event in log if event.metadata.request_id)
    assert await store.find_requests(with_request.stream, [with_request.metadata.request_id]) == [with_request]
    last = (await store.read_stream("account-a-1"))[-1]
    with pytest.raises(WrongExpectedRevision):
        await store.append("account-a-1", last.revision - 1, some_events())
    await store.append("account-a-1", last.revision, some_events())
    await store.append("account-new", 0, some_events())
    await store.close()

    again = SqliteEventStore(tmp_path)
    again_read = (await whole_log(again))[: len(events)]
    assert [repr(event).replace(", actor=''", "") for event in again_read] == events
    assert (await again.head()).stream == "account-new"
    await again.close()
