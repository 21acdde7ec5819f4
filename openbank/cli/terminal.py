"""What is printed on a terminal: text from others made safe, widths, and colours."""

from __future__ import annotations

import os
import unicodedata
from typing import TextIO

BOLD, DIM = "\033[1m", "\033[2m"
STYLES = {"red": "\033[31m", "green": "\033[32m", "yellow": "\033[33m", "cyan": "\033[36m"}
RESET = "\033[0m"

_JOINERS = "\u200c\u200d"
_NO_WIDTH = frozenset({"Mn", "Me", "Cf"})
_ELLIPSIS = "\u2026"


def shown(text: str) -> str:
    """`text` without characters that control a terminal or change the writing direction. Joiners stay: they only shape
    letters."""
    return "".join(one if one.isprintable() or one in _JOINERS else "?" for one in text)


def width(text: str) -> int:
    """How many columns of a terminal `text` takes: East Asian characters take two, marks none."""
    return len(text) if text.isascii() else sum(map(_width, text))


def cut(text: str, columns: int) -> str:
    """`text`, or as much of it as fits into `columns`, with an ellipsis."""
    if width(text) <= columns:
        return text
    left = columns - 1
    for at, one in enumerate(text):
        left -= _width(one)
        if left < 0:
            return text[:at] + _ELLIPSIS
    return text


def is_coloured(stream: TextIO, color: str = "auto") -> bool:
    """Whether to use colours. `auto`: on a terminal, unless NO_COLOR is set (no-color.org)."""
    if color != "auto":
        return color == "always"
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _width(one: str) -> int:
    if unicodedata.category(one) in _NO_WIDTH:
        return 0
    return 2 if unicodedata.east_asian_width(one) in "WF" else 1
