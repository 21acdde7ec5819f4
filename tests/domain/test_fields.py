"""What a field may hold, and that all faults of a request are reported at once."""

from __future__ import annotations

import unicodedata
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbank.domain import fields
from openbank.domain.errors import InvalidFields
from openbank.domain.fields import Fields, account_number_key
from openbank.domain.text import is_clean, is_visible
from tests.examples import TODAY

LIMITS = [
    fields.NAME_LENGTH_MAX,
    fields.NATIONALITY_LENGTH_MAX,
    fields.STREET_LENGTH_MAX,
    fields.CITY_LENGTH_MAX,
    fields.POSTAL_CODE_LENGTH_MAX,
    fields.COUNTRY_LENGTH_MAX,
    fields.EMAIL_LENGTH_MAX,
    fields.DESCRIPTION_LENGTH_MAX,
]
WITHOUT = {ord(" "): None, ord("-"): None}
ACCOUNT_NUMBERS = st.text("AbZz09 -", min_size=1, max_size=34)


def reasons(request: Fields) -> list[tuple[str, str]]:
    return [(violation.field, violation.reason) for violation in request.violations]


# Texts


@pytest.mark.parametrize("limit", sorted(set(LIMITS)))
@pytest.mark.parametrize("character", ["x", "ß", "漢", "🏦", "e\u0301"])
def test_a_text_may_have_as_many_code_points_as_its_limit(limit: int, character: str) -> None:
    request = Fields()
    text = (character * limit)[:limit]
    assert request.text("name", text, limit) == text
    assert request.violations == []
    request.text("name", text + "x", limit)
    assert reasons(request) == [("name", "FIELD_TOO_LONG")]
    assert request.violations[0].metadata == {"length": str(limit + 1), "maxLength": str(limit)}


@pytest.mark.parametrize("blank", ["", " ", "\t\n", "\u00a0\u2003\u3000", "\x1f\x85"])
def test_a_text_of_nothing_but_space_is_missing(blank: str) -> None:
    request = Fields()
    assert request.text("optional", blank, 10) == ""
    assert request.violations == []
    assert request.text("needed", blank, 10, required=True) == ""
    assert reasons(request) == [("needed", "FIELD_REQUIRED")]


@given(st.text(max_size=8), st.text(" \t\r\n\u00a0\u2003", max_size=3), st.text(" \t\r\n\u00a0\u2003", max_size=3))
def test_a_text_is_stored_as_it_came_but_for_its_ends(inside: str, before: str, after: str) -> None:
    assert Fields().text("name", before + inside + after, 100) == inside.strip()


def test_length_counts_what_is_left_after_trimming() -> None:
    request = Fields()
    assert request.text("name", "  " + "x" * 10 + "  ", 10) == "x" * 10
    assert request.violations == []


@given(st.text(min_size=1).filter(lambda text: text == text.strip()))
def test_every_text_without_control_characters_is_taken_as_it_is(text: str) -> None:
    clean = not any(unicodedata.category(character) in ("Cc", "Cs") for character in text)
    request = Fields()
    assert request.text("name", f"<{text}>", 1000) == f"<{text}>"
    assert reasons(request) == ([] if clean else [("name", "INVALID_TEXT")])


@pytest.mark.parametrize("control", [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0))])
def test_a_control_character_inside_a_text_is_refused(control: str) -> None:
    request = Fields()
    request.text("name", f"a{control}b", 10)
    assert reasons(request) == [("name", "INVALID_TEXT")]


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "a\tb", "\n a\n\n\tb\r\n"])
def test_a_text_of_several_lines_has_line_breaks_and_tabs(text: str) -> None:
    request = Fields()
    assert request.text("description", text, 100, lines=True) == text.strip()
    assert request.violations == []


@pytest.mark.parametrize("control", [chr(code) for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (9, 10)])
def test_a_text_of_several_lines_has_no_other_control_character(control: str) -> None:
    request = Fields()
    request.text("description", f"a{control}b", 10, lines=True)
    assert reasons(request) == [("description", "INVALID_TEXT")]


INVISIBLE = [
    "\u200b", "\u200c\u200d", "\u2060", "\u2800", "\u3164", "\u115f", "\u1160", "\uffa0", "\u00ad", "\ufeff", "\u0301",
    "\u034f", "\u061c", "\u180b", "\u180e", "\u17b4", "\u202e", "\u2066", "\u2061", "\ufe0f", "\ufff0", "\ufff9",
    "\u2065", "\U000e0100", "\U000e0001\U000e0041", "\U000e0fff", "\U0001d159", "\U0001d173", "\u20dd", "\u0903",
    "\u200b\u0301", "\u200b \u2800", "\u200e\u00a0\u200f",
]  # fmt: skip


@pytest.mark.parametrize("text", INVISIBLE, ids=ascii)
def test_an_invisible_text_is_missing_or_invalid(text: str) -> None:
    request = Fields()
    request.text("needed", text, 10, required=True)
    request.text("optional", text, 10)
    request.text("description", text, 10, lines=True)
    assert reasons(request) == [
        ("needed", "FIELD_REQUIRED"),
        ("optional", "INVALID_TEXT"),
        ("description", "INVALID_TEXT"),
    ]


@pytest.mark.parametrize("text", INVISIBLE, ids=ascii)
@pytest.mark.parametrize("visible", ["a", ".", "漢", "\u0660", "\ue000", "\u0378", "🏦", "\U0010ffff"], ids=ascii)
def test_a_text_that_shows_something_may_have_invisible_characters(text: str, visible: str) -> None:
    request = Fields()
    mixed = f"{text}{visible}{text}"
    assert request.text("needed", mixed, 20, required=True) == mixed
    assert request.violations == []


def test_invisible_characters_are_of_known_classes() -> None:
    invisible: dict[str, set[int]] = {}
    for code in range(0x110000):
        if not is_visible(chr(code)):
            invisible.setdefault(unicodedata.category(chr(code)), set()).add(code)
    whole = {"Cc", "Cf", "Cs", "Mc", "Me", "Mn", "Zl", "Zp", "Zs"}
    some = {name: codes for name, codes in invisible.items() if name not in whole}
    assert some.keys() <= {"Lo", "So", "Cn"}
    assert some["Lo"] - {0x13441, 0x13442} == {0x115F, 0x1160, 0x3164, 0xFFA0}
    assert some["So"] == {0x2800, 0x1D159}


@given(st.characters(categories=["Cs"]))
def test_half_a_character_is_refused(half: str) -> None:
    request = Fields()
    request.text("name", f"a{half}b", 10)
    assert reasons(request) == [("name", "INVALID_TEXT")]


def test_a_character_of_every_other_class_is_accepted() -> None:
    classes: dict[str, str] = {}
    for code in range(0x110000):
        classes.setdefault(unicodedata.category(chr(code)), chr(code))
    refused = {name for name, character in classes.items() if not is_clean(f"a{character}b")}
    assert refused == {"Cc", "Cs"}
    assert {"Lu", "Lo", "Mn", "Nd", "So", "Cf", "Co", "Cn", "Zs", "Zl", "Zp"} <= classes.keys()


# Ids


@given(st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z"))
def test_an_id_is_1_to_64_of_its_alphabet(identifier: str) -> None:
    request = Fields()
    assert request.identifier("person_id", identifier) == identifier
    assert request.violations == []


@pytest.mark.parametrize("identifier", ["a b", "ä", "a/b", "a.b", "a\n", "\n", " a", "x" * 65, "\u0660", "a\0"])
def test_anything_else_is_not_an_id(identifier: str) -> None:
    request = Fields()
    request.identifier("person_id", identifier)
    assert reasons(request) == [("person_id", "INVALID_ID")]


def test_an_id_may_be_left_out_only_where_it_is_optional() -> None:
    request = Fields()
    assert request.identifier("person_id", "", required=False) == ""
    assert request.violations == []
    request.identifier("person_id", "")
    assert reasons(request) == [("person_id", "FIELD_REQUIRED")]


# Account numbers


@pytest.mark.parametrize("number", ["1", "123456789", "DE89 3704 0044 0532 0130 00", "ab-12", "-1", "x" * 34])
def test_an_account_number_is_letters_digits_spaces_and_hyphens(number: str) -> None:
    request = Fields()
    assert request.account_number("account_number", f" {number} ") == number
    assert request.violations == []


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("", "FIELD_REQUIRED"),
        ("  ", "FIELD_REQUIRED"),
        ("-", "INVALID_ACCOUNT_NUMBER"),
        ("- -", "INVALID_ACCOUNT_NUMBER"),
        ("12.34", "INVALID_ACCOUNT_NUMBER"),
        ("12\n34", "INVALID_ACCOUNT_NUMBER"),
        ("12\r\n34", "INVALID_ACCOUNT_NUMBER"),
        ("12\x0b34", "INVALID_ACCOUNT_NUMBER"),
        ("12\x1f34", "INVALID_ACCOUNT_NUMBER"),
        ("12\u202834", "INVALID_ACCOUNT_NUMBER"),
        ("12\u200b34", "INVALID_ACCOUNT_NUMBER"),
        ("\u00a0-\u202f", "INVALID_ACCOUNT_NUMBER"),
        ("é", "INVALID_ACCOUNT_NUMBER"),
        ("\u0661", "INVALID_ACCOUNT_NUMBER"),
        ("\u212a", "INVALID_ACCOUNT_NUMBER"),
        ("x" * 35, "FIELD_TOO_LONG"),
        (" - ".join("x" * 35), "FIELD_TOO_LONG"),
        ("x" + " " * 135 + "x", "FIELD_TOO_LONG"),
        ("1" + "-" * 70_000 + "1", "FIELD_TOO_LONG"),
    ],
)
def test_anything_else_is_not_an_account_number(number: str, reason: str) -> None:
    request = Fields()
    request.account_number("account_number", number)
    assert reasons(request) == [("account_number", reason)]


@pytest.mark.parametrize(
    "number",
    ["MT84 MALT 0110 0001 2345 MTLC AST0 01S", "-".join("x" * 34), "   ".join("x" * 34), "x" + "-" * 134 + "x"],
)
def test_spaces_and_hyphens_do_not_count_towards_the_length(number: str) -> None:
    request = Fields()
    assert request.account_number("account_number", number) == number
    assert request.violations == []


SPACES = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == "Zs"] + ["\t"]


@pytest.mark.parametrize("space", SPACES, ids=ascii)
def test_every_kind_of_space_is_a_space_in_an_account_number(space: str) -> None:
    request = Fields()
    assert request.account_number("account_number", f"{space}12{space}34{space * 2}5{space}") == "12 34  5"
    assert request.violations == []


@pytest.mark.parametrize("hyphen", ["-", "\u2010", "\u2011"], ids=ascii)
def test_a_hyphen_that_breaks_no_line_is_a_hyphen(hyphen: str) -> None:
    request = Fields()
    assert request.account_number("account_number", f"12{hyphen}34") == "12-34"
    assert request.violations == []


@given(ACCOUNT_NUMBERS)
def test_account_numbers_are_the_same_without_spaces_hyphens_and_case(number: str) -> None:
    key = account_number_key(number)
    assert key == account_number_key(number.replace("-", "")) == account_number_key("-".join(number))
    assert key == account_number_key(number.lower()) == account_number_key(number.upper())
    assert key == account_number_key(number.replace(" ", "")) == account_number_key(" ".join(number))
    assert account_number_key(key) == key
    assert not {" ", "-"} & set(key)


@given(ACCOUNT_NUMBERS, ACCOUNT_NUMBERS)
def test_account_numbers_differ_by_anything_else(one: str, other: str) -> None:
    same = one.translate(WITHOUT).lower() == other.translate(WITHOUT).lower()
    assert (account_number_key(one) == account_number_key(other)) is same


# Dates


@given(st.dates())
def test_a_date_of_birth_lies_before_today(born: date) -> None:
    request = Fields()
    request.past_date("date_of_birth", born, TODAY)
    if born < TODAY:
        assert request.violations == []
    else:
        assert reasons(request) == [("date_of_birth", "DATE_NOT_IN_PAST")]
        assert request.violations[0].metadata == {"today": "2024-02-29"}


def test_a_date_that_could_not_be_read_was_refused_by_its_reader() -> None:
    request = Fields()
    assert request.past_date("date_of_birth", None, TODAY) == TODAY
    assert request.violations == []


# All at once


def test_all_faults_of_a_request_are_reported_at_once_and_in_order() -> None:
    request = Fields()
    request.text("first_name", "", 100, required=True)
    request.text("last_name", "x" * 101, 100, required=True)
    request.text("address.city", "a\0b", 100)
    request.identifier("owner_id", "no id")
    request.account_number("account_number", "?")
    request.past_date("date_of_birth", TODAY, TODAY)
    with pytest.raises(InvalidFields) as refused:
        request.check()
    assert [violation[:2] for violation in refused.value.violations] == [
        ("first_name", "FIELD_REQUIRED"),
        ("last_name", "FIELD_TOO_LONG"),
        ("address.city", "INVALID_TEXT"),
        ("owner_id", "INVALID_ID"),
        ("account_number", "INVALID_ACCOUNT_NUMBER"),
        ("date_of_birth", "DATE_NOT_IN_PAST"),
    ]


def test_a_request_without_fault_passes() -> None:
    request = Fields()
    request.text("first_name", "John", 100, required=True)
    request.check()
