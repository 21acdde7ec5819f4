"""The event store on EventStoreDB, through esdbclient.

`link` is the connection, `reading` what a read or subscription on it gives, and `appends` the one long-lived call
that writes. `events` is what an event looks like there. `stream_reads` reads streams, `log` the log, and `upstream`
follows it. `requests` is the memory of request ids, `recent` of what was just read, `own_events` of what was just
appended. `store` is the port's methods on top of them.
"""

from openbank.eventstore.eventstoredb.store import EventStoreDBEventStore

__all__ = ["EventStoreDBEventStore"]
