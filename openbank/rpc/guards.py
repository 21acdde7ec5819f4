"""What a call must pass before its method sees it, in the order of GUARDS.

All of it costs in proportion to bytes and counts that the limits here allow, so that no request can hold up the others
for long.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.unknown_fields import UnknownFieldSet  # type: ignore[import-not-found]

from openbank.access.caller import Caller
from openbank.access.gate import Gate
from openbank.domain.errors import InvalidFields, Refused, Violation
from openbank.domain.fields import VIOLATIONS_MAX
from openbank.rpc.call import Call, Method
from openbank.rpc.calls import Calls
from openbank.rpc.errors import Malformed, RequestTooLarge, TooManyMessages

SINGLE_FIELDS_BYTES_MAX = 16 << 10
"""Room for all fields that are not repeated. The largest legal request, RegisterPerson, needs 4.1 KB. With the rest,
a text that is a few times too long is still refused by the name of its field."""
VALUES_MAX = 1_000
"""Values of a repeated field."""
COMMANDS_BYTES_MAX = 500_000
"""For a whole batch: 1,000 bytes for each of its commands."""
VALUE_BYTES = 128
"""Room for each of them. The largest legal one, an id, needs 66."""
FOR_OPERATORS = frozenset({"openbank.operations.v1.QuarantineService"})
"""Services that are not refused when the store does not hold the bank's log: to find out why, and to put it right."""
MESSAGES_MAX = 12_000
"""Messages in one mutation, itself and those nested in it: each is looked at, which takes about a microsecond."""

ReadFailure = Callable[[], Refused]
"""In place of a request that cannot be read: makes the refusal."""
Guard = Callable[[Message | ReadFailure, Call], Awaitable[None] | None]
"""Raises what the call is refused with. What it returns is awaited before the next guard."""


def _is_permitted(method: Method, calls: Calls, gate: Gate | None) -> Guard | None:
    """Finds the caller, counts the call against the caller's limit, and checks its permission.

    It comes first: what a stranger's call costs is nothing more.
    """
    if gate is None:
        return None
    access, admitted = gate, calls.statistics.admitted
    method.is_guarded = True

    def guard(_: Message | ReadFailure, call: Call) -> Awaitable[None] | None:
        caller = access.admit(call)
        if not isinstance(caller, Caller):
            return enter_later(caller, call)
        enter(caller, call)
        return None

    def enter(caller: Caller, call: Call) -> None:
        call.caller = caller
        admitted[caller.name.partition(":")[0]] += 1
        access.rates.count(caller)
        call.admit(caller)

    async def enter_later(caller: Awaitable[Caller], call: Call) -> None:
        enter(await caller, call)

    return guard


def _is_traced(method: Method, calls: Calls, gate: Gate | None) -> Guard | None:
    """Begins the span of a call whose caller is traced."""
    traces = calls.traces
    return None if traces is None else lambda _request, call: call.trace(traces)


def _is_served(method: Method, calls: Calls, gate: Gate | None) -> Guard | None:
    """Refuses new calls during a stop, or when the store does not hold the bank's log any more."""
    if method.is_stream:
        # The feed refuses its watches itself, each with its last token.
        return None
    for_operators = method.service in FOR_OPERATORS
    return lambda _request, _call: calls.refuse(for_operators=for_operators) if calls.refusing else None


def _is_within_limit(method: Method, calls: Calls, gate: Gate | None) -> Guard | None:
    """Counts the call against its group's limit."""
    if method.is_stream:
        # The feed counts its own.
        return None
    group = calls.commands if method.is_mutation else calls.queries
    return lambda _request, _call: calls.enter(group)


def _is_readable(method: Method, calls: Calls, gate: Gate | None) -> Guard | None:
    """Refuses a request that is too large or malformed. From here on it can be named in the log."""

    def guard(request: Message | ReadFailure, call: Call) -> None:
        if not isinstance(request, Message):
            raise request()
        call.request = request

    return guard


def _has_known_fields(method: Method, calls: Calls, gate: Gate | None) -> Guard | None:
    """Refuses a mutation with fields that this version does not know.

    An older server must not do what a newer client meant otherwise: as a dry run, for example.
    """
    if not method.is_mutation:
        return None
    known = KnownFields(method.request)
    return lambda request, _call: known.check(request)


GUARDS = (_is_permitted, _is_traced, _is_served, _is_within_limit, _is_readable, _has_known_fields)
"""Each makes the guard of one method, or None where the method needs none. A new guard is one line here."""


def guards(method: Method, calls: Calls, gate: Gate | None) -> Sequence[Guard]:
    """The guards of one method, in order. Without a gate everybody may call everything."""
    return tuple([guard for make in GUARDS if (guard := make(method, calls, gate)) is not None])


def request_bytes_max(request: Descriptor) -> int:
    """The most bytes that a request of this type may have: more than any legal one."""
    if "commands" in request.fields_by_name:
        return COMMANDS_BYTES_MAX
    repeated = len([field for field in request.fields if field.label == FieldDescriptor.LABEL_REPEATED])
    return SINGLE_FIELDS_BYTES_MAX + repeated * VALUES_MAX * VALUE_BYTES


def reader(request: Descriptor) -> Callable[[bytes], Message | ReadFailure]:
    """Decodes requests. It raises nothing: grpc.aio would answer an exception here with UNKNOWN and its text."""
    decode = GetMessageClass(request).FromString
    bytes_max = request_bytes_max(request)

    def read(data: bytes) -> Message | ReadFailure:
        if len(data) > bytes_max:
            size = len(data)
            return lambda: RequestTooLarge(size, bytes_max)
        try:
            return decode(data)
        except DecodeError:
            return Malformed

    return read


class KnownFields:
    """Finds fields that this version does not know, in a request and in all messages nested in it."""

    def __init__(self, request: Descriptor) -> None:
        self._nested = _nested(request)

    def check(self, request: Any) -> None:
        """Raises InvalidFields with the paths of unknown fields: "amount.4", "labels[2].15"; TooManyMessages."""
        size = request.ByteSize()
        # A nested message takes at least two bytes, so that a request of this size has no more than are allowed.
        if size < 2 * MESSAGES_MAX and size == _size_of_known(request):
            return
        if paths := _unknown_paths(request, self._nested):
            why = "is unknown to this server; the request was rejected rather than partly applied"
            violations = [Violation(path, "UNKNOWN_FIELD", why) for path in paths[:VIOLATIONS_MAX]]
            raise InvalidFields(violations, more=len(paths) - len(violations))


def _size_of_known(request: Any) -> int:
    """The bytes of all fields that this version knows."""
    known = type(request)()
    known.CopyFrom(request)
    known.DiscardUnknownFields()
    size: int = known.ByteSize()
    return size


class _Nested(NamedTuple):
    """The fields of a message whose values are messages, by name, each with the same of its values."""

    single: list[tuple[str, _Nested]]
    repeated: list[tuple[str, _Nested]]


def _nested(message: Descriptor) -> _Nested:
    """No mutation is recursive or has a map. Raises ValueError for a map, whose values nobody would look at."""
    nested = _Nested([], [])
    for field in message.fields:
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            raise ValueError(f"{field.full_name} is a map: use a repeated message")
        fields = nested.repeated if field.label == FieldDescriptor.LABEL_REPEATED else nested.single
        fields.append((field.name, _nested(field.message_type)))
    return nested


def _unknown_paths(request: Any, nested: _Nested) -> list[str]:
    paths: list[str] = []
    messages = [("", request, nested)]
    # The list grows while it is read.
    for path, message, fields in messages:
        unknown = UnknownFieldSet(message)
        if len(unknown):
            # The same field may be there thousands of times.
            numbers = dict.fromkeys([field.field_number for field in unknown])
            paths += [f"{path}{number}" for number in numbers]
        for name, inner in fields.single:
            if message.HasField(name):
                messages.append((f"{path}{name}.", getattr(message, name), inner))
        for name, inner in fields.repeated:
            values = getattr(message, name)
            if not values:
                continue
            if len(messages) + len(values) > MESSAGES_MAX:
                raise TooManyMessages(MESSAGES_MAX)
            messages += [(f"{path}{name}[{index}].", value, inner) for index, value in enumerate(values)]
    return paths
