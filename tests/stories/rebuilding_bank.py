"""A bank that is killed at one moment of a rebuild: `python -m tests.stories.rebuilding_bank serve ...`

KILL_AT names the moment.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from openbank.cli.main import main
from openbank.views import rebuilder
from openbank.views.sqlite import rebuilds, schema, views
from openbank.views.sqlite.rebuilds import SqliteRebuilds
from openbank.views.sqlite.views import SqliteViews

MOMENTS = ("begun", "filling", "filled", "removed", "renamed", "serving")
BATCH_EVENTS = 20

_at = os.environ.get("KILL_AT", "")
_keep, _project, _replace = SqliteViews.keep_rebuild, SqliteViews.project, SqliteRebuilds.switch


def _pass(moment: str) -> None:
    if _at == moment:
        os.kill(os.getpid(), signal.SIGKILL)


async def keep(self: SqliteViews, record: Any) -> None:
    await _keep(self, record)
    _pass("begun" if record.running else "filled")


async def project(self: SqliteViews, *arguments: Any) -> None:
    await _project(self, *arguments)
    if self._path.name == rebuilds.NEXT_FILE and self.position.position > BATCH_EVENTS:
        _pass("filling")


def replace_file(path: Path, other: Path) -> None:
    _pass("removed")
    schema.replace_file(path, other)
    _pass("renamed")


async def switch(self: SqliteRebuilds, time: int, catch_up: Callable[[], Awaitable[None]]) -> bool:
    done = await _replace(self, time, catch_up)
    if done:
        _pass("serving")
    return done


if __name__ == "__main__":
    rebuilder.BATCH_EVENTS_MAX = BATCH_EVENTS
    SqliteViews.keep_rebuild = keep  # type: ignore[method-assign]
    SqliteViews.project = project  # type: ignore[assignment, method-assign]
    SqliteRebuilds.switch = switch  # type: ignore[method-assign]
    views.replace_file = replace_file  # type: ignore[attr-defined]
    sys.exit(main())
