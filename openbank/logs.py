"""Log lines on standard error: for people, or one JSON object a line.

A line is an event in a few words and named values, given as `extra={"values": {...}}`. No line holds personal data: no
names, addresses, amounts, descriptions or account numbers.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cache
from io import UnsupportedOperation
from typing import TextIO

from openbank.log_writer import LogWriter
from openbank.tracebacks import trace

AUDIT = "openbank.audit"
"""The logger of what callers changed, and what they were denied. Its lines are written whatever the level is."""
FLUSH_SECONDS = 0.05
LINES_MAX = 500

_MILLISECONDS = tuple(f".{number:03d}Z" for number in range(1000))
_PLAIN = re.compile(r"[!#-<>-~]*")
"""Values that are not quoted."""
_PLAIN_BYTES = bytes(code for code in range(128) if _PLAIN.fullmatch(chr(code)))


def configure(level: str, format: str, stream: TextIO | None = None) -> None:
    """Sends all log lines of the process to `stream`, standard error by default."""
    handler = _Handler(stream or sys.stderr, JsonFormatter() if format == "json" else ConsoleFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    # At "debug", libraries log what they send, including personal data.
    root.setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    logging.getLogger("openbank").setLevel(level.upper())
    logging.getLogger(AUDIT).setLevel(logging.INFO)
    # No log line shows these.
    logging.logThreads = False
    logging.logProcesses = False
    logging.logMultiprocessing = False
    logging._srcfile = None
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_ours)


_CALLERS_AFFAIRS = ("Invalid encoding", "ExecuteBatchError raised in core")
"""Metadata that is not UTF-8, none of which belongs in the log; and an answer whose caller has gone."""


def _is_ours(record: logging.LogRecord) -> bool:
    """Whether an error of grpc's is one that an operator must know about."""
    return not str(record.msg).startswith(_CALLERS_AFFAIRS)


def tell(logger: logging.Logger, level: int, message: str, values: Mapping[str, object]) -> None:
    """The same line as `logger.log(level, message, extra={"values": values})`.

    For the line of every call. After `configure`, no LogRecord is made, which would be most of the cost.
    """
    if not logger.isEnabledFor(level):
        return
    handler = logger.root.handlers[0] if len(logger.root.handlers) == 1 else None
    if isinstance(handler, _Handler):
        handler.add(time.time(), level, logger.name, message, values)
    else:
        logger.log(level, message, extra={"values": values})


class _Handler(logging.Handler):
    """Writes the lines of calls within FLUSH_SECONDS together: there is one per call, and a write costs as much as the
    rest of the line. Other lines do not wait, and without an event loop no line does.
    """

    def __init__(self, stream: TextIO | None, formatter: ConsoleFormatter | JsonFormatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._make = formatter.line
        self._lines: list[str] = []
        self._writer = _writer(stream, self._dropped)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.append(self.format(record))
            self._hand_over()
        except Exception:
            self.handleError(record)

    def add(self, created: float, level: int, logger: str, message: str, values: Mapping[str, object]) -> None:
        lines = self._lines
        lines.append(self._make(created, level, logger, message, values))
        if len(lines) >= LINES_MAX:
            self._hand_over()
        elif len(lines) == 1:
            try:
                asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._hand_over)
            except RuntimeError:
                self._hand_over()

    def flush(self) -> None:
        """Waits a moment for all lines to be written, at the end of the process."""
        self._hand_over()
        self._writer.flush()

    def _hand_over(self) -> None:
        with self.lock or nullcontext():
            lines, self._lines = self._lines, []
            if lines:
                self._writer.write(lines)

    def _dropped(self, count: int) -> str:
        values = {"count": count, "reason": "nobody took them for too long"}
        return self._make(time.time(), logging.WARNING, __name__, "log lines were dropped", values)


class _StreamWriter:
    """Writes to a stream that is not a file, and so never blocks."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, lines: Sequence[str]) -> None:
        self._stream.write("\n".join(lines) + "\n")

    def flush(self) -> None:
        self._stream.flush()


def _writer(stream: TextIO | None, dropped: Callable[[int], str]) -> LogWriter | _StreamWriter:
    if stream is None:
        # The process was started without standard error.
        return LogWriter(os.open(os.devnull, os.O_WRONLY), dropped)
    try:
        return LogWriter(stream.fileno(), dropped)
    except UnsupportedOperation:
        return _StreamWriter(stream)


class _Clock:
    """The digits of a time to the second, made once per second, as every call has a line."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def text(self, created: float) -> str:
        """In UTC, with milliseconds."""
        second = int(created)
        if second != self._second:
            self._second, self._text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return self._text + _MILLISECONDS[int((created - second) * 1000)]


def _parts(record: logging.LogRecord) -> tuple[float, int, str, str, Mapping[str, object]]:
    values = record.__dict__.get("values", {})
    message = record.getMessage()
    if record.name == "asyncio":
        # The rest is a task with its exception, whose text may hold anything.
        message = message.partition("\n")[0]
    return record.created, record.levelno, record.name, message, values


def _exception(record: logging.LogRecord) -> str:
    error = record.exc_info[1] if record.exc_info else None
    return trace(error) if error is not None else ""


class ConsoleFormatter(logging.Formatter):
    """2025-01-31T12:30:01.250Z INFO    call method=... code=OK"""

    def __init__(self) -> None:
        super().__init__()
        self._clock = _Clock()

    def line(self, created: float, level: int, logger: str, message: str, values: Mapping[str, object]) -> str:
        return f"{self._clock.text(created)} {_padded(level)} {message}{_pairs(values)}"

    def format(self, record: logging.LogRecord) -> str:
        text = self.line(*_parts(record))
        exception = _exception(record)
        return f"{text}\n{exception}" if exception else text


class JsonFormatter(logging.Formatter):
    """{"time": "2025-01-31T12:30:01.250Z", "level": "info", "message": "call", "method": ...}"""

    def __init__(self) -> None:
        super().__init__()
        self._clock = _Clock()
        self._encode = json.JSONEncoder(default=str).encode

    def line(self, created: float, level: int, logger: str, message: str, values: Mapping[str, object]) -> str:
        return self._encode(self._fields(created, level, logger, message, values))

    def format(self, record: logging.LogRecord) -> str:
        fields = self._fields(*_parts(record))
        if exception := _exception(record):
            fields["exception"] = exception
        return self._encode(fields)

    def _fields(
        self, created: float, level: int, logger: str, message: str, values: Mapping[str, object]
    ) -> dict[str, object]:
        return {
            "time": self._clock.text(created),
            "level": logging.getLevelName(level).lower(),
            "logger": logger,
            "message": message,
            **values,
        }


@cache
def _padded(level: int) -> str:
    return f"{logging.getLevelName(level):<7}"


def _pairs(values: Mapping[str, object]) -> str:
    """name=value, each; a value is quoted where it could be taken for several, or for a line of its own."""
    text = "".join([f" {name}={value}" for name, value in values.items()])
    # Most lines need no quotes. Of those nothing is left without plain characters but the " =" of each pair.
    if text.encode(errors="surrogatepass").translate(None, _PLAIN_BYTES) == b" =" * len(values):
        return text
    return "".join([f" {name}={_quoted(str(value))}" for name, value in values.items()])


def _quoted(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else json.dumps(value)
