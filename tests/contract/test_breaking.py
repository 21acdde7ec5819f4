"""`buf breaking` holds the protos against the released contract, without a network."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUF = Path(sys.executable).with_name("buf")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    return tmp_path


def breaking(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [str(BUF), "breaking", "--against", "protos/released.binpb"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_the_protos_as_they_are_break_nothing(scratch: Path) -> None:
    assert breaking(scratch).stdout == ""
    assert breaking(scratch).returncode == 0


def test_a_removed_field_is_a_break(scratch: Path) -> None:
    edit(scratch / "protos/openbank/persons/v1/person.proto", "  string email = 8;\n", "")
    result = breaking(scratch)
    assert result.returncode != 0
    assert '"email"' in result.stdout


def test_a_removed_field_of_stored_bytes_is_a_break(scratch: Path) -> None:
    edit(scratch / "protos/openbank/storage/v1/request.proto", "  bytes request_hash = 2;\n", "")
    assert breaking(scratch).returncode != 0


def test_an_added_field_is_not_a_break(scratch: Path) -> None:
    edit(
        scratch / "protos/openbank/persons/v1/person.proto",
        "  string email = 8;\n",
        "  string email = 8;\n\n  // Phone number.\n  string phone = 12;\n",
    )
    assert breaking(scratch).returncode == 0
