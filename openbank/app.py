"""The composition root: makes the bank of its parts. The only module that knows all the others."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

from openbank.access.in_force import open_access
from openbank.back_ends.opening import accept_loss, open_source, open_stores, open_target
from openbank.back_ends.port import ViewsBackEnd
from openbank.background import background
from openbank.commands.old_numbers import adopt_old_numbers
from openbank.commands.write_side import WriteSide
from openbank.config import Settings, is_embedded, read_location
from openbank.courier.courier import Courier
from openbank.datadir import DataDirectory, DataDirectoryInUse
from openbank.domain.clock import Clock, system_clock
from openbank.eventstore.errors import AppendTooLarge, OutcomeUnknown, StoreDamaged, StoreRefused, StoreUnavailable
from openbank.eventstore.sqlite import backup
from openbank.eventstore.token import Tokens
from openbank.extras import ExtraMissing
from openbank.feeds.feed import Feed
from openbank.feeds.limits import FeedLimits
from openbank.following.tail import LogTail
from openbank.instruments import Histogram
from openbank.integrity.checking import Checker
from openbank.integrity.newer import check_types
from openbank.integrity.quarantine import Quarantine
from openbank.metrics.scrape import Sources
from openbank.optional import open_metrics, open_tracer, open_transport
from openbank.parts import Parts
from openbank.pause import Turnstile
from openbank.ports import CannotListen, check_ports
from openbank.queries.owners import OwnersAccounts
from openbank.queries.reader import Reader
from openbank.queries.reversals import reversal_of
from openbank.queries.transfers import transfer_now, unsettled_from
from openbank.reloading import BadFile
from openbank.rpc.bank import Bank, reader_for
from openbank.rpc.calls import Calls
from openbank.rpc.feeds import Watches, encode
from openbank.rpc.health import COMMANDS, EVERYTHING, FEEDS, QUARANTINE, QUERIES, VERSION, Health
from openbank.rpc.services import NAMES, bank_methods
from openbank.server import Server
from openbank.sinks.address import SinkAddress
from openbank.sinks.desk import Desk
from openbank.sinks.port import RecordsUnavailable
from openbank.sinks.sender import Sender
from openbank.sweeper import Sweeper
from openbank.tls import load_tls
from openbank.upkeep.copy import Copied, CopyRefused, copy_log
from openbank.views.matching import match_log
from openbank.views.port import ViewsUnavailable
from openbank.views.progress import Progress
from openbank.views.projector import Projector
from openbank.views.rebuilder import REBUILD_GIVES_WAY_SECONDS, Rebuilder

__all__ = ["CANNOT_COPY", "CANNOT_START", "Copied", "Server", "accept_loss", "backup", "copy", "serving"]

VIEWS_RETRY_SECONDS = 0.5
"""Between two tries of a step that found the views away."""


CANNOT_START = (
    BadFile,
    CannotListen,
    DataDirectoryInUse,
    ExtraMissing,
    OSError,
    RecordsUnavailable,
    StoreDamaged,
    StoreRefused,
    StoreUnavailable,
    ViewsUnavailable,
)
"""What `serving` raises when it cannot start. The message says what to do."""
CANNOT_COPY = (
    AppendTooLarge,
    CopyRefused,
    DataDirectoryInUse,
    ExtraMissing,
    OSError,
    OutcomeUnknown,
    StoreDamaged,
    StoreRefused,
    StoreUnavailable,
)
"""What `copy` raises."""

_log = logging.getLogger(__name__)


@asynccontextmanager
async def serving(settings: Settings, clock: Clock = system_clock) -> AsyncIterator[Server]:
    """A bank that serves until the block ends, which drains it and closes everything in the order of dependence.

    Raises one of CANNOT_START when it cannot start.
    """
    check_ports(settings)
    tls = load_tls(settings)
    access = open_access(settings.access, clock, mutual_tls=settings.tls_client_ca is not None)
    gate, policy = (access.gate, access.file) if access else (None, None)
    async with AsyncExitStack() as stack:
        metrics = await open_metrics(stack, settings)
        directory = _data_directory(settings)
        if directory:
            stack.enter_context(directory)
        stores = await open_stores(stack, settings)
        store, views = stores.log, stores.views.views
        check_types(store, await store.quarantine())
        await _once_there(partial(match_log, views, store), settings)

        quarantine = Quarantine(store, clock)
        await quarantine.load(views.place.position)
        tail = LogTail(store, settings.ring_events, quarantine=quarantine)
        tracer = await open_tracer(stack, settings)
        calls = Calls(settings.concurrent_calls_max, tracer)
        checker = Checker(store, quarantine, thorough=True)
        projector = Projector(tail.reader(checked=False), views, checker, quarantine, give_way=calls.giving_way())
        feed = Feed(store, views, tail, encode, _feed_limits(settings), clock, OwnersAccounts(views))
        take_turn = Turnstile().take
        # Older instances know no access file: none can be meant to serve the same callers.
        tokens = Tokens(store, seal_at_once=access is not None)
        progress, view_waits = Progress(views, await store.head()), Histogram()
        rebuilds = stores.views.rebuilds()
        stack.push_async_callback(rebuilds.close)
        rebuilder = Rebuilder(
            rebuilds,
            views,
            store,
            tail.reader(checked=False),
            quarantine,
            lambda work: stores.views.by_one_instance(work, "rebuild", "rebuilds the views"),
            calls.giving_way(REBUILD_GIVES_WAY_SECONDS),
            clock,
        )
        reader = Reader(
            views,
            store.head,
            settings.view_wait_seconds,
            quarantine.check,
            calls.wait,
            take_turn,
            calls.wait_for_refusal,
            progress.seconds_to,
            lambda at: at.position <= tail.head.position,
            view_waits.observe,
            tokens.seal,
            rebuilder.seconds_left,
        )
        asked = partial(unsettled_from, reader), partial(transfer_now, reader), partial(reversal_of, reader)
        cached = settings.cached_aggregates
        write_side = WriteSide(store, clock, cached, quarantine, *asked, records_actors=gate is not None)
        await adopt_old_numbers(write_side, store)

        health = Health(EVERYTHING, COMMANDS, QUERIES, FEEDS, QUARANTINE, VERSION, *NAMES)
        server = Server(settings, health, calls, tls, policy)
        records = stores.views.sink_records()
        stack.push_async_callback(records.close)
        desk = Desk(settings.sink, tail.reader(), store, records, clock)
        watches = Watches(feed, tokens, calls.statistics.watch_ends, gate)
        bank = Bank(write_side, partial(reader_for, reader), watches, tokens, desk, quarantine, rebuilder, gate)
        server.add(bank_methods(bank, calls))

        await stack.enter_async_context(background("log", tail.run))
        if not store.sole_writer:
            follow = partial(quarantine.follow, lambda: views.place.position)
            await stack.enter_async_context(background("quarantine", follow))
        project = stores.views.by_one_instance(projector.run, "projector", "projects")
        projecting = await stack.enter_async_context(background("projector", partial(projector.again, project)))
        await stack.enter_async_context(background("progress", progress.run))
        await stack.enter_async_context(background("rebuild", rebuilder.run))
        await stack.enter_async_context(background("rebuild progress", rebuilder.watch))
        carry = stores.views.by_one_instance(Courier(write_side, views, store.head).run, "courier", "settles transfers")
        await stack.enter_async_context(background("courier", carry))
        sweeper = Sweeper(views, write_side, lambda: progress.caught_up, calls.giving_way())
        sweep = stores.views.by_one_instance(sweeper.run, "sweeper", "ends holds that are due")
        await stack.enter_async_context(background("sweeper", sweep))
        feeding = await stack.enter_async_context(background("feeds", feed.run))
        senders: dict[str, Sender] = {}
        for address in settings.sink:
            transport = open_transport(address, settings.sink_timeout_seconds)
            if tracer:
                transport = tracer.traced(address.name, transport)
            stack.push_async_callback(transport.close)
            sender = senders[address.name] = Sender(
                address, tail.reader(), store, quarantine, records, transport, clock, settings.sink_retry_seconds_max
            )
            await _once_there(sender.prepare, settings)
            await stack.enter_async_context(_sending(address, sender, stores.views))
        await server.start()
        if metrics:
            sources = Sources(
                calls=calls,
                health=health,
                store=store,
                commits=store.commits,
                tail=tail,
                quarantine=quarantine,
                write_side=write_side,
                views=views,
                progress=progress,
                rebuild=rebuilder,
                view_waits=view_waits,
                feed=feed,
                desk=desk,
                senders=senders,
                leases=stores.views.leases,
                gate=gate,
                tls=tls,
                access=policy,
            )
            metrics.show(sources, lambda: not server.not_serving)
            server.metrics_address = metrics.address
        stack.push_async_callback(write_side.unfinished.finished, settings.drain_seconds)
        stack.push_async_callback(server.stop, feed.drain)
        if directory:
            directory.keep()
            directory.says(f"serves on {server.address}")
        parts = Parts(health, calls, store, quarantine, tail, views, progress, projector, projecting, feeding)
        await stack.enter_async_context(background("health", parts.report))
        await stack.enter_async_context(background("changed files", server.reloader.run))
        if gate:
            await stack.enter_async_context(background("token keys", gate.run))
        stores.started()
        yield server


async def _once_there(step: Callable[[], Awaitable[None]], settings: Settings) -> None:
    """Takes a step of the start that needs the views, or what is stored beside them. The step may be taken twice.

    Views on a server may be away for a moment. The step is retried for `store_wait_seconds`.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + (0 if is_embedded(settings.views) else settings.store_wait_seconds)
    said = False
    while True:
        try:
            return await step()
        except (ViewsUnavailable, RecordsUnavailable) as error:
            if loop.time() + VIEWS_RETRY_SECONDS > until:
                raise
            if not said:
                values = {"seconds": settings.store_wait_seconds, "reason": error}
                _log.warning("waiting for the views", extra={"values": values})
                said = True
        await asyncio.sleep(VIEWS_RETRY_SECONDS)


def _data_directory(settings: Settings) -> DataDirectory | None:
    """Held, where something is kept in it."""
    if is_embedded(settings.event_store) or is_embedded(settings.views):
        return DataDirectory(settings.data, f"serves on {settings.listen}")
    return None


def _sending(
    address: SinkAddress, sender: Sender, views: ViewsBackEnd
) -> AbstractAsyncContextManager[asyncio.Task[None]]:
    name = f"sink {address.name}"
    return background(name, views.by_one_instance(sender.run, name, f"sends to {address.name}"))


async def copy(source: str, target: str, progress: Callable[[Copied], None], store_wait_seconds: float = 0.0) -> Copied:
    """Copies a bank's events from one place to another, each a data directory or an address of EventStoreDB.

    `store_wait_seconds` is how long a server that does not answer is waited for, at the start and on the way.

    Raises one of CANNOT_COPY; the same call again then continues where that one stopped.
    """
    try:
        source_place, target_place = read_location(source), read_location(target)
    except ValueError as error:
        raise CopyRefused(f"source and target {error}") from None
    async with AsyncExitStack() as stack:
        origin = await open_source(stack, source_place, store_wait_seconds)
        copy = await open_target(stack, target_place, origin.bank_id, store_wait_seconds)
        if origin.token_key.secret:
            await copy.adopt_token_key(origin.token_key)
        copied = await copy_log(origin, copy, progress)
        await copy.copied()
        return copied


def _feed_limits(settings: Settings) -> FeedLimits:
    return FeedLimits(
        heartbeat_seconds=settings.heartbeat_seconds,
        silence_seconds_max=settings.silence_seconds_max,
        # Half of it, so that calls have the other half.
        drain_seconds=settings.drain_seconds / 2,
        watches_max=settings.watches_max,
    )
