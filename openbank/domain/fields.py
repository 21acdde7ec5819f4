"""What a field may hold: the documented limits, and a collector that finds everything wrong with a request at once."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from datetime import date

from openbank.domain.errors import InvalidFields, Violation
from openbank.domain.request import Request
from openbank.domain.tags import Label
from openbank.domain.text import is_clean, is_visible

ID_LENGTH_MAX = 64
ACCOUNT_NUMBER_LENGTH_MAX = 34
"""The length of the longest IBAN, without spaces and hyphens. In code points, like every length here."""
ACCOUNT_NUMBER_WRITTEN_LENGTH_MAX = 136
"""With spaces and hyphens: three of them after each of the others."""
NAME_LENGTH_MAX = 100
NATIONALITY_LENGTH_MAX = 100
STREET_LENGTH_MAX = 200
CITY_LENGTH_MAX = 100
POSTAL_CODE_LENGTH_MAX = 20
COUNTRY_LENGTH_MAX = 100
EMAIL_LENGTH_MAX = 254
DESCRIPTION_LENGTH_MAX = 500
EXTERNAL_REFERENCE_LENGTH_MAX = 64
LABELS_MAX = 16
LABEL_VALUE_LENGTH_MAX = 256

VIOLATIONS_MAX = 100
"""Violations kept for one request; more are only counted."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LABEL_KEY = re.compile(r"[a-z0-9_.-]{1,64}")
_SPACE = re.compile("[\t\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
"""A tab, and Unicode's space separators but for the space itself."""
_HYPHEN = re.compile("[\u2010\u2011]")
"""The hyphen, and the one at which no line breaks."""
_ACCOUNT_NUMBER = re.compile(r"[ -]*[A-Za-z0-9][A-Za-z0-9 -]*")


class Fields:
    """Reads one request's fields and keeps what is wrong with them.

    Every method returns a value to continue with, even for a wrong field: `check` is where a query ends, `settle`
    where a command does.
    """

    def __init__(self) -> None:
        self.violations: list[Violation] = []
        self.more = 0
        """Violations beyond VIOLATIONS_MAX."""
        self.readable = True
        """Whether what was read is all that was sent, whatever rules it breaks."""

    def refuse(self, field: str, reason: str, message: str, **metadata: str) -> None:
        """The value breaks a rule, and rules, tables and clocks change: an earlier request may have had it."""
        if len(self.violations) < VIOLATIONS_MAX:
            self.violations.append(Violation(field, reason, message, metadata))
        else:
            self.more += 1

    def unreadable(self, field: str, reason: str, message: str, **metadata: str) -> None:
        """There is no such value: no request that was ever acknowledged can have had it."""
        self.refuse(field, reason, message, **metadata)
        self.readable = False

    def check(self) -> None:
        """Raises InvalidFields with the violations found so far, if there is one."""
        if self.violations:
            raise InvalidFields(self.violations, self.more)

    def settle(self, request: Request) -> Request:
        """The request, to be refused with every violation unless it repeats one that was acknowledged.

        Raises InvalidFields at once where it cannot be such a repetition.
        """
        if not self.violations:
            return request
        if not (request.id and self.readable):
            self.check()
        return request._replace(violations=lambda _: self.violations)

    def text(self, field: str, value: str, length_max: int, *, required: bool = False, lines: bool = False) -> str:
        """Text as it came, trimmed at its ends. With `lines` it may have line breaks and tabs."""
        text = value.strip()
        if not text:
            if required:
                self.refuse(field, "FIELD_REQUIRED", "is required")
            return ""
        if len(text) > length_max:
            self._too_long(field, text, length_max)
        elif text.isascii() and text.isprintable():
            # Clean and, as it does not end in a space, visible. Most texts need no other look.
            return text
        elif not is_clean(text, lines=lines):
            self.refuse(field, "INVALID_TEXT", "has a control character")
        elif not is_visible(text):
            self.refuse(field, "FIELD_REQUIRED" if required else "INVALID_TEXT", "has no visible character")
        return text

    def identifier(self, field: str, value: str, *, required: bool = True) -> str:
        if not value:
            if required:
                self.unreadable(field, "FIELD_REQUIRED", "is required")
        elif not _ID.fullmatch(value):
            self.unreadable(field, "INVALID_ID", f"must be 1 to {ID_LENGTH_MAX} of A-Z a-z 0-9 _ -")
        return value

    def account_number(self, field: str, value: str) -> str:
        """As it came, trimmed at its ends; spaces and hyphens of every kind as those of ASCII."""
        number = _HYPHEN.sub("-", _SPACE.sub(" ", value.strip()))
        if not number:
            self.refuse(field, "FIELD_REQUIRED", "is required")
        elif len(key := account_number_key(number)) > ACCOUNT_NUMBER_LENGTH_MAX:
            self._too_long(field, key, ACCOUNT_NUMBER_LENGTH_MAX)
        elif len(number) > ACCOUNT_NUMBER_WRITTEN_LENGTH_MAX:
            self._too_long(field, number, ACCOUNT_NUMBER_WRITTEN_LENGTH_MAX)
        elif not _ACCOUNT_NUMBER.fullmatch(number):
            self.refuse(
                field,
                "INVALID_ACCOUNT_NUMBER",
                "must have a letter or digit, and may have nothing but ASCII letters, digits, spaces and hyphens",
            )
        return number

    def labels(self, field: str, labels: Sequence[tuple[str, str]]) -> Sequence[Label]:
        """From pairs of key and value, in their order."""
        if len(labels) > LABELS_MAX:
            message = f"has {len(labels)} values, at most {LABELS_MAX} are allowed"
            self.unreadable(field, "TOO_MANY_VALUES", message, count=str(len(labels)), maxCount=str(LABELS_MAX))
            return ()
        earlier: set[str] = set()
        read: list[Label] = []
        for index, (key, value) in enumerate(labels):
            self._label_key(f"{field}[{index}].key", key, earlier)
            earlier.add(key)
            read.append(Label(key, self.text(f"{field}[{index}].value", value, LABEL_VALUE_LENGTH_MAX)))
        return tuple(read)

    def label(self, field: str, label: Label) -> Label:
        """One that is looked for."""
        self._label_key(f"{field}.key", label.key, ())
        return Label(label.key, self.text(f"{field}.value", label.value, LABEL_VALUE_LENGTH_MAX))

    def _label_key(self, field: str, key: str, earlier: Collection[str]) -> None:
        if not key:
            self.refuse(field, "FIELD_REQUIRED", "is required")
        elif not _LABEL_KEY.fullmatch(key):
            self.refuse(field, "INVALID_LABEL", "must be 1 to 64 of a-z 0-9 _ . -")
        elif key in earlier:
            self.refuse(field, "INVALID_LABEL", "is the key of an earlier label")

    def past_date(self, field: str, value: date | None, today: date) -> date:
        """A date before `today`. None, for a date that was not given or could not be read, is refused by the reader."""
        if value is not None and value >= today:
            day = today.isoformat()
            self.refuse(field, "DATE_NOT_IN_PAST", f"must be before today, {day}", today=day)
        return value if value is not None else today

    def _too_long(self, field: str, text: str, length_max: int) -> None:
        message = f"has {len(text)} characters, at most {length_max} are allowed"
        self.refuse(field, "FIELD_TOO_LONG", message, length=str(len(text)), maxLength=str(length_max))


def account_number_key(number: str) -> str:
    """What account numbers are compared by: without spaces, hyphens and case."""
    return account_number_with_hyphens(number).replace("-", "")


def account_number_with_hyphens(number: str) -> str:
    """Without spaces and case. Earlier versions compared numbers by it, so two accounts may have one key."""
    return number.replace(" ", "").upper()
