"""The embedded event store: one SQLite file, one process.

`store` is the port, `writer` and `reader` are the two uses of its one connection, `wal` makes durable what was
committed, `check` tells at the start what was lost, `rows` is an event as the file has it, `schema` the file itself,
`log_file` the log as `verify` reads it.
"""

from openbank.eventstore.sqlite.backup import backup
from openbank.eventstore.sqlite.check import accept_loss
from openbank.eventstore.sqlite.log_file import LogFile
from openbank.eventstore.sqlite.schema import FILE
from openbank.eventstore.sqlite.store import SqliteEventStore

__all__ = ["FILE", "LogFile", "SqliteEventStore", "accept_loss", "backup"]
