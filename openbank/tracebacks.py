"""Tracebacks for logs: where an exception came from, without what it quotes."""

from __future__ import annotations

import traceback

OURS = "openbank."


def trace(error: BaseException) -> str:
    """The traceback, with causes. Only exceptions of this project say their message: those of drivers and codecs quote
    what they were given, which may be a person's data or a password.
    """
    return "\n".join(_lines(error, set()))


def _lines(error: BaseException, seen: set[int]) -> list[str]:
    seen.add(id(error))
    lines = []
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None and id(cause) not in seen:
        lines += [*_lines(cause, seen), "which led to:"]
    if error.__traceback__ is not None:
        lines.append("Traceback (most recent call last):")
        lines += "".join(traceback.format_tb(error.__traceback__)).splitlines()
    lines.append(_name(error))
    if isinstance(error, BaseExceptionGroup):
        for number, part in enumerate(error.exceptions, 1):
            lines += [f"of which part {number}:", *_lines(part, seen)]
    return lines


def _name(error: BaseException) -> str:
    kind = type(error)
    if not kind.__module__.startswith(OURS) or isinstance(error, BaseExceptionGroup):
        return f"{kind.__module__}.{kind.__qualname__}" if kind.__module__ != "builtins" else kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}: {error}"
