"""What counts as delivered, on real pipes and files."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from openbank.cli.tail import delivery
from openbank.cli.tail.delivery import TailPrinter

LOOK_SECONDS = 0.3
PATIENCE_SECONDS = 20


class Pipe:
    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self.stop = threading.Event()
        self.kept: list[str] = []

    def print(self, to: TailPrinter, data: bytes, token: str) -> None:
        os.write(self.writing, data)
        to.printed(len(data), token)

    def until_kept(self, token: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while token not in self.kept:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipe]:
    monkeypatch.setattr(delivery, "LOOK_SECONDS", LOOK_SECONDS)
    pipe = Pipe()
    yield pipe
    os.close(pipe.writing)


def test_bytes_that_were_read_are_delivered_and_those_in_the_pipe_are_not(pipe: Pipe) -> None:
    with TailPrinter(pipe.writing, pipe.kept.append, pipe.stop) as printing:
        pipe.print(printing, b"abc", "t1")
        pipe.print(printing, b"de", "t2")
        pipe.print(printing, b"", "t3")
        assert os.read(pipe.reading, 4) == b"abcd"
        pipe.until_kept("t1")
        time.sleep(3 * LOOK_SECONDS)
        os.close(pipe.reading)
    assert pipe.kept == ["t1"]
    assert pipe.stop.is_set()


def test_bytes_count_as_undelivered_if_their_reader_ends_at_once(pipe: Pipe) -> None:
    with TailPrinter(pipe.writing, pipe.kept.append, pipe.stop) as printing:
        pipe.print(printing, b"abc", "t1")
        assert os.read(pipe.reading, 3) == b"abc"
        # After the first look, before the second.
        time.sleep(1.5 * LOOK_SECONDS)
        os.close(pipe.reading)
    assert pipe.kept == []


def test_the_end_waits_for_the_reader(pipe: Pipe) -> None:
    def read_late() -> None:
        time.sleep(3 * LOOK_SECONDS)
        os.read(pipe.reading, 3)

    reader = threading.Thread(target=read_late)
    with TailPrinter(pipe.writing, pipe.kept.append, pipe.stop) as printing:
        pipe.print(printing, b"abc", "t1")
        reader.start()
    assert pipe.kept == ["t1"]
    reader.join()
    os.close(pipe.reading)


def test_without_a_file_the_tail_does_not_wait_for_its_reader(pipe: Pipe) -> None:
    with TailPrinter(pipe.writing, None, pipe.stop) as printing:
        pipe.print(printing, b"abc", "t1")
    os.close(pipe.reading)
    assert pipe.stop.wait(PATIENCE_SECONDS)


def test_bytes_in_a_file_are_delivered(pipe: Pipe, tmp_path: Path) -> None:
    os.close(pipe.reading)
    with (tmp_path / "file").open("wb") as file, TailPrinter(file.fileno(), pipe.kept.append, pipe.stop) as printing:
        file.write(b"abc")
        file.flush()
        printing.printed(3, "t1")
    assert pipe.kept == ["t1"]


def test_a_place_that_cannot_be_kept_ends_it(pipe: Pipe, tmp_path: Path) -> None:
    def full(_: str) -> None:
        raise OSError("No space left on device")

    def prints() -> None:
        with (tmp_path / "file").open("wb") as file, TailPrinter(file.fileno(), full, pipe.stop) as printing:
            printing.printed(0, "t1")
            assert pipe.stop.wait(PATIENCE_SECONDS)

    os.close(pipe.reading)
    with pytest.raises(OSError, match="No space left"):
        prints()
