"""Read, in its many forms, as named by the parts of its options."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Literal

import grpc
from esdbclient.protos.Grpc import streams_pb2

from tests.stand_ins.eventstoredb.fate import Cut, Silence, abort_cut, never, under_faults
from tests.stand_ins.eventstoredb.faults import Faults
from tests.stand_ins.eventstoredb.filters import everything, wanted_by
from tests.stand_ins.eventstoredb.log import (
    InvalidPosition,
    Log,
    Record,
    StreamDeleted,
    StreamNotFound,
)
from tests.stand_ins.eventstoredb.messages import (
    BadRequest,
    Context,
    abort,
    abort_deleted,
    abort_invalid,
    abort_not_leader,
    abort_not_ready,
    abort_unexpected,
    not_one_of,
    only,
    read_event,
    requires_leader,
    stream_of,
)
from tests.stand_ins.eventstoredb.modes import Modes
from tests.stand_ins.eventstoredb.node import Node
from tests.stand_ins.eventstoredb.subscriptions import (
    AllSubscription,
    ConsumerTooSlow,
    StreamSubscription,
    Subscription,
    Subscriptions,
)

LINK = "$>"
TOO_SLOW = "Consumer too slow to handle event while live. Client resubscription required."
# Rows that the real server reads at once when a filter names no window of its own.
DEFAULT_WINDOW = 32

ReadResp = streams_pb2.ReadResp
Options = streams_pb2.ReadReq.Options
NAMES = {None: "None", "stream": "Stream", "all": "All", "count": "Count", "subscription": "Subscription"}
FILTER_NAMES = {None: "None", "filter": "Filter", "no_filter": "NoFilter"}


class Reads:
    """The servicer."""

    def __init__(self, log: Log, subscriptions: Subscriptions, faults: Faults, modes: Modes, node: Node) -> None:
        self.log = log
        self._subscriptions = subscriptions
        self._faults = faults
        self._modes = modes
        self._node = node

    async def read(self, requests: AsyncIterator[streams_pb2.ReadReq], context: Context) -> None:
        options = (await only(requests)).options
        await self._refuse_invalid(options, context)
        if not options.HasField("uuid_option"):
            await never()  # as the real server does
        name = ""
        try:
            name = stream_of(options.stream.stream_identifier) if options.HasField("stream") else "$all"
            operation: Literal["subscribe", "read"] = "subscribe" if options.HasField("subscription") else "read"
            await under_faults(self._faults, operation, name, lambda: None)
            if pause := self._modes.pause():
                await asyncio.sleep(pause)
            if requires_leader(context):
                await self._refuse_elsewhere(context)
            await self._answer(options, name, context)
        except StreamNotFound:
            response = ReadResp()
            response.stream_not_found.stream_identifier.stream_name = name.encode()
            await context.write(response)
        except StreamDeleted:
            await abort_deleted(context, name)
        except InvalidPosition:
            result = "FilteredReadAllResult" if options.HasField("filter") else "ReadAllResult"
            await abort(context, grpc.StatusCode.UNKNOWN, f"Unexpected {result}: Error")
        except ConsumerTooSlow:
            await abort(context, grpc.StatusCode.ABORTED, f"Operation timed out: {TOO_SLOW}")
        except BadRequest:
            await abort_unexpected(context)
        except Silence:
            await never()
        except Cut as cut:
            await abort_cut(context, cut)

    async def _refuse_elsewhere(self, context: Context) -> None:
        if self._node.leads:
            return
        if self._node.leader is None:
            await abort_not_ready(context)
        await abort_not_leader(context, self._node.leader)

    async def _refuse_invalid(self, options: Options, context: Context) -> None:
        what, count = options.WhichOneof("stream_option"), options.WhichOneof("count_option")
        filtered = options.WhichOneof("filter_option")
        backwards = options.read_direction == Options.Backwards
        if what is None:
            await abort_invalid(context, not_one_of("ReadReq+Types+Options+StreamOptionOneofCase"))
        wrong = count is None or filtered is None
        if wrong or (filtered == "filter" and what == "stream") or (count == "subscription" and backwards):
            direction = "Backwards" if backwards else "Forwards"
            combination = f"({NAMES[what]}, {NAMES[count]}, {direction}, {FILTER_NAMES[filtered]})"
            await abort_invalid(context, f"The combination of {combination} is invalid.")
        if filtered == "filter" and options.filter.WhichOneof("filter") is None:
            await abort_invalid(context, not_one_of("ReadReq+Types+Options+Types+FilterOptions+FilterOneofCase"))
        if filtered == "filter" and options.filter.WhichOneof("window") is None:
            await abort_invalid(context, not_one_of("ReadReq+Types+Options+Types+FilterOptions+WindowOneofCase"))
        if count == "count" and options.count == 0:
            result = "ReadStreamResult" if what == "stream" else "ReadAllResult"
            prefix = "Filtered" if filtered == "filter" else ""
            await abort(context, grpc.StatusCode.UNKNOWN, f"Unexpected {prefix}{result}: Error")

    async def _answer(self, options: Options, name: str, context: Context) -> None:
        as_text = options.uuid_option.HasField("string")
        async for answer in self._answers(options, name):
            if isinstance(answer, ReadResp):
                await context.write(answer)
            else:
                resolved = self._resolve(answer) if options.resolve_links else answer
                is_link = options.resolve_links and answer.type == LINK
                await context.write(read_event(answer, resolved, is_link=is_link, as_text=as_text))

    async def _answers(self, options: Options, name: str) -> AsyncIterator[Record | ReadResp]:
        if options.HasField("subscription"):
            subscription = self._subscription(options, name)
            async for answer in self._subscriptions.run(subscription):
                yield answer
        else:
            for record in self._once(options, name):
                yield record

    def _subscription(self, options: Options, name: str) -> Subscription:
        if options.HasField("stream"):
            after = options.stream.revision if options.stream.WhichOneof("revision_option") == "revision" else None
            return StreamSubscription(self.log, name, after, live=options.stream.HasField("end"))
        position = options.all.position.commit_position if options.all.HasField("position") else None
        live = options.all.HasField("end")
        if not options.HasField("filter"):
            return AllSubscription(self.log, position, everything, 0, live=live)
        chosen = options.filter
        interval = (chosen.max or DEFAULT_WINDOW) * chosen.checkpointIntervalMultiplier
        if not interval:
            raise BadRequest("checkpointIntervalMultiplier")
        window, ahead = chosen.max or DEFAULT_WINDOW, self._modes.checkpoints_ahead
        wanted = wanted_by(chosen)
        return AllSubscription(self.log, position, wanted, interval, live=live, window=window, ahead=ahead)

    def _once(self, options: Options, name: str) -> Iterator[Record]:
        backwards = options.read_direction == Options.Backwards
        if options.HasField("stream"):
            form = options.stream.WhichOneof("revision_option")
            start = 0 if form == "start" else options.stream.revision if form == "revision" else None
            if start is None and not backwards:
                raise BadRequest("there is nothing after the end")
            return self.log.read_stream(name, start, options.count, backwards=backwards)
        return self._of_all(options, backwards=backwards)

    def _of_all(self, options: Options, *, backwards: bool) -> Iterator[Record]:
        form = options.all.WhichOneof("all_option")
        if (form == "end") is not backwards and form != "position":
            return iter(())  # before the first, or after the last
        position = options.all.position.commit_position if form == "position" else None
        wanted = wanted_by(options.filter) if options.HasField("filter") else everything
        found = filter(wanted, self.log.read_all(position, backwards=backwards))
        return (record for record, _ in zip(found, range(options.count), strict=False))

    def _resolve(self, record: Record) -> Record | None:
        """The event that a link names as number@stream."""
        if record.type != LINK:
            return record
        number, _, stream = record.data.decode(errors="replace").partition("@")
        try:
            first = self.log.first_readable(stream)
        except (StreamNotFound, StreamDeleted):
            return None
        records = self.log.streams[stream].records
        return records[int(number)] if number.isdigit() and first <= int(number) < self.log.length(stream) else None
