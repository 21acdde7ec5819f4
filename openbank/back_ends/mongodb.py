"""MongoDB as the views, shared by all instances."""

from __future__ import annotations

from contextlib import AsyncExitStack

from openbank.back_ends.port import Work
from openbank.extras import needs
from openbank.following.lease import Lease, Leased
from openbank.sinks.port import SinkRecords
from openbank.views.rebuild import Rebuilds

with needs("mongodb", "an address that begins with mongodb"):
    from openbank.sinks.mongo import MongoSinkRecords
    from openbank.views.mongo import MongoViews


class MongoViewsBackEnd:
    def __init__(self, views: MongoViews) -> None:
        self.views = views
        self.leases: dict[str, Lease] = {}

    @classmethod
    async def open(cls, stack: AsyncExitStack, uri: str, wait_seconds: float) -> MongoViewsBackEnd:
        """`wait_seconds` is how long a server that does not answer is waited for. Raises ViewsUnavailable."""
        views = await MongoViews.open(uri, wait_seconds=wait_seconds)
        stack.push_async_callback(views.close)
        return cls(views)

    def rebuilds(self) -> Rebuilds:
        return self.views.rebuilds()

    def sink_records(self) -> SinkRecords:
        return MongoSinkRecords(self.views.link)

    def by_one_instance(self, work: Work, name: str, doing: str) -> Work:
        lease = self.leases[name] = Lease(self.views.lease(name))
        return Leased(lease, work, doing).run
