"""Calls with one thing in them that must not work: somebody else's resource, or a damaged token of the bank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

import grpc
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from openbank.access.roles import ROLES
from tests.access.forging import change
from tests.hostile.calls import Call, Calls
from tests.hostile.credentials import ACCOUNT, PERMISSIONS, Credentials
from tests.hostile.messages import METHODS, Messages, Method, field
from tests.hostile.values import Values
from tests.hostile.verdict import Broken, Told, judge

TOKENS = ("consistency_token", "resume_token", "page_token")
OWN = ("account_id", "source_account_id")
LENGTH_MIN = 8
"""The length of an id, so that a random one of the same length does not exist."""


class _Named(NamedTuple):
    """A method, and the field of its request that names what it is about."""

    method: Method
    field: FieldDescriptor


class Probes:
    def __init__(self, random: Random, values: Values, calls: Calls, credentials: Credentials) -> None:
        self._random = random
        self._values = values
        self._calls = calls
        self._credentials = credentials
        self._messages = Messages(random, values)
        ids: Mapping[str, Sequence[str]] = {
            **dict.fromkeys(("account_id", "source_account_id", "account_ids"), values.accounts),
            **dict.fromkeys(("person_id", "owner_id", "person_ids", "owner_ids"), values.persons),
            "hold_id": values.holds,
            "transfer_id": values.transfers,
            "account_number": values.numbers,
        }
        self._ids = ids
        of_customers = [one for one in METHODS if PERMISSIONS.get(one.path) in ROLES["customer"].permissions]
        self._about = [_Named(*each) for each in _fields(of_customers, ids)]
        self._with_tokens = [_Named(*each) for each in _fields(METHODS, TOKENS)]

    async def ask(self, channel: grpc.aio.Channel) -> str:
        """How it ended, to be counted. Raises Broken where a caller learns what it must not."""
        return await (self._somebody_elses if self._random.random() < 0.5 else self._damaged)(channel)

    async def _somebody_elses(self, channel: grpc.aio.Channel) -> str:
        """A customer asks for what there is, and then for what there is not: the answers are alike."""
        method, named = self._random.choice(self._about)
        theirs = self._random.choice([one for one in self._ids[named.name] if len(one) >= LENGTH_MIN] or [""])
        if not theirs:
            return "nothing to ask for yet"
        base = self._messages.right(method.descriptor) + _start(method)
        for name in (*TOKENS, *OWN):
            if (other := method.descriptor.input_type.fields_by_name.get(name)) is not None and other is not named:
                base += field(other.number, ACCOUNT.encode() if name in OWN else b"")
        missing, seen = self._missing(theirs), []
        request = base + field(named.number, theirs.encode())
        for id in (theirs, missing):
            # It may be in other fields too, such as the payee; both ids have one length.
            sent = request.replace(theirs.encode(), id.encode())
            metadata = (*self._credentials.customer.metadata, ("x-correlation-id", "probe"))
            call = Call(method, [sent], metadata)
            told, answers = await self._calls.answers(channel, call)
            seen.append(_seen(method, told, answers, id))
        if seen[0] != seen[1]:
            raise Broken(
                f"{seen[0]} for somebody else's {named.full_name} {theirs!r}, and {seen[1]} for none: {request!r}"
            )
        return "somebody else's is as if it were not there"

    def _missing(self, like: str) -> str:
        """An id of the same form that nothing has."""
        number = self._random.getrandbits(128)
        try:
            UUID(like)
        except ValueError:
            return f"n-{number:0{len(like)}x}"[: len(like)]
        return str(UUID(int=number))

    async def _damaged(self, channel: grpc.aio.Channel) -> str:
        method, named = self._random.choice(self._with_tokens)
        known = self._values.page_tokens if named.name == "page_token" else self._values.tokens
        token = changed = self._random.choice(known)
        if not token:
            return "no token to damage yet"
        while not changed or changed in known:
            changed = change(token, self._random, known[1:])
        request = self._messages.right(method.descriptor) + field(named.number, changed.encode())
        call = Call(method, [request], attempt=self._credentials.full())
        told, _ = await self._calls.answers(channel, call)
        if judge(told) == "OK":
            raise Broken(f"OK for the damaged {named.full_name} {changed!r} of {token!r}")
        why = "it" if named.name.encode() in (told.details or b"") else "something else"
        return f"damaged token refused for {why}"


def _fields(methods: Sequence[Method], names: Any) -> list[tuple[Method, FieldDescriptor]]:
    return [(method, one) for method in methods for one in method.descriptor.input_type.fields if one.name in names]


def _start(method: Method) -> bytes:
    """So that a watch ends by itself."""
    fields = method.descriptor.input_type.fields_by_name
    if "beginning" not in fields:
        return b""
    return field(fields["beginning"].number, b"") + bytes([fields["stop_when_caught_up"].number << 3, 1])


def _seen(method: Method, told: Told, answers: Sequence[bytes], id: str) -> object:
    """What a caller sees of an answer, but for the id that it has sent itself, and for the time of the answer."""

    def without(text: bytes) -> bytes:
        return text.replace(id.encode(), b"").replace(id.upper().encode(), b"")

    if told.code is not grpc.StatusCode.OK:
        return told.code, without(told.message.encode()), without(told.details or b"")
    seen: set[bytes] = set()
    for raw in answers:
        answer: Any = GetMessageClass(method.descriptor.output_type)()
        answer.ParseFromString(raw)
        if method.many_answers:
            # Two watches may have another number of answers, by chance; neither has anything in them.
            seen.update(event.SerializeToString() for event in answer.events)
            continue
        for name in ("consistency_token", "next_page_token"):
            if name in answer.DESCRIPTOR.fields_by_name:
                answer.ClearField(name)
        seen.add(without(answer.SerializeToString()))
    return seen
