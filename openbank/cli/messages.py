"""Parts of requests, from what was typed."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from openbank.cli.arguments import Amount
from openbank.common.v1.label_pb2 import Label
from openbank.common.v1.money_pb2 import Money


def money(amount: Amount, currency: str) -> Money:
    return Money(currency_code=currency, units=amount.units, nanos=amount.nanos)


def creation_of(message: Any, flags: Namespace, **fields: Any) -> Any:
    """A request to make something new."""
    return message(request_id=flags.request_id, validate_only=flags.validate_only, **fields)


def change_of(message: Any, flags: Namespace, **fields: Any) -> Any:
    """A request to change something that is there."""
    return creation_of(message, flags, expected_revision=flags.expected_revision, **fields)


def movement_of(message: Any, flags: Namespace, **fields: Any) -> Any:
    """A request to move or hold money, with the caller's terms."""
    return change_of(
        message,
        flags,
        description=flags.description,
        external_reference=flags.reference,
        labels=[Label(key=key, value=value) for key, value in flags.label],
        **fields,
    )
