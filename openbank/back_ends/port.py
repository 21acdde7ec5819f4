"""What each back end offers the bank."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Protocol

from openbank.eventstore.extensions import HasTokenKey, OldNumbers
from openbank.eventstore.request_index import RequestIndex
from openbank.eventstore.seal import TokenKey
from openbank.eventstore.statistics import CommitStatistics
from openbank.following.lease import Lease
from openbank.sinks.port import SinkRecords
from openbank.views.port import Views
from openbank.views.rebuild import Rebuilds

Work = Callable[[], Awaitable[None]]


class ServedLog(HasTokenKey, OldNumbers, Protocol):
    """A log that a bank serves."""

    @property
    def commits(self) -> CommitStatistics: ...


class CopyTarget(HasTokenKey, Protocol):
    """A store that a log is copied into."""

    async def adopt_token_key(self, key: TokenKey) -> None:
        """Makes the key of the source that of the copy, unless the copy is complete and has one."""
        ...

    async def copied(self) -> None:
        """Call when the whole log is there: the store can be served from then on."""
        ...


class IndexedViews(Views, RequestIndex, Protocol):
    """Views that know request ids, too."""


class ViewsBackEnd(Protocol):
    """The views, and what is kept beside them."""

    @property
    def views(self) -> IndexedViews: ...

    @property
    def leases(self) -> Mapping[str, Lease]:
        """The leases of what is done `by_one_instance`, by name; empty where no other instance can do it."""
        ...

    def rebuilds(self) -> Rebuilds: ...

    def sink_records(self) -> SinkRecords:
        """Where sinks keep their places, beside the views but apart from them."""
        ...

    def by_one_instance(self, work: Work, name: str, doing: str) -> Work:
        """`work`, done by one instance of those that share these views. `doing` is for the log: "projects"."""
        ...


class Stores(NamedTuple):
    """What a bank is kept in."""

    log: ServedLog
    views: ViewsBackEnd
    started: Callable[[], None]
    """Call when the bank has started. A start waits for a store that is away; calls then get an error at once."""
