"""What is read fast is what protobuf's own `json_format` reads, and refused where that refuses it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format

from openbank.accounts.v1.account_events_pb2 import MoneyDeposited
from openbank.codec import canonical_json

WRITTEN = {
    "amount": {"currency_code": "USD", "units": "12", "nanos": 500000000},
    "description": "Salary",
    "balance_after": {"currency_code": "USD", "units": "-9223372036854775808", "nanos": 0},
    "currency_exponent": 2,
    "labels": [{"key": "shop", "value": "7"}, {}],
}

TEXTS = [
    json.dumps(WRITTEN),
    "{}",
    '{"amount": {}}',
    '{"amount": null, "description": null}',
    '{"description": "a", "description": "b"}',
    '{"amount": {"units": "1", "units": "2"}}',
    '{"balanceAfter": {"currencyCode": "USD"}}',
    '{"nobody": 1, "description": "a"}',
    '{"amount": {"nobody": {"units": []}, "units": "5"}}',
    '{"description": "\\u00e9\\ud83d\\ude00"}',
    '{"description": "\\ud800"}',
    '{"description": 5}',
    '{"description": ["a"]}',
    '{"amount": "12"}',
    '{"amount": []}',
    '{"amount": {"units": 12}}',
    '{"amount": {"units": 12.0}}',
    '{"amount": {"units": 12.5}}',
    '{"amount": {"units": "12.0"}}',
    '{"amount": {"units": "1_2"}}',
    '{"amount": {"units": " 12"}}',
    '{"amount": {"units": "+12"}}',
    '{"amount": {"units": "\u0661\u0662"}}',
    '{"amount": {"units": "12\\n"}}',
    '{"amount": {"units": "9223372036854775808"}}',
    '{"amount": {"units": ""}}',
    '{"amount": {"units": true}}',
    '{"amount": {"nanos": "5"}}',
    '{"amount": {"nanos": true}}',
    '{"amount": {"nanos": 1e3}}',
    '{"amount": {"nanos": 2147483648}}',
    '{"currency_exponent": NaN}',
    "[]",
    "null",
    "",
    "{",
    '\ufeff{"description": "a"}',
    '{"description": "a"} ',
    '{"description": "a"} x',
    '{"labels": []}',
    '{"labels": null}',
    '{"labels": {}}',
    '{"labels": [{"key": "a"}, {"key": "a", "value": "b"}]}',
    '{"labels": [null]}',
    '{"labels": ["a"]}',
    '{"labels": [[]]}',
    '{"labels": [{"nobody": 1, "key": "a"}]}',
    '{"labels": [{"key": 1}]}',
    '{"labels": "a"}',
]


@pytest.mark.parametrize("text", TEXTS)
def test_it_reads_what_json_format_reads(text: str) -> None:
    def read(how: Any) -> MoneyDeposited | None:
        try:
            message = how()
        except (json_format.ParseError, ValueError):
            return None
        assert isinstance(message, MoneyDeposited)
        return message

    data = text.encode()
    expected = read(lambda: json_format.Parse(data, MoneyDeposited(), ignore_unknown_fields=True))
    assert read(lambda: canonical_json.from_json(data, MoneyDeposited)) == expected


def test_bytes_that_are_not_text_are_refused() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        canonical_json.from_json(b"\xff{}", MoneyDeposited)


def test_the_written_json_is_read_without_json_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(json_format, "Parse")
    message = canonical_json.from_json(json.dumps(WRITTEN).encode(), MoneyDeposited)
    assert (message.amount.units, message.balance_after.units, message.currency_exponent) == (12, -(1 << 63), 2)
    assert [(label.key, label.value) for label in message.labels] == [("shop", "7"), ("", "")]
