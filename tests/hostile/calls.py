"""Hostile calls by an ordinary client: their bytes, their metadata, their deadlines, and how they are left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from random import Random
from typing import Any, NamedTuple

import grpc
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from tests.hostile.credentials import OPEN, Attempt, Credentials, Metadata
from tests.hostile.messages import METHODS, Messages, Method
from tests.hostile.values import STRANGE_TEXTS, Values
from tests.hostile.verdict import EXCEPTION_TEXT, Broken, Told, judge

HANG_SECONDS = 60.0
"""A call that takes so long hangs. The longest that the bank takes by itself is 5 s, for a token far ahead."""
SHOWN = 1_000
"""Bytes of a request that a failure prints."""
ANSWERS_MAX = 3
"""Messages that are read from a watch before it is left."""
QUIET_SECONDS = 0.02
"""A watch that has nothing more for this long is left."""
LARGE_PART = 0.01
"""The part of the calls that have a request of up to 1 MiB, refused for its size or for what is in it."""
OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.use_local_subchannel_pool", 1),
)


class Call(NamedTuple):
    """One call: what is sent, and how it is left alone."""

    method: Method
    requests: Sequence[bytes]
    metadata: Metadata = ()
    """Beside that of `attempt`."""
    deadline_seconds: float | None = None
    """None waits for the answer, however long it takes: longer than HANG_SECONDS it may not."""
    cancel_seconds: float | None = None
    attempt: Attempt = OPEN

    @property
    def one_each(self) -> bool:
        """Whether it sends one request, as clients do. As a stream it may send any number, and see all answers."""
        return len(self.requests) == 1 and not self.method.many_requests

    def __str__(self) -> str:
        sent = [raw if len(raw) < SHOWN else raw[:SHOWN] + b"..." for raw in self.requests]
        metadata = [
            (key, value if len(value) < 200 else f"{len(value)} of {value[:1]!r}") for key, value in self.metadata
        ]
        how = f"{self.deadline_seconds} {self.cancel_seconds} {self.attempt}"
        return f"{self.method.path} {sent[:3]} {metadata} {how}"


class Calls:
    """Makes calls, and makes them on some channels in turn."""

    def __init__(self, random: Random, values: Values, credentials: Credentials | None = None) -> None:
        """Without `credentials` for a bank without an access file."""
        self._random = random
        self._values = values
        self._credentials = credentials
        self._messages = Messages(random, values)
        self._weights = [1 if method.many_answers or "grpc." in method.path else 5 for method in METHODS]

    def make(self) -> Call:
        [method] = self._random.choices(METHODS, self._weights)
        attempt = OPEN if self._credentials is None else self._credentials.choose()
        call = Call(method, [self._messages.request(method.descriptor)], attempt=attempt)
        kind = self._random.random()
        if kind < 0.06:
            return call._replace(metadata=self._metadata())
        if kind < 0.10:
            return call._replace(deadline_seconds=self._random.choice((0, -1, 1e-9, 1e-4, 1e-3, 5e-3, 0.02)))
        if kind < 0.14:
            return call._replace(cancel_seconds=self._random.choice((0, 1e-4, 1e-3, 5e-3, self._random.random() / 50)))
        if kind < 0.16:
            # Nothing is said, and no more will be: such a call is left at its deadline.
            return call._replace(requests=(), deadline_seconds=0.05)
        if kind < 0.18:
            more = [self._messages.request(method.descriptor) for _ in range(self._random.randint(1, 5))]
            return call._replace(requests=[*call.requests, *more])
        if kind < 0.182:
            filler = bytes(self._random.choice((2**20 - 10, 2**20, 2**20 + 1, 5 * 2**20)))
            return call._replace(requests=[call.requests[0] + b"\x7a" + filler])
        if kind < 0.182 + LARGE_PART and not method.many_requests:
            return call._replace(requests=[self._messages.large(method.descriptor)])
        return call

    def _metadata(self) -> Metadata:
        text = self._random.choice(("", " ", "x", "x" * 128, "x" * 129, "~!{}", "%0d%0a", "a,b", "é".encode().hex()))
        some: list[tuple[str, str | bytes]] = [
            ("x-correlation-id", text),
            ("x-correlation-id-bin", self._random.randbytes(20)),
            ("grpc-previous-rpc-attempts", "9" * self._random.randint(1, 30)),
            ("grpc-trace-bin", self._random.randbytes(self._random.randint(0, 40))),
            ("traceparent", self._random.choice(("00-" + "0" * 32 + "-" + "0" * 16 + "-00", "ff", "-"))),
            ("x-actor", "key:root"),
            ("user-agent", "sqlmap"),
            ("x-long", "y" * self._random.choice((0, 100, 4_000, 9_000, 20_000))),
            ("x-long-bin", bytes(self._random.choice((0, 100, 4_000, 9_000)))),
            ("x-text-bin", self._random.choice(STRANGE_TEXTS).encode()),
        ]
        some += [(f"x-{number}", "z") for number in range(self._random.choice((0, 0, 10, 300)))]
        return self._random.sample(some, self._random.randint(1, len(some)))

    async def send(self, channel: grpc.aio.Channel, call: Call) -> str:
        """How it ended, to be counted. Raises Broken where it ended as no call may."""
        told, answers = await self.answers(channel, call)
        try:
            ended = _left(call, told) or judge(told)
            call.attempt.check(call.method.path, ended)
            for answer in answers:
                self._take(call, answer)
        except Broken as broken:
            raise Broken(f"{broken}\nto {call}") from None
        return ended

    async def answers(self, channel: grpc.aio.Channel, call: Call) -> tuple[Told, list[bytes]]:
        """How it ended, and its responses. Raises Broken where it does not end, or shows a secret."""
        try:
            async with asyncio.timeout(HANG_SECONDS):
                told, answers = await _send(channel, call)
        except TimeoutError:
            raise Broken(f"no answer in {HANG_SECONDS:.0f} s to {call}") from None
        if self._credentials is not None:
            for shown in (told.message.encode(), told.details or b"", *answers):
                self._credentials.check_for_secrets(shown, f"the answer to {call}")
        return told, answers

    def _take(self, call: Call, raw: bytes) -> None:
        method = call.method
        answer: Message = GetMessageClass(method.descriptor.output_type)()
        try:
            answer.ParseFromString(raw)
        except DecodeError:
            raise Broken(f"an answer that is none: {raw!r}") from None
        if "openbank" in method.path:
            # What a customer is answered is its own, and it asks for what is not.
            if call.attempt.is_full:
                self._values.learn(answer)
        elif EXCEPTION_TEXT.search(getattr(getattr(answer, "error_response", None), "error_message", "")):
            raise Broken(str(answer))


def _left(call: Call, told: Told) -> str:
    """What a client that has given up gets from its own library."""
    if told.details is not None:
        return ""
    given_up = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
    if call.deadline_seconds is not None and told.code in given_up:
        return "left at its deadline"
    if told.code is grpc.StatusCode.CANCELLED and (call.cancel_seconds is not None or call.method.many_answers):
        return "cancelled"
    if not call.one_each and told.message == "Internal error from Core":
        return "ended before all was sent, as the client's own library has it"
    return ""


async def _send(channel: Any, call: Call) -> tuple[Told, list[bytes]]:
    method = call.method
    shape = ("unary_stream" if method.many_answers else "unary_unary") if call.one_each else "stream_stream"
    multi = getattr(channel, shape)(method.path)
    sent = call.requests[0] if call.one_each else _each(call.requests)
    answers: list[bytes] = []
    try:
        running = multi(sent, metadata=(*call.attempt.metadata, *call.metadata), timeout=call.deadline_seconds)
        if call.cancel_seconds is not None:
            asyncio.get_running_loop().call_later(call.cancel_seconds, running.cancel)
        if shape == "unary_unary":
            answers.append(await running)
        else:
            await _read(running, answers)
    except grpc.aio.AioRpcError as error:
        trailing = dict(tuple(error.trailing_metadata() or ()))
        details = trailing.get("grpc-status-details-bin")
        return Told(error.code(), error.details() or "", details if isinstance(details, bytes) else None), answers
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return Told(grpc.StatusCode.CANCELLED), answers
    return Told(grpc.StatusCode.OK), answers


async def _read(running: Any, answers: list[bytes]) -> None:
    """The first answer, and what is there beside it."""
    seconds: float | None = None
    try:
        while len(answers) < ANSWERS_MAX:
            async with asyncio.timeout(seconds):
                answer = await running.read()
            if answer is grpc.aio.EOF:
                return
            answers.append(answer)
            seconds = QUIET_SECONDS
    except TimeoutError:
        pass
    running.cancel()


async def _each(requests: Sequence[bytes]) -> AsyncIterator[bytes]:
    for request in requests:
        yield request
