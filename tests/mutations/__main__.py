"""python -m tests.mutations: breaks the bank on purpose, one way at a time in a copy of it, and runs the tests that
must notice. Fails where one does not, or where a way to break it does not fit the code any more."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.mutations.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "data", "dist", "docs")
CACHE = ".cache"
"""What tests build once, such as FerretDB."""
SECONDS_MAX = 60
"""For one test: a test that would hang fails after this time."""
NOTICED = 1
"""pytest's exit code when tests have failed, as opposed to when none could be run."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutations", description=__doc__)
    parser.add_argument("only", nargs="*", help="words of the mutations to try (default: all)")
    parser.add_argument(
        "--unbroken", action="store_true", help="the tests are known to pass as long as nothing is broken"
    )
    arguments = parser.parse_args()
    chosen = [mutation for mutation in MUTATIONS if all(word in mutation.breaks for word in arguments.only)]
    with tempfile.TemporaryDirectory(prefix="openbank-mutations-") as directory:
        copy = Path(directory) / "openbank"
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
        (ROOT / CACHE).mkdir(exist_ok=True)
        (copy / CACHE).symlink_to(ROOT / CACHE)
        if not arguments.unbroken and not _passes_unbroken(copy, chosen):
            return 1
        survived = [mutation for mutation in chosen if not _is_noticed(copy, mutation)]
    print(f"{len(chosen) - len(survived)} of {len(chosen)} were noticed", flush=True)
    return 1 if survived else 0


def places(mutation: Mutation, root: Path) -> int:
    """How often what is to be changed stands in the code: once, where the mutation fits it."""
    file = root / mutation.file
    return file.read_text().count(mutation.old) if file.exists() else 0


def _passes_unbroken(copy: Path, chosen: Sequence[Mutation]) -> bool:
    """Else a failure would tell nothing."""
    tests = sorted({test for mutation in chosen for test in mutation.tests.split()})
    done = _run(copy, tests)
    if done.returncode:
        print(f"before anything is broken:\n{done.stdout[-3000:]}{done.stderr[-1000:]}", flush=True)
    return done.returncode == 0


def _is_noticed(copy: Path, mutation: Mutation) -> bool:
    count = places(mutation, copy)
    if count != 1:
        print(f"DOES NOT FIT  {mutation.breaks}: its text stands {count} times in {mutation.file}", flush=True)
        return False
    file = copy / mutation.file
    whole = file.read_text()
    began = time.monotonic()
    file.write_text(whole.replace(mutation.old, mutation.new))
    try:
        done = _run(copy, ["--exitfirst", *mutation.tests.split()])
    finally:
        file.write_text(whole)
    seconds = time.monotonic() - began
    by = re.search(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", done.stdout, re.MULTILINE)
    if done.returncode == NOTICED and by:
        print(f"noticed       {mutation.breaks}\n              by {by[1]}, {seconds:.0f} s", flush=True)
        return True
    what = "SURVIVED" if done.returncode == 0 else f"EXIT CODE {done.returncode}"
    print(f"{what:13} {mutation.breaks}: {mutation.tests}, {seconds:.0f} s", flush=True)
    return False


def _run(copy: Path, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """The copy's tests on the copy: both halves of the namespace are found there first."""
    paths = f"{copy}:{copy / 'generated'}"
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-rfE", "--tb=no", "-p", "no:cacheprovider"]
    command += ["--timeout", str(SECONDS_MAX), *arguments]
    return subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())
