"""What others have written, as a terminal may be given it."""

from __future__ import annotations

_JOINERS = "\u200c\u200d"


def shown(text: str) -> str:
    """`text` with nothing in it that controls a terminal or changes its direction. Joiners only shape letters."""
    return "".join(one if one.isprintable() or one in _JOINERS else "?" for one in text)
