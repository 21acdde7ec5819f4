"""Ids that follow from what they name."""

from __future__ import annotations

from uuid import RFC_4122, UUID

import pytest

from openbank.aggregates.ids import aggregate_id, event_id
from openbank.domain.request import Request
from openbank.eventstore.streams import account_stream, number_stream, person_stream, request_stream, split

REQUEST = Request(UUID("6f1c1f6e-5d0c-4a53-9f3b-0d3f7f1c2b3a").bytes, hash=b"\x01" + bytes(range(15)))
TIME = 1_735_689_600_000_000
BANK = "0cc87d013d45bfe8854026ca0e6b560a"


# Never change one of these: a retry after an update must make what its first try made.
@pytest.mark.parametrize(
    ("kind", "golden"),
    [("person", "7a86008b-8ffe-8821-8bb4-f27cc6056854"), ("account", "a74044d6-7946-809d-9667-36a240301a9f")],
)
def test_the_id_of_a_new_aggregate_never_changes(kind: str, golden: str) -> None:
    assert aggregate_id(BANK, kind, REQUEST) == golden


def test_an_event_id_differs_by_stream_request_content_part_and_time() -> None:
    ids = {
        event_id("account-a-1", REQUEST, 0, TIME),
        event_id("account-a-2", REQUEST, 0, TIME),
        event_id("account-a-1", REQUEST, 1, TIME),
        event_id("account-a-1", REQUEST._replace(id=bytes(15) + b"\1"), 0, TIME),
        event_id("account-a-1", REQUEST._replace(hash=bytes(16)), 0, TIME),
        event_id("account-a-1", REQUEST, 0, TIME + 1),
    }
    assert len(ids) == 6
    assert event_id("account-a-1", REQUEST, 0, TIME) in ids


def test_the_id_of_a_new_aggregate_differs_by_bank_kind_and_request_alone() -> None:
    ids = {
        aggregate_id(BANK, "account", REQUEST),
        aggregate_id("b0" * 16, "account", REQUEST),
        aggregate_id(BANK, "person", REQUEST),
        aggregate_id(BANK, "account", REQUEST._replace(id=bytes(15) + b"\1")),
    }
    assert len(ids) == 4
    assert aggregate_id(BANK, "account", REQUEST._replace(hash=b"")) in ids


def test_without_a_request_id_every_id_is_new() -> None:
    assert len({event_id("account-a-1", Request(), 0, TIME) for _ in range(100)}) == 100
    assert len({aggregate_id(BANK, "account", Request()) for _ in range(100)}) == 100


def test_ids_are_uuids_of_the_version_that_their_maker_defines() -> None:
    for request in (REQUEST, Request()):
        for made in (
            UUID(bytes=event_id("account-a-1", request, 0, TIME)),
            UUID(aggregate_id(BANK, "account", request)),
        ):
            assert (made.version, made.variant) == (8, RFC_4122)


@pytest.mark.parametrize(
    ("stream", "category", "identifier"),
    [
        (person_stream("john"), "person", "john"),
        (account_stream("-a-1-"), "account", "-a-1-"),
        (request_stream("6f1c1f6e-5d0c-4a53-9f3b-0d3f7f1c2b3a"), "request", "6f1c1f6e-5d0c-4a53-9f3b-0d3f7f1c2b3a"),
        (number_stream("de 89-3 x"), "number", "DE893X"),
    ],
)
def test_a_streams_name_is_its_category_and_its_id(stream: str, category: str, identifier: str) -> None:
    assert stream == f"{category}-{identifier}"
    assert split(stream) == (category, identifier)


def test_names_distinguish_internal_streams_from_persons_and_accounts() -> None:
    for stream in (request_stream("x"), number_stream("1")):
        assert not stream.startswith(("person-", "account-"))
