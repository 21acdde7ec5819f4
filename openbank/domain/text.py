"""What a text may hold, by Unicode's properties.

`unicodedata` does not have Default_Ignorable_Code_Point. By its definition (DerivedCoreProperties.txt) it is format
characters, variation selectors, which are marks, and Other_Default_Ignorable_Code_Point (PropList.txt). Of the last,
what is neither a mark nor a format character is listed here. It is stable: code points reserved for it are in the list.
"""

from __future__ import annotations

import re
import unicodedata

_LINE_BREAK_OR_TAB = re.compile(r"\r\n|[\n\t]")
_CONTROL_OR_SURROGATE = frozenset({"Cc", "Cs"})
_INVISIBLE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Mc", "Me", "Mn", "Zl", "Zp", "Zs"})
"""Control and format characters, spaces, and marks, which only change the character before them."""
_OTHER_DEFAULT_IGNORABLE = re.compile(
    "[\u115f\u1160\u2065\u3164\uffa0\ufff0-\ufff8\U000e0000\U000e0002-\U000e001f\U000e0080-\U000e00ff"
    "\U000e01f0-\U000e0fff]"
)
_BLANK_SYMBOLS = frozenset("\u2800\U0001d159\U00013441\U00013442")
"""Blank by design, which no property says: Braille blank, null notehead, full and half blank of hieroglyphs."""


def is_clean(text: str, *, lines: bool = False) -> bool:
    """Whether text may be stored: no control characters, no lone surrogates. Characters newer than our tables may.

    With `lines` it may have line breaks (LF, CR LF) and tabs.
    """
    if lines:
        text = _LINE_BREAK_OR_TAB.sub("", text)
    return not any(unicodedata.category(character) in _CONTROL_OR_SURROGATE for character in text)


def is_visible(text: str) -> bool:
    """Whether anything of it can be seen. A mark without a character to stand on can't."""
    return any(map(_is_visible, text))


def _is_visible(character: str) -> bool:
    if unicodedata.category(character) in _INVISIBLE_CATEGORIES or character in _BLANK_SYMBOLS:
        return False
    return not _OTHER_DEFAULT_IGNORABLE.match(character)
