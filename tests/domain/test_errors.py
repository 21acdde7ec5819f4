"""A refusal says in its metadata whatever its message says, so that nobody has to read a message by program."""

from __future__ import annotations

import re

import pytest

from openbank.common.v1 import errors_pb2
from openbank.domain import amounts, errors
from openbank.domain.errors import InvalidFields, Refused, Violation
from openbank.domain.fields import Fields
from tests.examples import EUR, TODAY, USD, usd

REFUSALS: list[Refused] = [
    errors.PersonNotFound("p-17"),
    errors.OwnerNotFound("p-17"),
    errors.AccountNotFound("a-17"),
    errors.AccountNotFound(account_number="9917"),
    errors.PersonAlreadyExists("p-17"),
    errors.AccountAlreadyExists("a-17"),
    errors.AccountNumberTaken("9917"),
    errors.AccountNotActive("a-17", "FROZEN"),
    errors.InsufficientFunds("a-17", usd(1001), usd(1002), usd(1003)),
    errors.BalanceLimitExceeded("a-17", usd(1001), usd(1003)),
    errors.RevisionMismatch("account", "a-17", 3, 5),
    errors.RevisionMismatch("person", "p-17", 3, 5),
    errors.RequestIdReused(),
]


def violations() -> list[Violation]:
    fields = Fields()
    fields.text("a", "", 3, required=True)
    fields.text("b", "xxxx", 3)
    fields.text("c", "x\0x", 3)
    fields.account_number("d", "?")
    fields.past_date("e", TODAY, TODAY)
    return [
        *fields.violations,
        amounts.currency_mismatch("f", USD, EUR),
        amounts.not_positive("g", usd(-1003)),
        amounts.negative("h", usd(-1003)),
        *errors.RequestIdReused().violations,
    ]


def values_of(message: str) -> list[str]:
    """Figures, amounts, ids, dates, currencies and states: words that hold a digit, and words in capitals."""
    return re.findall(r"-?\d[\d.-]*(?: [A-Z]{3})?|[ap]-\d+|\b[A-Z]{2,}\b", message)


@pytest.mark.parametrize("refused", REFUSALS, ids=lambda refused: type(refused).__name__)
def test_every_value_in_a_message_is_in_the_metadata(refused: Refused) -> None:
    told = " ".join(refused.metadata.values())
    # ACTIVE is what an account must be, not what this one is.
    assert [value for value in values_of(refused.message) if value not in told and value != "ACTIVE"] == []


@pytest.mark.parametrize("violation", violations(), ids=lambda violation: violation.reason)
def test_every_value_in_a_violations_message_is_in_its_metadata(violation: Violation) -> None:
    told = " ".join(violation.metadata.values())
    assert [value for value in values_of(violation.message) if value not in told and value != "ASCII"] == []


@pytest.mark.parametrize("refused", REFUSALS, ids=lambda refused: type(refused).__name__)
def test_metadata_is_text_under_names_in_lower_camel_case(refused: Refused) -> None:
    for name, value in refused.metadata.items():
        assert re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", name)
        assert isinstance(value, str)


def test_the_figures_of_a_refused_withdrawal_are_all_there() -> None:
    refused = errors.InsufficientFunds("a-17", usd(1001), usd(1002), usd(1003))
    assert {"10.01 USD", "10.02 USD", "10.03 USD"} <= set(refused.metadata.values())


def test_a_taken_number_reveals_neither_its_owner_nor_its_account() -> None:
    assert errors.AccountNumberTaken("9917").metadata == {"accountNumber": "9917"}


def test_each_invalid_field_is_reported_with_its_path() -> None:
    refused = InvalidFields([Violation("address.city", "FIELD_REQUIRED", "is required"), Violation("email", "X", "y")])
    assert refused.message == "address.city: is required; email: y"
    assert [violation.field for violation in refused.violations] == ["address.city", "email"]


def test_every_reason_is_published() -> None:
    published = {name.removeprefix("ERROR_REASON_") for name in errors_pb2.ErrorReason.DESCRIPTOR.values_by_name}
    reasons = {refused.reason for refused in REFUSALS if not isinstance(refused, InvalidFields)}
    assert reasons | {violation.reason for violation in violations()} <= published
