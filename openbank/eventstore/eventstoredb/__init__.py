"""The event store on EventStoreDB, through esdbclient.

`client` sets esdbclient up for an address, `leader` is the connection to the node that leads, `pulse` asks whether it
still does, and `link` makes the calls. `reading` is what a read or subscription gives. `appends` follows each append
to its outcome, over the one call of `append_call`, with the messages of `append_messages`. `events` is what an event
looks like there. `stream_reads` reads streams, `log` the log, and `upstream` follows it. `requests` is the memory of
request ids, `recent` of what was just read, `own_events` of what was just appended. `store` has the port's methods.
"""

from openbank.eventstore.eventstoredb.store import EventStoreDBEventStore

__all__ = ["EventStoreDBEventStore"]
