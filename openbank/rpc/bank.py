"""What a bank is, as its services see it."""

from __future__ import annotations

from typing import NamedTuple

from openbank.commands.write_side import WriteSide
from openbank.eventstore.token import Tokens
from openbank.integrity.quarantine import Quarantine
from openbank.queries.reader import Reader
from openbank.rpc.feeds import Watches
from openbank.sinks.desk import Desk


class Bank(NamedTuple):
    write_side: WriteSide
    reader: Reader
    watches: Watches
    tokens: Tokens
    sinks: Desk
    quarantine: Quarantine
