"""The layer itself: it sees what a process does to its files, keeps what was synced and nothing that it need not."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from random import Random

from tests.disk.journal import Disk, read
from tests.disk.layer import Layer

PRELUDE = """
import os, sys
root = sys.argv[1]
def sync(path):
    number = os.open(path, os.O_RDONLY)
    os.fsync(number)
    os.close(number)
def write(name, data, at=0):
    number = os.open(f"{root}/{name}", os.O_RDWR | os.O_CREAT)
    os.pwrite(number, data, at)
    os.close(number)
"""


def run(layer: Layer, program: str) -> str:
    """What the program printed; it runs on the layer."""
    command = [sys.executable, "-c", PRELUDE + program, str(layer.root)]
    done = subprocess.run(command, env=layer.environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def left(layer: Layer, directory: Path, cuts: int = 60) -> list[dict[str, bytes]]:
    """The files that losses of power at the end of it all may leave, by name: what chance has made of each."""
    found = []
    for seed in range(cuts):
        disk = Disk(layer.root, Random(seed))
        for record in read(layer.journal):
            disk.apply(record)
        place = directory / f"cut-{seed}"
        disk.cut(place)
        found.append({path.name: path.read_bytes() for path in place.iterdir()})
    return found


def test_a_file_synced_with_its_entry_survives(layer: Layer, tmp_path: Path) -> None:
    run(layer, """write("a", b"one"); sync(f"{root}/a"); sync(root)""")
    assert all(files == {"a": b"one"} for files in left(layer, tmp_path))


def test_a_file_whose_entry_was_not_synced_may_be_gone(layer: Layer, tmp_path: Path) -> None:
    run(layer, """write("a", b"one"); sync(f"{root}/a")""")
    found = left(layer, tmp_path)
    assert {} in found
    assert {"a": b"one"} in found


def test_any_sector_that_was_not_synced_may_be_there(layer: Layer, tmp_path: Path) -> None:
    run(layer, """write("a", b"-" * 1024); sync(f"{root}/a"); sync(root); write("a", b"1" * 512 + b"2" * 512)""")
    assert {files["a"][::512] for files in left(layer, tmp_path)} == {b"--", b"1-", b"-2", b"12"}


def test_a_sync_does_not_cover_later_writes(layer: Layer, tmp_path: Path) -> None:
    run(layer, """write("a", b"one"); sync(f"{root}/a"); sync(root); write("a", b"two")""")
    assert {files["a"] for files in left(layer, tmp_path)} == {b"one", b"two"}


def test_a_rename_is_whole_and_not_its_content(layer: Layer, tmp_path: Path) -> None:
    run(layer, """
write("a", b"old"); sync(f"{root}/a"); sync(root)
write("b", b"new"); os.rename(f"{root}/b", f"{root}/a")
""")  # fmt: skip
    found = left(layer, tmp_path)
    assert {"a": b"old"} in found
    assert {"a": b"new"} in found
    assert {"a": b""} in found
    assert all(b"old" in files.values() or "b" not in files for files in found)


def test_a_removal_may_be_undone(layer: Layer, tmp_path: Path) -> None:
    run(layer, """write("a", b"one"); sync(f"{root}/a"); sync(root); os.unlink(f"{root}/a")""")
    found = left(layer, tmp_path)
    assert {} in found
    assert {"a": b"one"} in found


def test_a_file_may_have_any_of_the_sizes_it_had(layer: Layer, tmp_path: Path) -> None:
    run(
        layer,
        """write("a", b"x" * 9); sync(f"{root}/a"); sync(root);
number = os.open(f"{root}/a", os.O_RDWR); os.ftruncate(number, 4); os.pwrite(number, b"y", 600)""",
    )
    assert {len(files["a"]) for files in left(layer, tmp_path)} == {4, 9, 601}


def test_earlier_files_survive(layer: Layer, tmp_path: Path) -> None:
    (tmp_path / "before" / "data").mkdir(parents=True)
    (tmp_path / "before" / "a").write_bytes(b"one")
    (tmp_path / "before" / "data" / "b").write_bytes(b"two")
    layer.put(tmp_path / "before")
    run(layer, """write("data/b", b"TWO"); sync(f"{root}/data/b")""")
    disk = Disk(layer.root, Random(7))
    for record in read(layer.journal):
        disk.apply(record)
    disk.cut(tmp_path / "after")
    assert (tmp_path / "after" / "a").read_bytes() == b"one"
    assert (tmp_path / "after" / "data" / "b").read_bytes() == b"TWO"


def test_a_later_sync_does_not_repair_a_failed_one(layer: Layer, tmp_path: Path) -> None:
    run(layer, """write("a", b"one"); sync(f"{root}/a"); sync(root)""")
    with layer.failing("s", errno.EIO, "a", times=1):
        said = run(
            layer,
            """
write("a", b"two")
try:
    sync(f"{root}/a")
except OSError as error:
    print(error.errno)
sync(f"{root}/a")
""",
        )
    assert said == str(errno.EIO)
    assert {files["a"] for files in left(layer, tmp_path)} == {b"one", b"two"}


def test_operations_fail_as_configured(layer: Layer) -> None:
    attempt = """
def attempt(do):
    try:
        return do()
    except OSError as error:
        return os.strerror(error.errno)
write("a", bytes(1000))
number = os.open(f"{root}/a", os.O_RDWR)
"""
    with layer.failing("hw", errno.ENOSPC, "a", after=2, times=2):
        said = run(layer, attempt + "print([attempt(lambda: os.pwrite(number, bytes(1000), 0)) for _ in range(4)])")
    assert said == "[1000, 500, 'No space left on device', 1000]"
    with layer.failing("r", errno.EIO, "a"):
        assert run(layer, attempt + "print(attempt(lambda: os.pread(number, 1, 0)))") == "Input/output error"
    with layer.failing("c", errno.ENOSPC, "b"):
        assert run(layer, attempt + "print(attempt(lambda: write('b', b'')))") == "No space left on device"
    assert run(layer, attempt + "print(attempt(lambda: os.pread(number, 1, 0)))") == "b'\\x00'"
