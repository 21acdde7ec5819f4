"""Where an experiment keeps its files, and the long histories that several of them begin with."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import history, servers, stored


@dataclass(frozen=True, slots=True)
class Scratch:
    root: Path
    """What all experiments of a run share."""
    directory: Path
    """What is of this experiment alone."""
    seconds: float
    """How long one load lasts."""

    def shared(self, name: str, write: Callable[[Path], None]) -> Path:
        """What an earlier experiment has written there, or `write` writes now."""
        path = self.root / name
        if not path.exists():
            write(path)
        return path

    def copy_history(self, name: str, accounts: Sequence[int]) -> Path:
        """A data directory of its own, with so many events of each account, all of them in the views."""

        def write(path: Path) -> None:
            history.write_accounts(path, accounts)
            with servers.bank(path):
                stored.wait_until_projected(path, sum(accounts))

        written = self.shared(f"{sum(accounts)} events of {len(accounts)} accounts", write)
        return Path(shutil.copytree(written, self.directory / name))

    @contextmanager
    def inner(self) -> Iterator[Scratch]:
        """The same with a directory of its own, deleted at the end: some logs are half a gigabyte."""
        with tempfile.TemporaryDirectory(dir=self.root) as directory:
            yield replace(self, directory=Path(directory))
