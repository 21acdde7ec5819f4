"""Watches: what all feeds share, between the contract's messages and `feeds.watch`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import grpc

from openbank.access.errors import PermissionMissing, TokenExpired, TokenInvalid, TokenMissing
from openbank.access.gate import Gate
from openbank.accounts.v1.accounts_service_pb2 import WatchAccountEventsResponse
from openbank.common.v1 import feed_pb2
from openbank.domain.fields import Fields
from openbank.eventstore.errors import PositionOutOfRange
from openbank.eventstore.port import BEGINNING, LogPosition, RecordedEvent
from openbank.eventstore.streams import ACCOUNT, PERSON
from openbank.eventstore.token import Tokens
from openbank.feeds.errors import ServerDraining, SlowConsumer
from openbank.feeds.feed import Feed
from openbank.feeds.filter import Filter, Form
from openbank.feeds.message import FeedMessage, Signal
from openbank.feeds.watch import After, Live, Since, Start, watch
from openbank.following.entry import Entry
from openbank.integration.v1.integration_events_service_pb2 import WatchCloudEventsResponse
from openbank.persons.v1.persons_service_pb2 import WatchPersonEventsResponse
from openbank.publishing.cloudevent import fill_protobuf
from openbank.publishing.events import cloud_event
from openbank.rpc.call import Call
from openbank.rpc.convert.accounts import encode_account_event
from openbank.rpc.convert.persons import encode_person_event
from openbank.rpc.convert.values import fill_time, read_position, read_time
from openbank.rpc.errors import failure_of
from openbank.rpc.rights import right_of
from openbank.rpc.statistics import CAUGHT_UP, CLIENT_LEFT
from openbank.tracing.span import current

FILTER_VALUES_MAX = 1_000
HEARTBEAT_SECONDS_MIN = 1
HEARTBEAT_SECONDS_MAX = 300
_AS_OF_MICROSECONDS = 100_000
"""How much too early the `as_of_time` of a message may be, so that one encoding serves many watches."""

_SIGNALS = {
    Signal.EVENTS: feed_pb2.FEED_SIGNAL_EVENTS,
    Signal.CONFIRMED: feed_pb2.FEED_SIGNAL_CONFIRMED,
    Signal.HEARTBEAT: feed_pb2.FEED_SIGNAL_HEARTBEAT,
    Signal.CLOSING: feed_pb2.FEED_SIGNAL_CLOSING,
}

RIGHT_ENDED = (TokenMissing, TokenInvalid, TokenExpired, PermissionMissing)
"""What ends a watch whose caller may not continue it."""

FeedResponse = WatchAccountEventsResponse | WatchPersonEventsResponse | WatchCloudEventsResponse
Value = TypeVar("Value")


class Watches:
    """The process's feed, as watches reach it from the network."""

    def __init__(self, feed: Feed, tokens: Tokens, ends: Counter[str], gate: Gate | None = None) -> None:
        """`ends` counts how watches end, by cause: CAUGHT_UP, CLIENT_LEFT, or the reason of an error."""
        self._feed = feed
        self._tokens = tokens
        self._ends = ends
        self._gate = gate
        if gate is not None:
            # Watches look whether they may continue.
            gate.on_change = feed.pages.wake

    async def read_start(self, fields: Fields, request: Any, call: Call) -> Start:
        match request.WhichOneof("start"):
            case "beginning":
                return After(BEGINNING)
            case "live":
                return Live()
            case "time":
                return Since(read_time(fields, "time", request.time))
            case "resume_token" if request.resume_token:
                position = await read_position(fields, "resume_token", request.resume_token, self._tokens, call)
                return After(position or BEGINNING)
        # Also a member of a newer contract, which looks unset here.
        ways = "must be beginning {}, a resume_token that is not empty, live {}, or a time"
        fields.refuse("start", "FEED_START_REQUIRED", ways)
        return Live()

    async def watch(
        self,
        call: Call,
        start: Start,
        filter: Filter,
        stop_when_caught_up: bool,
        heartbeat_seconds: float | None,
        response_class: type[FeedResponse],
        write: Callable[[bytes], Awaitable[None]],
    ) -> None:
        """Sends responses until the watch ends. Raises `Refused` for an end that is an error."""
        last_time = 0
        last_position: LogPosition | None = None
        if call.owner is not None:
            filter = filter.of(call.owner)
        opening = current.get()

        async def send(message: FeedMessage) -> None:
            nonlocal last_time, last_position, opening
            # Many watches send the same at about the same time: it is encoded once.
            key = (response_class, message.caught_up)
            as_of_time = message.as_of_time or 0
            encoded, time = message.kept.get(key, (b"", -1))
            if not last_time <= time <= as_of_time <= time + _AS_OF_MICROSECONDS:
                token = self._tokens.encode(message.position)
                encoded = message.encoded + _envelope(response_class(), message, token)
                time = as_of_time
                message.kept[key] = (encoded, time)
            await write(encoded)
            last_time, last_position = time, message.position
            if opening is not None:
                opening.end("OK")
                opening = None

        cause = CLIENT_LEFT
        try:
            with self._counted(call):
                right = right_of(self._gate, call)
                await watch(self._feed, start, filter, stop_when_caught_up, send, heartbeat_seconds, right)
            cause = CAUGHT_UP
        except grpc.aio.BaseError:
            # A write that fails because the client has gone.
            raise
        except Exception as error:
            cause = _reason(error)
            self._add_tokens(error, last_position)
            raise
        finally:
            self._ends[cause] += 1

    def _counted(self, call: Call) -> AbstractContextManager[None]:
        """Counts the watch among those of its caller. Raises RateLimited."""
        if self._gate is None or call.caller is None:
            return nullcontext()
        return self._gate.rates.watching(call.caller)

    def _add_tokens(self, error: Exception, last: LogPosition | None) -> None:
        """Tells a client from where it can watch again. `last` is the place of the last response."""
        if isinstance(error, PositionOutOfRange):
            error.metadata["earliestToken"] = self._tokens.encode(BEGINNING)
        elif isinstance(error, ServerDraining | SlowConsumer) and error.position is not None:
            error.metadata["resumeToken"] = self._tokens.encode(error.position)
        elif isinstance(error, RIGHT_ENDED) and last is not None:
            error.metadata["resumeToken"] = self._tokens.encode(last)


def _reason(error: Exception) -> str:
    failure = failure_of(error, None)
    return failure.reason if failure else "INTERNAL"


def read_heartbeat(fields: Fields, request: Any) -> float | None:
    """How often the client wants heartbeats, in seconds; None where it leaves that to the server."""
    if not request.HasField("heartbeat_interval"):
        return None
    interval = request.heartbeat_interval
    seconds = float(interval.seconds + interval.nanos / 1e9)
    if not (0 <= interval.nanos < 1e9 and HEARTBEAT_SECONDS_MIN <= seconds <= HEARTBEAT_SECONDS_MAX):
        text = f"must be {HEARTBEAT_SECONDS_MIN} to {HEARTBEAT_SECONDS_MAX} seconds"
        fields.refuse("heartbeat_interval", "INVALID_HEARTBEAT_INTERVAL", text)
    return seconds


def read_filter_values(fields: Fields, path: str, values: Sequence[Value]) -> Sequence[Value]:
    """The values of one filter, none of them where there are too many."""
    if len(values) > FILTER_VALUES_MAX:
        text = f"has {len(values)} values, at most {FILTER_VALUES_MAX} are allowed"
        fields.refuse(path, "TOO_MANY_FILTERS", text, maxCount=str(FILTER_VALUES_MAX))
        return ()
    return values


def read_filter_ids(fields: Fields, path: str, ids: Sequence[str]) -> frozenset[str]:
    some = read_filter_values(fields, path, ids)
    return frozenset(fields.identifier(f"{path}[{index}]", id) for index, id in enumerate(some))


def encode(entry: Entry, form: Form) -> bytes:
    """An event, or the word that an aggregate is quarantined, as it stands in a response that has nothing else.

    Encoded messages that follow one another are one message, so a response is its events' bytes and an envelope.
    """
    if entry.notice:
        return _encode_notice(entry)
    if form is Form.CLOUD_EVENT:
        return _encode_cloud_event(entry.event)
    return _ENCODE[entry.category](entry.event, form is Form.EVENT_WITH_ACTOR)


_ENCODE: dict[str, Callable[[RecordedEvent, bool], bytes]] = {
    ACCOUNT: encode_account_event,
    PERSON: encode_person_event,
}
"""By the category of the event's stream."""


def _encode_notice(entry: Entry) -> bytes:
    """The field has one number in the responses of all feeds."""
    response = WatchAccountEventsResponse()
    if entry.aside:
        response.quarantined.add(aggregate=entry.event.stream, revision=entry.aside.revision, reason=entry.aside.reason)
    return response.SerializeToString()


def _encode_cloud_event(event: RecordedEvent) -> bytes:
    response = WatchCloudEventsResponse()
    published = cloud_event(event)
    # The filter lets nothing else through.
    if published is not None:
        fill_protobuf(response.events.add(), published)
    return response.SerializeToString()


def _envelope(response: FeedResponse, message: FeedMessage, token: str) -> bytes:
    response.resume_token = token
    response.signal = _SIGNALS[message.signal]
    response.caught_up = message.caught_up
    if message.as_of_time is not None:
        fill_time(response.as_of_time, message.as_of_time)
    return response.SerializeToString()


def event_form(call: Call) -> Form:
    """The form in which a call may see events."""
    return Form.EVENT_WITH_ACTOR if call.shows_actors else Form.EVENT
