"""Log lines on standard error: for people, or one JSON object a line.

A line is an event in a few words and named values, given as `extra={"values": {...}}`. No line holds what a person
told the bank: no names, addresses, amounts, descriptions or account numbers.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Mapping
from typing import TextIO

_PLAIN = re.compile(r"[!#-<>-~]+")


def configure(level: str, format: str, stream: TextIO | None = None) -> None:
    """Sends all log lines of the process to `stream`, standard error by default."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else ConsoleFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # There is a line for every call: nothing is collected for it that no line shows.
    logging.logThreads = False
    logging.logProcesses = False
    logging.logMultiprocessing = False
    logging._srcfile = None


class _Clock:
    """A time's digits to the second, made once a second: every call has a line."""

    def __init__(self, format: str, utc: bool) -> None:
        self._format = format
        self._convert = time.gmtime if utc else time.localtime
        self._second = 0
        self._text = ""

    def text(self, created: float) -> str:
        second = int(created)
        if second != self._second:
            self._second, self._text = second, time.strftime(self._format, self._convert(second))
        return self._text


class ConsoleFormatter(logging.Formatter):
    """12:30:01.250 INFO    call method=... code=OK"""

    def __init__(self) -> None:
        super().__init__()
        self._clock = _Clock("%H:%M:%S", utc=False)

    def format(self, record: logging.LogRecord) -> str:
        clock = self._clock.text(record.created)
        line = f"{clock}.{int(record.msecs):03d} {record.levelname:<7} {record.getMessage()}"
        values = record.__dict__.get("values")
        if values:
            line += _pairs(values)
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """{"time": "2025-01-31T12:30:01.250Z", "level": "info", "message": "call", "method": ...}"""

    def __init__(self) -> None:
        super().__init__()
        self._clock = _Clock("%Y-%m-%dT%H:%M:%S", utc=True)
        self._encode = json.JSONEncoder(default=str).encode

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": f"{self._clock.text(record.created)}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **record.__dict__.get("values", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return self._encode(line)


def _pairs(values: Mapping[str, object]) -> str:
    """name=value, each; a value is quoted where it could be taken for several, or for a line of its own."""
    text = "".join([f" {name}={value}" for name, value in values.items()])
    pairs = len(values)
    if text.count(" ") == pairs and text.count("=") == pairs and '"' not in text and text.isprintable():
        return text
    return "".join([f" {name}={_quoted(str(value))}" for name, value in values.items()])


def _quoted(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else json.dumps(value)
