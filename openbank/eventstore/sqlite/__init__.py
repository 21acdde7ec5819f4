"""The embedded event store: one SQLite file, one process.

`store` has the port's methods, `commits` the queue of appends, `writer` and `reader` the two uses of the one
connection. `wal` syncs what was committed, `rows` is an event as the file has it, `schema` the file itself. `location`,
`epoch`, `check`, `indexes` and `mark` verify at a start that the files are as the last run left them. `backup`,
`restore` and `whole` are for copies of the file, `log_file` is the log as `verify` reads it.
"""

from openbank.eventstore.sqlite.backup import backup
from openbank.eventstore.sqlite.check import accept_loss
from openbank.eventstore.sqlite.log_file import LogFile
from openbank.eventstore.sqlite.restore import Prepared, prepare_restore
from openbank.eventstore.sqlite.schema import FILE, lock
from openbank.eventstore.sqlite.store import SqliteEventStore
from openbank.eventstore.sqlite.whole import Contents

__all__ = [
    "FILE",
    "Contents",
    "LogFile",
    "Prepared",
    "SqliteEventStore",
    "accept_loss",
    "backup",
    "lock",
    "prepare_restore",
]
