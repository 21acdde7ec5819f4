"""The event store on EventStoreDB, through esdbclient.

`link` is the connection, `appends` the one long-lived call that writes, `upstream` a subscription, `events` what an
event looks like there, `requests` the memory of request ids, and `store` the port's methods on top of them.
"""

from openbank.eventstore.eventstoredb.store import EventStoreDBEventStore

__all__ = ["EventStoreDBEventStore"]
