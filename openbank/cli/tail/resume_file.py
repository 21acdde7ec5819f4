"""A file that remembers how far a feed was printed."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from openbank.cli.errors import CommandFailed
from openbank.disk import replace

KEPT_BY = "openbank tail"


class ResumeFile:
    """One token, and what it is of: with another filter it would leave events out that nobody has seen."""

    def __init__(self, path: Path, target: str, feed: str, filter: Mapping[str, object]) -> None:
        # A link is to stay one: it is the file it leads to that is replaced.
        self._path = path.resolve()
        self._contents = {"kept_by": KEPT_BY, "target": target, "feed": feed, "filter": filter, "resume_token": ""}

    def token(self) -> str | None:
        """None where there is no file yet. Raises CommandFailed."""
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise CommandFailed(f"cannot read {self._path}: {error}") from error
        kept = _parsed(text)
        token = kept.get("resume_token")
        if kept.get("kept_by") != KEPT_BY or not isinstance(token, str) or not token:
            raise CommandFailed(f"{self._path} is not, or no longer, a resume file: name another, or remove it")
        if (kept.get("feed"), kept.get("filter")) != (self._contents["feed"], self._contents["filter"]):
            kept_of = json.dumps({"feed": kept.get("feed"), "filter": kept.get("filter")})
            raise CommandFailed(f"{self._path} is of another feed or filter, {kept_of}: name another file")
        self._contents["resume_token"] = token
        return token

    def keep(self, token: str) -> None:
        """The file has either the old token or this one, whatever happens meanwhile. Raises CommandFailed."""
        if token == self._contents["resume_token"]:
            return
        self._contents["resume_token"] = token
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            replace(self._path, json.dumps(self._contents, indent=2) + "\n", beside)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise CommandFailed(f"cannot keep the place in {self._path}: {error.strerror}") from error


def _parsed(text: str) -> Mapping[str, object]:
    try:
        parsed = json.loads(text)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}
