"""Banks by name, in the user's `config.toml`: where each is, and the files it is called with. It holds no secrets."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from openbank.cli.errors import CommandFailed

FIELDS = ("target", "tls_ca", "tls_cert", "tls_key", "token_file")
"""What a context may say; all but `target` are files."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Contexts(NamedTuple):
    by_name: Mapping[str, Mapping[str, str]] = {}
    """The fields of each."""
    current: str = ""
    """The one that is used where a command names neither a context nor a target; empty for none."""

    def named(self, name: str) -> Mapping[str, str]:
        """Raises CommandFailed."""
        if name not in self.by_name:
            raise CommandFailed(f"there is no context {name}: openbank context list")
        return self.by_name[name]


def file() -> Path:
    """`openbank/config.toml` where the XDG base directories have it."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    # A relative path is to be ignored, as the specification says.
    base = Path(home) if os.path.isabs(home) else Path.home() / ".config"
    return base / "openbank/config.toml"


def read() -> Contexts:
    """Raises CommandFailed for a file that cannot be read."""
    path = file()
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Contexts()
    except (OSError, ValueError) as error:
        raise CommandFailed(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    # Imported late, as most users have no such file.
    import tomllib

    try:
        return _parsed(tomllib.loads(text))
    except ValueError as error:
        raise CommandFailed(f"{path}: {error}") from None


@contextmanager
def changing() -> Iterator[dict[str, Any]]:
    """What the file has, `{"current": ..., "contexts": {...}}`, to be changed in place.

    It is written at the end of the block, unless that raises; no other command writes meanwhile. Raises CommandFailed.
    """
    import fcntl

    path = file()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            now = read()
            contents = {"current": now.current, "contexts": {name: dict(one) for name, one in now.by_name.items()}}
            yield contents
            _write(path, _toml(contents))
        finally:
            os.close(directory)
    except OSError as error:
        raise CommandFailed(f"{path} cannot be written: {error.strerror}") from None


def check_name(name: str) -> str:
    """Raises ValueError."""
    if not _NAME.fullmatch(name):
        raise ValueError("must be 1 to 64 letters, digits and .-_, and begin with a letter or digit")
    return name


def _parsed(document: Mapping[str, Any]) -> Contexts:
    """Raises ValueError."""
    contexts, current = document.get("contexts", {}), document.get("current", "")
    if unknown := document.keys() - {"contexts", "current"}:
        raise ValueError(f"{min(unknown)} is unknown")
    if not isinstance(contexts, dict) or not isinstance(current, str):
        raise ValueError("contexts must be a table, and current a name")
    for name, one in contexts.items():
        if not isinstance(one, dict) or "target" not in one or {type(value) for value in one.values()} != {str}:
            raise ValueError(f"contexts.{name} must be a table of texts, with a target")
        if unknown := one.keys() - set(FIELDS):
            raise ValueError(f"contexts.{name}.{min(unknown)} is unknown")
    if current and current not in contexts:
        raise ValueError(f"the current context {current} is not there")
    return Contexts(contexts, current)


def _toml(contents: Mapping[str, Any]) -> str:
    lines = [f"current = {_quoted(contents['current'])}"]
    for name, one in contents["contexts"].items():
        lines += ["", f"[contexts.{_quoted(name)}]"]
        lines += [f"{key} = {_quoted(one[key])}" for key in FIELDS if one.get(key)]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A basic string of TOML is one of JSON, but for the delete character."""
    import json

    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _write(path: Path, text: str) -> None:
    """Replaces the file as a whole: a reader sees the old one or the new one. A link stays."""
    # Imported late: every command imports this module, and few write.
    import tempfile

    path = Path(os.path.realpath(path))
    # Made with mode 0600.
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(number, "w", encoding="utf-8") as temporary:
            temporary.write(text)
            temporary.flush()
            os.fsync(number)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
