"""Names of streams.

A person's and an account's events are their own stream each. Two kinds of internal streams hold what makes commands
exact across streams; their names begin with neither prefix, so that readers of the log can tell them by name.
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
    """Who claimed a request id that is the whole bank's: those of RegisterPerson and OpenAccount."""
    return f"{REQUEST}-{request_id}"


def number_stream(account_number: str) -> str:
    """Who reserved an account number, by what numbers are compared by."""
    return f"{NUMBER}-{account_number_key(account_number)}"


def number_streams(account_number: str) -> tuple[str, str]:
    """That one, and the one in which earlier versions reserved the number, with its hyphens."""
    return number_stream(account_number), f"{NUMBER}-{account_number_with_hyphens(account_number)}"


def split(stream: str) -> tuple[str, str]:
    """A stream's category and the id behind it: ("account", "1234")."""
    category, _, identifier = stream.partition("-")
    return category, identifier
