"""The file that remembers how far a feed was printed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from openbank.cli.errors import CommandFailed
from openbank.cli.tail.resume_file import ResumeFile

OWNERS = {"owner_ids": ["ann"]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "place"


def resume_file(path: Path, feed: str = "accounts", filter: dict[str, list[str]] = OWNERS) -> ResumeFile:
    return ResumeFile(path, "127.0.0.1:50051", feed, filter)


def test_there_need_not_be_one_yet(path: Path) -> None:
    assert resume_file(path).token() is None


def test_it_has_the_last_token_that_was_kept_and_says_of_what(path: Path) -> None:
    file = resume_file(path)
    file.keep("t1")
    file.keep("t2")
    assert resume_file(path).token() == "t2"
    assert json.loads(path.read_text()) == {
        "kept_by": "openbank tail",
        "target": "127.0.0.1:50051",
        "feed": "accounts",
        "filter": OWNERS,
        "resume_token": "t2",
    }
    assert os.listdir(path.parent) == ["place"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"kept_by": "openbank tail", "resume_token": ""}', "\x00"])
def test_one_that_is_damaged_is_refused_and_left_alone(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(CommandFailed, match=r"place is not, or no longer, a resume file"):
        resume_file(path).token()
    assert path.read_text() == text


def test_bytes_that_are_no_text_are_refused(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(CommandFailed, match="cannot read"):
        resume_file(path).token()


@pytest.mark.parametrize(
    ("feed", "filter"), [("persons", OWNERS), ("accounts", {}), ("accounts", {"owner_ids": ["b"]})]
)
def test_one_of_another_feed_or_filter_is_refused(path: Path, feed: str, filter: dict[str, list[str]]) -> None:
    resume_file(path).keep("t1")
    with pytest.raises(CommandFailed, match="another feed or filter"):
        resume_file(path, feed, filter).token()


def test_a_disk_that_is_full_leaves_the_old_token(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = resume_file(path)
    file.keep("t1")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CommandFailed, match="No space left on device"):
            file.keep("t2")
    assert resume_file(path).token() == "t1"
    assert os.listdir(path.parent) == ["place"]


def test_a_directory_that_is_not_there_is_said(path: Path) -> None:
    with pytest.raises(CommandFailed, match="cannot keep the place"):
        resume_file(path / "nowhere").keep("t1")


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    resume_file(path).keep("t1")
    link.symlink_to(path)
    resume_file(link).keep("t2")
    assert link.is_symlink()
    assert resume_file(path).token() == "t2"
