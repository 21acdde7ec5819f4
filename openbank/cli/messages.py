"""Parts of requests, from what was typed."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from openbank.cli.arguments import Amount
from openbank.common.v1.money_pb2 import Money


def money(amount: Amount, currency: str) -> Money:
    return Money(currency_code=currency, units=amount.units, nanos=amount.nanos)


def change_of(message: Any, flags: Namespace, **fields: Any) -> Any:
    """A request to change something that is there."""
    return message(request_id=flags.request_id, expected_revision=flags.expected_revision, **fields)
