"""What a bank is, as its services see it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from openbank.access.gate import Gate
from openbank.commands.write_side import WriteSide
from openbank.eventstore.token import Tokens
from openbank.integrity.quarantine import Quarantine
from openbank.queries.own import reader_of
from openbank.queries.reader import Reader
from openbank.rpc.call import Call
from openbank.rpc.feeds import Watches
from openbank.sinks.desk import Desk
from openbank.views.rebuild import RebuildDesk


class Bank(NamedTuple):
    write_side: WriteSide
    reader_for: Callable[[Call], Reader]
    """The views as the caller may see them."""
    watches: Watches
    tokens: Tokens
    sinks: Desk
    quarantine: Quarantine
    rebuild: RebuildDesk
    gate: Gate | None = None
    """None where there is no access file: everybody may call everything."""


def reader_for(reader: Reader, call: Call) -> Reader:
    """What the call may read."""
    return reader if call.owner is None else reader_of(reader, call.owner)
