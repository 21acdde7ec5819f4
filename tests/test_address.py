"""Addresses of other systems: what is a path, what is shown, what is refused."""

from __future__ import annotations

import pytest

from openbank import address


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("esdb://node1:2113,node2:2113?Tls=false", "esdb://node1:2113,node2:2113"),
        ("ESDB://admin:S3cr3t@node:2113?Tls=false", "ESDB://node:2113"),
        ("mongodb://admin:S3cr3t/Tail9@node/bank", "mongodb://node/bank"),
        ("mongodb://admin:p@S3cr3t@node/bank", "mongodb://node/bank"),
        ("mongodb://admin:p?S3cr3t@node/bank", "mongodb://..."),
        ("https://admin:p#S3cr3t@node/", "https://..."),
        ("https://node/?token=a@S3cr3t", "https://..."),
        ("https://node/hook?token=S3cr3t", "https://node/hook"),
        ("admin:S3cr3t@node", "node"),
        ("/var/lib/bank", "/var/lib/bank"),
        ("data?", "data?"),
    ],
)
def test_an_address_is_shown_without_its_secrets(text: str, shown: str) -> None:
    assert address.shown(text) == shown


@pytest.mark.parametrize("text", ["ESDB://h", "esdb:/h", "esdb+discover://h", "kurrentdb://h", "x+y://h", "Nats:h"])
def test_an_address_is_never_a_path(text: str) -> None:
    with pytest.raises(ValueError, match="must be a path, not an address"):
        address.path(text)


@pytest.mark.parametrize("text", ["data", "./esdb", "/data/a:b", "C", "a@b", "12:30"])
def test_a_path_is_not_an_address(text: str) -> None:
    assert str(address.path(text)) == text.removeprefix("./")


def test_an_error_that_quotes_a_secret_is_not_repeated() -> None:
    at = "mongodb://admin:S3cr%23t@node/?tlsCertificateKeyFilePassword=hidden"
    for quote in (at, "bad S3cr#t", "bad S3cr%23t", "admin", "no 'hidden'"):
        assert address.reason(ValueError(quote), at) == "ValueError"
    assert address.reason(ValueError("unknown option"), at) == "unknown option"
