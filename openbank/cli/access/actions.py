"""`openbank access`: what it does with files."""

from __future__ import annotations

import argparse
import os
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from openbank.access import values
from openbank.access.errors import BadAccessFile
from openbank.access.file import load
from openbank.access.keys import new_key
from openbank.access.policy import Policy
from openbank.cli.access.explaining import explain
from openbank.cli.errors import EXIT_NO, CommandFailed

SOON_SECONDS = 30 * 86_400


def _new_key(flags: argparse.Namespace) -> int:
    _check("NAME", values.name, flags.name)
    for role in flags.role:
        _check("--role", values.name, role)
    key = new_key()
    entry = ["[[key]]", f'name = "{flags.name}"', f'id = "{key.id}"', f'sha256 = "{key.sha256}"']
    entry.append(f"roles = [{', '.join(f'{_quoted(role)}' for role in flags.role)}]")
    if flags.owner is not None:
        entry.append(f"owner = {_quoted(_check('--owner', values.person_id, flags.owner))}")
    if flags.expires is not None:
        _check("--expires", values.time, _time(flags.expires))
        entry.append(f"expires = {flags.expires}")
    if flags.key_file is None:
        print(f"the key, which is shown once: {key.key}", file=sys.stderr)
    else:
        _write_new(flags.key_file, key.key)
    print("\n".join(entry))
    return 0


def _check(flag: str, read: Callable[[object], object], value: object) -> object:
    try:
        read(value)
    except ValueError as error:
        raise CommandFailed(f"{flag} {error}") from None
    return value


def _time(text: str) -> object:
    """As TOML reads it; what it cannot read is no time."""
    try:
        return tomllib.loads(f"time = {text}")["time"] if "\n" not in text else None
    except tomllib.TOMLDecodeError:
        return None


def _quoted(text: object) -> str:
    """What was checked has nothing that TOML would read otherwise."""
    return f'"{text}"'


def _write_new(file: Path, key: str) -> None:
    try:
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(f"{key}\n")
    except OSError as error:
        raise CommandFailed(f"{file} cannot be written: {error.strerror}") from None


def _check_file(flags: argparse.Namespace) -> int:
    try:
        policy = load(flags.file)
    except BadAccessFile as error:
        print(error)
        return EXIT_NO
    counts = {
        "keys": len(policy.keys),
        "certificates": len(policy.certificates),
        "issuers": len(policy.issuers),
        "roles": len(policy.roles),
    }
    print(f"{flags.file} is good: {', '.join(f'{count} {what}' for what, count in counts.items())}")
    for warning in _warnings(policy, time.time()):
        print(f"warning: {warning}")
    return 0


def _warnings(policy: Policy, now: float) -> Iterable[str]:
    """What is no fault of the file, and may be one of the bank that has it."""
    if policy.certificates:
        yield "[[certificate]]: the bank needs --tls-client-ca too"
    for key in policy.keys.values():
        name, expires = key.caller.name.removeprefix("key:"), key.caller.expires
        if expires <= now:
            yield f'[[key]] "{name}": has expired'
        elif expires <= now + SOON_SECONDS:
            yield f'[[key]] "{name}": expires within 30 days'
        if key.caller.grants.own_only and not key.caller.owner:
            yield f'[[key]] "{name}": has a role for what it owns, and no owner: nothing is its own'
    for issuer in policy.issuers.values():
        if issuer.jwks_is_file and not Path(issuer.jwks).is_file():
            yield f'[[jwt]] "{issuer.issuer}": jwks: there is no such file'


def _explain(flags: argparse.Namespace) -> int:
    try:
        policy = load(flags.file)
    except BadAccessFile as error:
        raise CommandFailed(str(error)) from None
    explained = explain(policy, flags.caller, flags.claims, flags.method, flags.id)
    for name, value in explained.lines:
        print(f"{name:<12}{value}")
    return 0 if explained.allowed else EXIT_NO


ACTIONS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "new-key": _new_key,
    "check": _check_file,
    "explain": _explain,
}
