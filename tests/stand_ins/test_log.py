"""Walks at random over the log, against what must hold whatever was done."""

import tempfile
import uuid
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stand_ins.eventstoredb.log import (
    ANY,
    DELETED,
    NO_STREAM,
    STREAM_EXISTS,
    Log,
    NotCommitted,
    Proposed,
    Record,
    StreamDeleted,
    StreamNotFound,
    WrongExpectedVersion,
)
from tests.stand_ins.eventstoredb.store import SQLiteStore

NAMES = ["a", "b", "$$a", "$$b", "$c"]
IDS = [str(uuid.UUID(int=number)) for number in range(1, 30)]
METADATA = [b"{}", b'{"$maxCount":2}', b'{"$tb":3}', b'{"$tb":%d}' % DELETED, b"no json", b'{"$maxCount":1,"x":[1]}']

names = st.sampled_from(NAMES)
versions = st.sampled_from([ANY, ANY, NO_STREAM, STREAM_EXISTS, 0, 1, 2, 3, 5])
appends = st.tuples(
    st.just("append"), names, versions, st.lists(st.sampled_from(IDS), max_size=3), st.sampled_from(METADATA)
)
removals = st.tuples(st.sampled_from(["delete", "tombstone"]), st.sampled_from(["a", "b", "$$a"]), versions)
walks = st.lists(st.one_of(appends, appends, appends, removals), max_size=40)
Step = tuple[str, str, int] | tuple[str, str, int, list[str], bytes]


def take(log: Log, step: Step) -> None:
    """One step; what it must leave alone is left alone."""
    before = list(log.records)
    if step[0] == "tombstone" and len(log.records) % 3:
        return  # or soon nothing is left to walk on
    try:
        if len(step) == 5:
            append(log, *step[1:])
        elif step[0] == "delete":
            log.delete(*step[1:])
        else:
            log.tombstone(*step[1:])
    except (WrongExpectedVersion, StreamDeleted):
        assert log.records == before
    assert log.records[: len(before)] == before


def append(log: Log, name: str, expected: int, ids: list[str], data: bytes) -> None:
    events = [Proposed(event_id, "T", True, data, b"") for event_id in ids]
    appended = log.append(name, expected, events)
    if expected >= NO_STREAM and ids:
        assert appended.revision == expected + len(ids) or log.streams[name].limits.truncate_before
        count = len(log.records)
        if appended.revision == expected + len(ids):
            assert log.append(name, expected, events).revision == appended.revision, "a repeat is always recognised"
            assert len(log.records) == count


def readable(log: Log, name: str) -> list[Record] | str:
    try:
        return list(log.read_stream(name, None, 1000, backwards=False))
    except (StreamNotFound, StreamDeleted) as refusal:
        return type(refusal).__name__


def check(log: Log) -> None:
    positions = [record.position for record in log.records]
    assert positions == sorted(set(positions))
    assert (
        list(log.read_all(None, backwards=True)) == log.records[::-1] == list(log.read_all(None, backwards=False))[::-1]
    )
    for index, position in enumerate(positions):
        assert log.index_of(position) == index
    for name, stream in log.streams.items():
        assert [record.number for record in stream.records] == list(range(len(stream.records)))
        found = readable(log, name)
        if isinstance(found, str):
            continue
        assert found == stream.records[len(stream.records) - len(found) :]
        assert list(log.read_stream(name, None, 1000, backwards=True)) == found[::-1]
        for start in range(len(stream.records) + 2):
            assert list(log.read_stream(name, start, 2, backwards=False)) == [r for r in found if r.number >= start][:2]
            assert (
                list(log.read_stream(name, start, 2, backwards=True))
                == [r for r in found[::-1] if r.number <= start][:2]
            )


@settings(max_examples=150, deadline=None)
@given(walks)
def test_a_walk_leaves_the_log_consistent(steps: list[Step]) -> None:
    log = Log()
    for step in steps:
        take(log, step)
    check(log)


@settings(max_examples=25, deadline=None)
@given(walks)
def test_a_log_is_the_same_after_a_restart(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = SQLiteStore(Path(directory) / "log.db")
        log = Log(store)
        for step in steps:
            take(log, step)
        store.close()
        reopened = SQLiteStore(Path(directory) / "log.db")
        again = Log(reopened)
        reopened.close()
        assert again.records == log.records
        assert again.head == log.head
        check(again)
        for name in log.streams:
            assert readable(again, name) == readable(log, name)


def test_a_repeat_is_known_only_once_the_first_is_committed_and_gone_with_it() -> None:
    log = Log()
    first, second = ([Proposed(event_id, "", False, b"", b"")] for event_id in IDS[:2])
    log.append("a", NO_STREAM, first)
    log.append("a", 0, second, committing=False)
    for expected in (0, ANY):
        with pytest.raises(NotCommitted):
            log.append("a", expected, second)
    records = log.records[:-1]
    log.drop_uncommitted()
    assert (log.records, log.head) == (records, log.committed)
    assert log.append("a", 0, second).revision == 1
    assert log.append("a", 0, second).position is not None
