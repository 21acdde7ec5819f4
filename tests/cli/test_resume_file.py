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


def token(file: ResumeFile) -> str | None:
    with file:
        return file.token()


def keep(file: ResumeFile, *tokens: str) -> None:
    with file:
        for token in tokens:
            file.keep(token)


@pytest.mark.parametrize("text", [None, "", "\n"])
def test_there_need_not_be_one_yet_and_it_may_be_empty(path: Path, text: str | None) -> None:
    if text is not None:
        path.write_text(text)
    assert token(resume_file(path)) is None
    # One that was not there is not left behind without a token.
    assert path.exists() == (text is not None)


def test_two_tails_do_not_have_one_file(path: Path) -> None:
    with resume_file(path) as first:
        for kept in ("t1", "t2"):
            with pytest.raises(CommandFailed, match="another tail is keeping its place"):
                token(resume_file(path))
            first.keep(kept)
    assert token(resume_file(path)) == "t2"


@pytest.mark.parametrize("place", ["/dev/null", "/dev/full", "fifo"])
def test_anything_but_a_regular_file_is_refused_and_left_alone(path: Path, place: str) -> None:
    os.mkfifo(path)
    no_file = path if place == "fifo" else Path(place)
    with pytest.raises(CommandFailed, match="not a regular file"):
        token(resume_file(no_file))
    assert not no_file.is_file()


def test_its_permissions_stay(path: Path) -> None:
    path.touch(0o640)
    path.chmod(0o640)
    keep(resume_file(path), "t1")
    assert path.stat().st_mode & 0o777 == 0o640


def test_it_has_the_last_token_that_was_kept_and_says_of_what(path: Path) -> None:
    keep(resume_file(path), "t1", "t2")
    assert token(resume_file(path)) == "t2"
    assert json.loads(path.read_text()) == {
        "kept_by": "openbank tail",
        "target": "127.0.0.1:50051",
        "feed": "accounts",
        "filter": OWNERS,
        "resume_token": "t2",
    }
    assert os.listdir(path.parent) == ["place"]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"kept_by": "openbank tail", "resume_token": ""}', "\x00"])
def test_one_that_is_damaged_is_refused_and_left_alone(path: Path, text: str) -> None:
    path.write_text(text)
    with pytest.raises(CommandFailed, match=r"place is not, or no longer, a resume file"):
        token(resume_file(path))
    assert path.read_text() == text


def test_bytes_that_are_not_text_are_refused(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(CommandFailed, match="cannot read"):
        token(resume_file(path))


@pytest.mark.parametrize(
    ("feed", "filter"), [("persons", OWNERS), ("accounts", {}), ("accounts", {"owner_ids": ["b"]})]
)
def test_one_of_another_feed_or_filter_is_refused(path: Path, feed: str, filter: dict[str, list[str]]) -> None:
    keep(resume_file(path), "t1")
    with pytest.raises(CommandFailed, match="another feed or filter"):
        token(resume_file(path, feed, filter))


def test_a_disk_that_is_full_leaves_the_old_token(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(resume_file(path), "t1")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CommandFailed, match="No space left on device"):
            keep(resume_file(path), "t2")
    assert token(resume_file(path)) == "t1"
    assert os.listdir(path.parent) == ["place"]


def test_a_missing_directory_is_reported(path: Path) -> None:
    with pytest.raises(CommandFailed, match="cannot keep the place"):
        keep(resume_file(path / "nowhere"), "t1")


def test_a_link_stays_a_link(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    keep(resume_file(path), "t1")
    link.symlink_to(path)
    keep(resume_file(link), "t2")
    assert link.is_symlink()
    assert token(resume_file(path)) == "t2"
