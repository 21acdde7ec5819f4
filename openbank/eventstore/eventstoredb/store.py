"""The event store on EventStoreDB: what `log` and `stream_reads` read, appends, and what is kept beside the log."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Awaitable, Collection, Sequence
from contextlib import aclosing
from time import perf_counter
from uuid import UUID

from esdbclient import NewEvent as Proposed
from esdbclient.exceptions import NotFound

from openbank.eventstore.errors import OutcomeUnknown, StoreRefused, StoreUnavailable
from openbank.eventstore.eventstoredb.appends import Appends
from openbank.eventstore.eventstoredb.events import as_stored, recorded
from openbank.eventstore.eventstoredb.hidden import hidden_streams
from openbank.eventstore.eventstoredb.identity import Identity, Wanted
from openbank.eventstore.eventstoredb.link import Link
from openbank.eventstore.eventstoredb.log import PAGE, LogReads
from openbank.eventstore.eventstoredb.own_events import OwnEvents
from openbank.eventstore.eventstoredb.refusals import AccessRefused
from openbank.eventstore.eventstoredb.same_log import SameLog, Witness
from openbank.eventstore.eventstoredb.snapshots import Snapshots
from openbank.eventstore.eventstoredb.stream_reads import StreamReads
from openbank.eventstore.port import (
    BEGINNING,
    NO_STREAM,
    KeptRecord,
    LogPosition,
    LogSlice,
    Newest,
    NewEvent,
    RecordedEvent,
    Snapshot,
)
from openbank.eventstore.request_index import RequestIndex
from openbank.eventstore.seal import TokenKey
from openbank.eventstore.statistics import CommitStatistics
from openbank.eventstore.streams import NUMBER
from openbank.instruments import SIZES, Histogram

QUARANTINE_STREAM = "openbank-quarantine"
"""The stream whose last event holds the record of what is quarantined. It is not part of the log."""
QUARANTINE_CHANGED = "openbank.QuarantineChanged"
SETTLE_SECONDS = 5.0
"""How long the outcome of an append is asked for after its answer was lost."""
RETRY_SECONDS = 0.5
"""The time between two attempts to reach the server at start."""

_log = logging.getLogger(__name__)


class EventStoreDBEventStore:
    """`EventStore` on EventStoreDB. Any number of instances may write.

    A stream of the bank that was tombstoned, truncated, or deleted and written again raises StoreDamaged. A deleted
    stream reads as if it had never existed. Events of other programs in the bank's streams are part of the log, under
    their own types.
    """

    sole_writer = False

    def __init__(self, link: Link, settle_seconds: float, request_index: RequestIndex | None, prefix: str) -> None:
        """See `open`."""
        self.after_loss = (
            f"stop all instances, and bring back all of the log to EventStoreDB at {link.targets};"
            " or continue with what is left of it: openbank accept-loss --event-store ADDRESS"
        )
        self.bank_id = ""
        self.store_id = ""
        self._link = link
        self._prefix = prefix
        own = OwnEvents()
        self._appends = Appends(link, settle_seconds, own)
        self._snapshots = Snapshots(link, self._appends, prefix)
        self._streams = StreamReads(link, prefix, self._snapshots, request_index)
        self._identity = Identity(link, prefix)
        self._same_log = SameLog(link.read_unchecked, prefix, self._identity.stream)
        link.guard.check = self._same_log.check
        self._log = LogReads(link, prefix, own, self._same_log, self.locate)
        self.commits = CommitStatistics(Histogram(SIZES), Histogram(), None)
        self._closed = False

    @classmethod
    async def open(
        cls,
        uri: str,
        *,
        wait_seconds: float = 0.0,
        bank_id: str | None = None,
        known_bank_id: str | None = None,
        make: bool = True,
        copying: bool = False,
        settle_seconds: float = SETTLE_SECONDS,
        request_index: RequestIndex | None = None,
        prefix: str = "",
    ) -> EventStoreDBEventStore:
        """Opens the store at an address like `esdb://user:password@host1,host2?Tls=true`, and creates it if needed.

        Tries for `wait_seconds` to reach the server. If `bank_id` is given, the store must belong to that bank. Without
        `make` the store must exist. `known_bank_id` is a bank that was served before: an empty store has lost it. A
        store created with `copying` can be opened only with it until `copied` is called, so that half a log is never
        served. All streams' names begin with `prefix`, so that a server can hold several banks. Raises StoreRefused and
        StoreUnavailable.
        """
        link = Link(uri)
        store = cls(link, settle_seconds, request_index, prefix)
        try:
            await store._begin(wait_seconds, Wanted(bank_id, known_bank_id, make, copying))
            store.be_patient(wait_seconds)
        except BaseException:
            await link.close()
            raise
        return store

    @property
    def writable(self) -> bool:
        return not self._appends.stuck

    @property
    def confirmed_seconds_ago(self) -> float:
        return asyncio.get_running_loop().time() - self._link.leader.confirmed_at

    def be_patient(self, seconds: float) -> None:
        """Sets how long reads are retried while the store is away, for jobs and starts. 0 ends that."""
        self._link.patience_seconds = seconds

    async def append(self, stream: str, expected_revision: int, events: Sequence[NewEvent]) -> int:
        if self._closed:
            raise StoreUnavailable("the event store is closed")

        def find() -> Awaitable[Sequence[RecordedEvent]]:
            return self.read_stream(stream, expected_revision, len(events))

        begin = perf_counter()
        position = await self._appends.append(self._prefix + stream, expected_revision, events, find)
        self.commits.events.observe(len(events))
        self.commits.seconds.observe(perf_counter() - begin)
        self._streams.requests.note(stream, expected_revision, [event.metadata.request_id for event in events])
        last, revision = events[-1], expected_revision + len(events)
        self._same_log.note(Witness(position, stream, revision - 1, last.id))
        self._streams.recent.note_appended(RecordedEvent(position, stream, revision, *last))
        return position

    async def read_stream(self, stream: str, after: int = NO_STREAM, limit: int = PAGE) -> Sequence[RecordedEvent]:
        return await self._streams.read_stream(stream, after, limit)

    async def read_stream_as_stored(self, stream: str, after: int, limit: int) -> Sequence[RecordedEvent]:
        return await self._streams.read(stream, after, limit, as_stored)

    async def read_end(self, stream: str, limit: int) -> Sequence[RecordedEvent]:
        return await self._streams.read_end(stream, limit)

    async def read_newest(self, stream: str, limit: int, through: int | None = None) -> Newest:
        return await self._streams.read_newest(stream, limit, through)

    async def locate(self, stream: str, revision: int) -> LogPosition | None:
        return await self._streams.locate(stream, revision)

    async def snapshot(self, stream: str, through: int | None = None) -> Snapshot | None:
        return await self._streams.snapshot(stream, through)

    def keep_snapshot(self, stream: str, snapshot: Snapshot) -> None:
        if not self._closed:
            self._snapshots.keep(stream, snapshot)

    async def quarantine(self) -> KeptRecord:
        try:
            name = self._prefix + QUARANTINE_STREAM
            events = await self._link.read(stream_name=name, backwards=True, limit=1)
        except NotFound:
            return KeptRecord()
        return KeptRecord(events[0].data, events[0].stream_position + 1) if events else KeptRecord()

    async def save_quarantine(self, data: bytes, version: int) -> int | None:
        # The same record makes the same event, so an append whose answer was lost may be retried.
        digest = hashlib.blake2b(b"%d\0%b" % (version, data), digest_size=16).digest()
        event = Proposed(QUARANTINE_CHANGED, data, id=UUID(bytes=digest))
        try:
            written = await self._link.write(self._prefix + QUARANTINE_STREAM, event, version - 1 if version else None)
        except StoreUnavailable as error:
            raise OutcomeUnknown(str(error)) from error
        return version + 1 if written else None

    async def find_requests(
        self, stream: str, request_ids: Sequence[bytes], through: int | None = None
    ) -> Sequence[RecordedEvent]:
        return await self._streams.requests.find(stream, request_ids, through)

    async def streams_with(self, requests: Sequence[tuple[str, bytes]]) -> Collection[str]:
        return {stream for stream, _ in requests}

    async def read_log(self, after: LogPosition, limit: int = PAGE) -> LogSlice:
        return await self._log.slice(after, limit, recorded)

    async def read_log_as_stored(self, after: LogPosition, limit: int = PAGE) -> LogSlice:
        return await self._log.slice(after, limit, as_stored)

    async def head(self) -> LogPosition:
        return await self._log.head()

    async def position_at(self, time: int, after: LogPosition = BEGINNING) -> LogPosition:
        return await self._log.position_at(time, after)

    async def subscribe(self, after: LogPosition) -> AsyncIterator[LogSlice]:
        try:
            async with aclosing(self._log.subscribe(after)) as pages:
                async for page in pages:
                    yield page
        except StoreUnavailable:
            if not self._closed:
                raise

    async def hides_events(self, stream: str) -> bool:
        return await self._same_log.hides_events(stream)

    async def close(self) -> None:
        self._closed = True
        self._log.close()
        await self._snapshots.close()
        await self._appends.close()
        await self._link.close()

    async def accept_loss(self) -> int:
        """Gives what is left of the log a new store id.

        Returns the position of its end. Views of the previous log are rebuilt, and instances that still run on it stop.
        """
        head = await self.head()
        await self._identity.rename()
        return head.position

    @property
    def token_key(self) -> TokenKey:
        return self._identity.token_key

    async def adopt_token_key(self, key: TokenKey) -> None:
        """See `CopyTarget`."""
        await self._identity.adopt_token_key(key)

    async def copied(self) -> None:
        """Call when the copy into this store is complete."""
        await self._identity.note_copied()

    async def hyphenated_number_streams(self) -> Sequence[str]:
        names: dict[str, None] = {}
        async for event in self._link.history(prefixes=[f"{self._prefix}{NUMBER}-"]):
            stream = event.stream_name.removeprefix(self._prefix)
            if "-" in stream.removeprefix(f"{NUMBER}-"):
                names[stream] = None
        return list(names)

    def hidden(self) -> AsyncIterator[str]:
        """One sentence for each stream of which operators have hidden events. Takes time in proportion to the log."""
        return hidden_streams(self._link, self._prefix)

    @property
    def numbers_adopted(self) -> bool:
        return self._identity.numbers_adopted

    async def note_numbers_adopted(self) -> None:
        await self._identity.note_numbers_adopted()

    async def _begin(self, wait_seconds: float, wanted: Wanted) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_seconds
        said = False
        while True:
            try:
                await self._link.leader.connect()
                return await self._identify(wanted)
            except AccessRefused as error:
                raise StoreRefused(f"EventStoreDB at {self._link.targets}: {error}") from error
            except StoreUnavailable as error:
                if instead := await self._link.wrong_about_tls(str(error)):
                    raise StoreRefused(f"EventStoreDB at {self._link.targets}: {instead}") from error
                if loop.time() + RETRY_SECONDS > until:
                    raise StoreUnavailable(f"EventStoreDB at {self._link.targets}: {error}") from error
                if not said:
                    values = {"address": self._link.targets, "seconds": wait_seconds, "reason": error}
                    _log.warning("waiting for EventStoreDB", extra={"values": values})
                    said = True
            await asyncio.sleep(RETRY_SECONDS)

    async def _identify(self, wanted: Wanted) -> None:
        # Rights first, before anything is written.
        await self._log.read_all(backwards=True, limit=1)
        if wanted.make:
            await self._appends.check_right(self._identity.stream)
        self.bank_id, self.store_id = await self._identity.claim(wanted)
        self._same_log.identify(self.store_id)
