"""The access file of a running bank: read at the start, and again when it changes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from openbank.access.errors import BadAccessFile
from openbank.access.file import read
from openbank.access.gate import Gate
from openbank.access.policy import Policy
from openbank.domain.clock import Clock
from openbank.extras import ExtraMissing
from openbank.reloading import BadFile, FileContents, Reloaded

ACCESS = "--access"


class AccessInForce(NamedTuple):
    gate: Gate
    file: Reloaded[Policy]
    """A change of it that can be used is applied to the gate."""


def open_access(path: Path | None, clock: Clock, *, mutual_tls: bool) -> AccessInForce | None:
    """None without an access file. `mutual_tls` says whether clients have certificates.

    Raises BadFile, ExtraMissing.
    """
    if path is None:
        return None
    gate = Gate(Policy(), clock)

    def make(contents: FileContents) -> Policy:
        policy = read(contents[ACCESS], path)
        if policy.certificates and not mutual_tls:
            raise BadAccessFile(str(path), ["[[certificate]]: needs --tls-client-ca, which asks for certificates"])
        try:
            gate.apply(policy)
        except ExtraMissing as error:
            raise BadFile(str(error)) from None
        return policy

    return AccessInForce(gate, Reloaded({ACCESS: path}, make))
