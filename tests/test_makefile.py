"""`make` on machines that are not as ours: it says what is missing, and leaves nothing behind that is in the way."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OLD = """#!/bin/sh
# A Python that says it is another.
[ "$1" = -c ] && exec {python} -c "import sys; sys.version_info = {version}; $2"
echo "old Python runs $*" >> {calls}
"""
VENV_LESS = """#!/bin/sh
[ "$1" = -c ] && exec {python} "$@"
mkdir -p .venv/bin && ln -sf {python} .venv/bin/python
echo 'ensurepip is not available' >&2
exit 1
"""


class Clone:
    """The Makefile in a directory of its own, with the `python3` that a test chooses."""

    def __init__(self, directory: Path) -> None:
        self.venv = directory / ".venv"
        self.calls = directory / "calls"
        self._directory = directory
        self._programs = directory / "bin"
        self._programs.mkdir()
        for name in ("Makefile", "pyproject.toml", "openbank-client/pyproject.toml", "constraints.txt"):
            (directory / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, directory / name)

    def has(self, script: str, **values: object) -> None:
        program = self._programs / "python3"
        program.write_text(script.format(python=sys.executable, calls=self.calls, **values))
        program.chmod(0o755)

    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PATH": f"{self._programs}{os.pathsep}{os.environ['PATH']}"}
        # The arguments of the `make test` that runs this test are not for it.
        ours = ("MAKE", "ARGS")
        environment = {name: value for name, value in environment.items() if not name.startswith(ours)}
        command = ["make", "--no-print-directory", *arguments]
        return subprocess.run(command, cwd=self._directory, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path)


@pytest.mark.parametrize("version", [(3, 9, 2), (3, 10, 14), (2, 7, 18)])
@pytest.mark.parametrize("target", ["run", "test", "dev"])
def test_a_python_that_is_too_old_is_named_and_nothing_is_made(
    clone: Clone, target: str, version: tuple[int, int, int]
) -> None:
    clone.has(OLD, version=version)
    done = clone.make(target)
    assert done.returncode != 0
    said = done.stderr.splitlines()[0]
    assert said.startswith("OpenBank needs Python 3.11 or newer, and python3 is {}.{}.{}.".format(*version))
    assert not clone.venv.exists()
    assert not clone.calls.exists()


def test_one_that_is_not_there_is_named(clone: Clone) -> None:
    done = clone.make("run", "PYTHON=python9.9")
    assert done.returncode != 0
    assert done.stderr.startswith("OpenBank needs Python 3.11 or newer, and python9.9 is not there.\n")


def test_a_python_without_venv_is_reported_and_leaves_no_broken_venv(clone: Clone) -> None:
    clone.has(VENV_LESS)
    done = clone.make("run")
    assert done.returncode != 0
    assert "apt install python3-venv" in done.stderr
    assert not clone.venv.exists()


@pytest.mark.parametrize("left", ["of an old Python", "of a Python that is gone", "without pip"])
def test_a_venv_that_cannot_be_used_is_made_again(clone: Clone, left: str) -> None:
    programs = clone.venv / "bin"
    programs.mkdir(parents=True)
    (clone.venv / ".runtime").touch()
    python = programs / "python"
    if left == "of an old Python":
        python.write_text(OLD.format(python=sys.executable, calls=clone.calls, version=(3, 9, 2)))
        python.chmod(0o755)
    elif left == "of a Python that is gone":
        python.symlink_to("/nowhere/python3.9")
    else:
        python.write_text(f"#!/bin/sh\nexec {sys.executable} -S -I -c 'import sys; sys.exit(1)'\n")
        python.chmod(0o755)
    plan = clone.make("--dry-run", "run", f"PYTHON={sys.executable}")
    assert f"{sys.executable} -m venv .venv" in plan.stdout
    assert plan.stdout.index("-m venv") < plan.stdout.index("Installing into .venv, about half a minute")
    assert plan.stdout.index("Installing") < plan.stdout.index("openbank serve")


def test_a_usable_venv_is_used(clone: Clone) -> None:
    programs = clone.venv / "bin"
    programs.mkdir(parents=True)
    # Not a link: from another place Python would look for pip where Debian's own has none.
    (programs / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "python").chmod(0o755)
    for name in (".runtime", ".dev"):
        (clone.venv / name).touch()
    assert clone.make("--dry-run", "run").stdout.strip() == ".venv/bin/openbank serve"
    assert "about 10 minutes" in clone.make("--dry-run", "test").stdout


def test_the_hooks_before_a_commit_are_checks_of_make_check() -> None:
    hooks = re.findall(r"entry: \.venv/bin/(.+)", (ROOT / ".pre-commit-config.yaml").read_text())
    assert len(hooks) == 4
    checks = (ROOT / "Makefile").read_text().partition("\ncheck: ")[2].partition("\n\n")[0]
    for hook in hooks:
        program, command = hook.split()[:2]
        assert f"$(BIN)/{program} {command}" in checks


def test_the_quick_tests_are_there() -> None:
    lines = re.search(r"^QUICK := ((?:.*\\\n)*.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert lines
    paths = lines[1].replace("\\", "").split()
    assert "tests/domain" in paths
    assert all((ROOT / path).exists() for path in paths)
