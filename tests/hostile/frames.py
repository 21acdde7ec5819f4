"""Hostile connections: HTTP/2 as no client speaks it, byte by byte.

Each is a script of bytes, and ends with a ping: a server that stands firm answers it, or has closed the connection.
Before it comes a health check, which is answered after all else was looked at: streams that gRPC's core has not handed
on when their connection ends, it never frees (docs/hostile-input.md has the figures).
"""

from __future__ import annotations

import asyncio
import gzip
import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from random import Random
from struct import pack
from typing import Any
from urllib.parse import unquote

from grpc import StatusCode
from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from tests.hostile.credentials import Metadata
from tests.hostile.messages import METHODS, Messages
from tests.hostile.values import Values
from tests.hostile.verdict import EXCEPTION_TEXT, Broken, Told, judge

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HANG_SECONDS = 60.0
QUIET_SECONDS = 0.5
"""After the last ping's answer; not all connections are in a state for another."""
LAST_PING = b"the last"
ACCEPTED = b"\0\0\0\0\x02\x08\x01"
"""The answer to a health check: SERVING."""
CODES = {code.value[0]: code for code in StatusCode}
FLOOD = 300
"""Frames of a flood: within what one connection may send before anybody minds, and beyond."""

STREAMS = 20
"""In a flood of streams, unless another number is wanted: gRPC's core leaks for each that is reset before it looks."""

Headers = list[tuple[str | bytes, str | bytes]]


class Connections:
    """Makes scripts, and plays them."""

    def __init__(self, random: Random, values: Values, streams: int = STREAMS, metadata: Metadata = ()) -> None:
        """`metadata` is sent with each request, but where scripts change it."""
        self._random = random
        self._metadata = metadata
        self._messages = Messages(random, values)
        self._streams = streams
        self._scripts: Sequence[Callable[[], Iterator[bytes]]] = (
            self._strange_headers, self._strange_headers, self._strange_timeout, self.never_a_message,
            self._strange_data, self._strange_data, self._compressed, self.rapid_reset, self._pings, self._settings,
            self._windows, self._priorities, self._endless_headers, self.many_streams, self._strange_frames,
            self._wrong_streams, self._strange_compression, self._no_http2, self._noise,
        )  # fmt: skip

    def make(self) -> tuple[str, list[bytes]]:
        """What kind it is, and what is sent."""
        script = self._random.choice(self._scripts)
        return script.__name__.strip("_").replace("_", " "), list(script())

    async def play(self, address: str, kind: str, sent: Sequence[bytes]) -> list[str]:
        """How its streams ended, to be counted. Raises Broken where something is answered that may not be."""
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            async with asyncio.timeout(HANG_SECONDS):
                reading = asyncio.create_task(_received(reader))
                with suppress(OSError):
                    for chunk in sent:
                        writer.write(chunk)
                        await writer.drain()
                    writer.write(self._health_check() + PingFrame(opaque_data=LAST_PING).serialize())
                    await writer.drain()
                    if kind == "noise":
                        # It may have begun a frame that is longer than all that follows, whose end would be waited for.
                        writer.write_eof()
                received = await reading
            return [f"connection: {kind}", *(judge(told) for told in _statuses(received))]
        except TimeoutError:
            raise Broken(f"neither an answer nor an end in {HANG_SECONDS:.0f} s") from None
        finally:
            writer.close()

    def begin(self) -> bytes:
        return PREFACE + SettingsFrame().serialize()

    def headers(self, stream: int, *flags: str, headers: Headers | None = None) -> bytes:
        block = Encoder().encode(self._usual(self._path()) if headers is None else headers, huffman=False)
        return HeadersFrame(stream, block, flags=["END_HEADERS", *flags]).serialize()

    def _usual(self, path: str) -> Headers:
        return [*usual(path), *self._metadata]

    def _path(self) -> str:
        return self._random.choice(METHODS).path

    def message(self, stream: int) -> bytes:
        raw = self._messages.request(self._random.choice(METHODS).descriptor)[:16_000]
        return DataFrame(stream, _framed(raw), flags=["END_STREAM"]).serialize()

    def _health_check(self) -> bytes:
        """On a stream that comes after all others."""
        headers = self.headers(2**31 - 1, headers=usual("/grpc.health.v1.Health/Check"))
        return headers + DataFrame(2**31 - 1, _framed(b""), flags=["END_STREAM"]).serialize()

    def _strange_headers(self) -> Iterator[bytes]:
        """Pseudo headers that are missing, twice or wrong, and values that no header has."""
        headers = self._usual(self._path())
        for _ in range(self._random.randint(1, 3)):
            at = self._random.randrange(len(headers))
            name, value = headers[at]
            strange = self._random.choice(
                (
                    "",
                    " ",
                    "\0",
                    "a\r\nb: c",
                    "\xff\xfe",
                    "/" * 5_000,
                    "GET",
                    "text/html",
                    "application/grpc+json",
                    value,
                )
            )
            change: Headers = self._random.choice(
                (
                    [],
                    [(name, strange)],
                    [(name, value), (name, strange)],
                    [(name, value), ("x-correlation-id", strange)],
                    [(name, value), ("x-bad-bin", "not base64 !!!")],
                    [(name, value), ("grpc-encoding", strange)],
                    [(name, value), ("UPPER", "case")],
                    [(name, value), ("connection", "keep-alive"), ("transfer-encoding", "chunked")],
                    [(name, value), (":unknown", "pseudo")],
                )
            )
            headers[at : at + 1] = change or [("x-nothing", "")]
        yield self.begin()
        yield self.headers(1, headers=headers)
        yield self.message(1)

    def _strange_timeout(self) -> Iterator[bytes]:
        timeout = self._random.choice(("0n", "1n", "1u", "-1S", "99999999H", "999999999S", "abc", "", "1", "S", "1.5S"))
        yield self.begin()
        yield self.headers(1, headers=[*self._usual(self._path()), ("grpc-timeout", timeout)])
        yield self.message(1)

    def never_a_message(self) -> Iterator[bytes]:
        """Streams that are half closed before a message, or never, and left."""
        yield self.begin()
        for number in range(self._random.randint(1, self._streams)):
            ended = ["END_STREAM"] if self._random.random() < 0.5 else []
            yield self.headers(1 + 2 * number, *ended)
            if self._random.random() < 0.3:
                yield RstStreamFrame(1 + 2 * number, error_code=8).serialize()

    def _strange_data(self) -> Iterator[bytes]:
        """Messages whose length lies, flags that nobody knows, padding, data after the end."""
        yield self.begin()
        yield self.headers(1)
        raw = self._messages.request(self._random.choice(METHODS).descriptor)[:9_000]
        strange = self._random.choice(
            (
                pack(">BI", 0, len(raw) + 1) + raw,
                pack(">BI", 0, max(0, len(raw) - 1)) + raw,
                pack(">BI", 0, 2**32 - 1) + raw,
                pack(">BI", 7, len(raw)) + raw,
                pack(">BI", 0, 0) * 3,
                _framed(raw) * 3,
                b"\0\0",
                b"",
                raw,
            )
        )
        half = self._random.randrange(len(strange) + 1)
        yield DataFrame(1, strange[:half]).serialize()
        yield DataFrame(1, b"").serialize() * self._random.choice((0, 1, 200))
        yield DataFrame(1, strange[half:], flags=["END_STREAM", "PADDED"], pad_length=255).serialize()
        if self._random.random() < 0.3:
            yield DataFrame(1, b"more").serialize()

    def _compressed(self) -> Iterator[bytes]:
        """Bytes that are said to be compressed: they are not, or a hundred megabytes come out of them."""
        encoding = self._random.choice(("gzip", "deflate", "identity", "br", ""))
        plain = self._random.choice((b"", b"not compressed", gzip.compress(bytes(1_000)), _bomb()))
        headers = [*self._usual(self._path()), ("grpc-encoding", encoding)]
        yield self.begin()
        yield self.headers(1, headers=headers)
        raw = pack(">BI", 1, len(plain)) + plain
        # Within the window that the server gives at the start; the rest waits for more, in vain.
        for start in range(0, min(len(raw), 60_000), 16_000):
            yield DataFrame(1, raw[start : start + 16_000]).serialize()
        yield DataFrame(1, b"", flags=["END_STREAM"]).serialize()

    def rapid_reset(self) -> Iterator[bytes]:
        yield self.begin()
        for number in range(self._streams):
            stream = 1 + 2 * number
            yield self.headers(stream) + self.message(stream) + RstStreamFrame(stream, error_code=8).serialize()

    def _pings(self) -> Iterator[bytes]:
        yield self.begin()
        yield PingFrame(opaque_data=b"another.").serialize() * self._random.choice((1, 2, 3, FLOOD))

    def _settings(self) -> Iterator[bytes]:
        yield self.begin()
        number, value = self._random.choice(
            ((1, 2**32 - 1), (1, 0), (2, 7), (3, 0), (4, 2**31), (4, 0), (5, 1), (5, 2**24 - 1), (6, 1), (99, 7))
        )
        frame = SettingsFrame(settings={number: value}).serialize()
        yield frame * self._random.choice((1, FLOOD))
        yield self.headers(1) + self.message(1)

    def _windows(self) -> Iterator[bytes]:
        yield self.begin()
        yield self.headers(1)
        stream, more = self._random.choice((0, 1, 3)), self._random.choice((1, 2**31 - 1))
        yield WindowUpdateFrame(stream, window_increment=more).serialize() * self._random.choice((1, 2, FLOOD))
        yield _frame(8, 0, stream, pack(">I", 0))
        yield self.message(1)

    def _priorities(self) -> Iterator[bytes]:
        yield self.begin()
        for number in range(self._random.choice((1, FLOOD))):
            stream = 1 + 2 * number
            yield PriorityFrame(stream, depends_on=stream, stream_weight=255, exclusive=True).serialize()

    def _endless_headers(self) -> Iterator[bytes]:
        """Headers that never end."""
        yield self.begin()
        block = Encoder().encode([*self._usual(self._path()), ("x-long", "y" * 15_000)], huffman=False)
        yield HeadersFrame(1, block[:100]).serialize()
        part = Encoder().encode([("x-more", "z" * self._random.choice((0, 10, 15_000)))], huffman=False)
        for _ in range(self._random.choice((1, 64))):
            yield ContinuationFrame(1, part).serialize()
        if self._random.random() < 0.5:
            yield ContinuationFrame(1, b"", flags=["END_HEADERS"]).serialize()

    def many_streams(self) -> Iterator[bytes]:
        yield self.begin()
        for number in range(self._streams):
            yield self.headers(1 + 2 * number)

    def _strange_frames(self) -> Iterator[bytes]:
        """Frames of unknown types and sizes, and some that only servers send."""
        yield self.begin()
        number, stream = (
            self._random.choice((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 99, 255)),
            self._random.choice((0, 1, 2, 2**31 - 1)),
        )
        yield _frame(
            number, self._random.randrange(256), stream, self._random.randbytes(self._random.choice((0, 3, 8, 99)))
        )
        yield self._random.choice(
            (
                pack(">I", 2**24 - 1)[1:] + bytes(6),
                PushPromiseFrame(1, promised_stream_id=2, data=b"").serialize(),
                GoAwayFrame(0, last_stream_id=0, error_code=0).serialize(),
                b"",
            )
        )
        yield self.headers(1) + self.message(1)

    def _wrong_streams(self) -> Iterator[bytes]:
        """Streams of the server's, of the past, twice, and none."""
        yield self.begin()
        for stream in self._random.choice(((0,), (2,), (5, 3), (1, 1), (2**31 - 1, 1))):
            # Hyperframe knows that there is no such stream.
            yield _frame(1, 4, stream, Encoder().encode(self._usual(self._path()), huffman=False))
            yield _frame(0, 1, stream, _framed(b""))

    def _strange_compression(self) -> Iterator[bytes]:
        """Header blocks that refer to what is not there, grow their table, or expand beyond bounds."""
        right = Encoder().encode(self._usual(self._path()), huffman=False)
        long = b"\x40\x06x-long" + b"\x7f\xa1\x1e" + b"y" * 4_000
        strange = self._random.choice(
            (
                b"\xff\xff\xff\xff\xff\xff\x0f",
                b"\x80",
                b"\xbf\xff\xff\xff\x7f",
                b"\x3f\xff\xff\xff\xff\x0f",
                b"\x3f\xe1\x1f" * 50,
                b"\x00\x85\xff\xff\xff\xff\xff\x81\xff",
                right + long + b"\xbe" * 10_000,
                self._random.randbytes(200),
            )
        )
        yield self.begin()
        yield _frame(1, 4, 1, strange)
        yield self.headers(3) + self.message(3)

    def _no_http2(self) -> Iterator[bytes]:
        yield self._random.choice(
            (
                b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
                b"POST /openbank.accounts.v1.AccountsService/Deposit HTTP/1.1\r\nContent-Length: 99999\r\n\r\n{}",
                bytes.fromhex("16030100050100000100"),
                PREFACE[:10],
                PREFACE,
                PREFACE * 2,
                PREFACE + self.headers(1),
            )
        )

    def _noise(self) -> Iterator[bytes]:
        if self._random.random() < 0.5:
            yield self.begin()
        yield self._random.randbytes(self._random.choice((1, 9, 24, 100, 5_000)))


def usual(path: str) -> Headers:
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]


def _framed(message: bytes) -> bytes:
    """As gRPC has a message in its data."""
    return pack(">BI", 0, len(message)) + message


def _frame(number: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Any frame, also one that hyperframe would not make."""
    return pack(">I", len(payload))[1:] + bytes((number, flags)) + pack(">I", stream) + payload


def _bomb(made: list[bytes] = []) -> bytes:  # noqa: B006 - made once
    if not made:
        made.append(gzip.compress(bytes(50_000_000)))
    return made[0]


async def _received(reader: asyncio.StreamReader) -> bytes:
    """All that the server says until it closes the connection, or has answered the ping and the health check."""
    received = bytearray()
    seconds: float | None = None
    with suppress(ConnectionError, TimeoutError):
        while ACCEPTED not in received or LAST_PING not in received:
            async with asyncio.timeout(seconds):
                chunk = await reader.read(65_536)
            if not chunk:
                break
            received += chunk
            seconds = QUIET_SECONDS if LAST_PING in received else None
    return bytes(received)


def _statuses(received: bytes) -> Iterator[Told]:
    """How streams ended, each by its trailers. Raises Broken where an exception's text is anywhere."""
    decoder = Decoder()
    data = memoryview(received)
    while len(data) >= 9:
        try:
            frame, length = Frame.parse_frame_header(data[:9])
            frame.parse_body(data[9 : 9 + length])
        except HyperframeError:
            return
        data = data[9 + length :]
        if isinstance(frame, GoAwayFrame) and EXCEPTION_TEXT.search(bytes(frame.additional_data).decode("latin-1")):
            raise Broken(f"a connection was closed with {frame.additional_data!r}")
        if not isinstance(frame, HeadersFrame):
            continue
        try:
            headers = dict(decoder.decode(bytes(frame.data)))
        except HPACKError:
            return
        if (told := _told(headers)) is not None:
            yield told


def _told(headers: Mapping[Any, Any]) -> Told | None:
    if "grpc-status" not in headers:
        return None
    number = str(headers["grpc-status"])
    if not re.fullmatch(r"\d+", number) or int(number) not in CODES:
        raise Broken(f"grpc-status {number!r}")
    details = headers.get("grpc-status-details-bin")
    packed = None if details is None else _unpacked(str(details))
    return Told(CODES[int(number)], unquote(str(headers.get("grpc-message", ""))), packed)


def _unpacked(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4))
