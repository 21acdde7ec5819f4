"""Names of streams.

A person's and an account's events are their own stream each. Two kinds of internal streams make commands exact across
streams. Their names begin with neither prefix, so that readers of the log can tell them apart by name.
"""

from __future__ import annotations

from openbank.domain.fields import account_number_key, account_number_with_hyphens

PERSON = "person"
ACCOUNT = "account"
REQUEST = "request"
NUMBER = "number"

CATEGORIES = (PERSON, ACCOUNT, REQUEST, NUMBER)


def person_stream(person_id: str) -> str:
    return f"{PERSON}-{person_id}"


def account_stream(account_id: str) -> str:
    return f"{ACCOUNT}-{account_id}"


def request_stream(request_id: str) -> str:
    """The stream with the claim of a request id that must be unique in the bank: one of RegisterPerson or
    OpenAccount."""
    return f"{REQUEST}-{request_id}"


def number_stream(account_number: str) -> str:
    """The stream with the reservation of an account number, named by the form in which numbers are compared."""
    return f"{NUMBER}-{account_number_key(account_number)}"


def number_streams(account_number: str) -> tuple[str, str]:
    """That stream, and the one in which earlier versions reserved the number, with its hyphens."""
    return number_stream(account_number), f"{NUMBER}-{account_number_with_hyphens(account_number)}"


def split(stream: str) -> tuple[str, str]:
    """A stream's category and the id behind it: ("account", "1234")."""
    category, _, identifier = stream.partition("-")
    return category, identifier
