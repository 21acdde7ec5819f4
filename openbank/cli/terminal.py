"""Makes text from others safe to print on a terminal."""

from __future__ import annotations

_JOINERS = "\u200c\u200d"


def shown(text: str) -> str:
    """`text` without characters that control a terminal or change the writing direction. Joiners stay: they only shape
    letters."""
    return "".join(one if one.isprintable() or one in _JOINERS else "?" for one in text)
