"""The fingerprint of a request is stored with every event, so it never changes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbank.commands.batches import AtomicBatch, Batched
from openbank.domain import tags
from openbank.domain.holds import CaptureHold, PlaceHold
from openbank.domain.money import Currency, Money
from openbank.domain.movements import Deposit, OpenAccount, Withdraw
from openbank.domain.person import Gender, RegisterPerson, UpdateAddress
from openbank.domain.request import fingerprint
from openbank.domain.reversals import ReverseMovement, ReverseTransfer
from openbank.domain.tags import NO_TAGS, Tags
from openbank.domain.transfers import SendTransfer
from tests.examples import HOME, JOHN, OFFICE, USD, opening, usd

# Never change one of these: a stored fingerprint that no longer matches turns every replay into REQUEST_ID_REUSED.
GOLDEN = [
    ("RegisterPerson", RegisterPerson(JOHN), "016a28b7b73bbb526456427cd3d529e8"),
    ("UpdateAddress", UpdateAddress("john", OFFICE), "01c1bef6a01d2ac1ec55a1397dbd6126"),
    ("OpenAccount", opening(), "01ee9af424231d2897f9f3acd1dcc677"),
    ("Deposit", Deposit("a-1", usd(50_000), "Salary deposit"), "0144d0c9975aaee8af0069ca2304b6d8"),
    ("Withdraw", Withdraw("a-1", Money(Currency("JPY", 0), 7), "ラーメン"), "01f12599fca7491c53b2cc97b414b05a"),
    ("PlaceHold", PlaceHold("a-1", usd(7), "Hotel", ttl=1_000_000), "019196f567d680b023da9362f9a13303"),
    ("CaptureHold", CaptureHold("a-1", "h", usd(7), True, "Bar"), "01ad972a68cd627c511f8f1ed177c791"),
    ("CreateTransfer", SendTransfer("", "a-1", "b-1", usd(7), "Rent", "h"), "01325fe3ee0b790099cab24e5aae2924"),
    ("ReverseMovement", ReverseMovement("a-1", 7, "Mistake", True), "016512f4b0375f71fda91f43e0a3daf9"),
    (
        "ReverseTransfer",
        ReverseTransfer("0a54a1fb-58ab-8f0e-9d9c-33a5a3be7e0f", "Mistake", True),
        "018a6a8e40d3ea8c17dfa18800e751e2",
    ),
]

SHOP = Tags("order 7", (tags.Label("shop", "12"), tags.Label("till", "")))
TAGGED = [
    ("Deposit", Deposit("a-1", usd(1), "", SHOP)),
    ("Withdraw", Withdraw("a-1", usd(1), "", SHOP)),
    ("PlaceHold", PlaceHold("a-1", usd(1), tags=SHOP)),
    ("CaptureHold", CaptureHold("a-1", "h", None, False, "", SHOP)),
    ("CreateTransfer", SendTransfer("", "a-1", "b-1", usd(1), "", tags=SHOP)),
]

CORPUS = Path(__file__).with_name("fingerprints.json")
"""Commands as their values by path, with the fingerprint that each had when it was first acknowledged."""


def test_the_fingerprint_of_a_batch_never_changes() -> None:
    deposit, withdrawal = Deposit("a-1", usd(7), "", SHOP), Withdraw("a-1", usd(7), "")
    batch = AtomicBatch("a-1", (Batched("Deposit", deposit), Batched("Withdraw", withdrawal)))
    assert fingerprint("ExecuteBatch", batch).hex() == "0105470a2c54f6c7aa23a4c3a8694c3e"


def test_the_fingerprints_of_the_corpus_never_change() -> None:
    for entry in json.loads(CORPUS.read_text()):
        command = made(COMMAND_TYPES[entry["rpc"]], entry["command"])
        assert fingerprint(entry["rpc"], command).hex() == entry["fingerprint"], entry


COMMAND_TYPES = {"RegisterPerson": RegisterPerson, "UpdateAddress": UpdateAddress, "OpenAccount": OpenAccount,
                 "Deposit": Deposit, "Withdraw": Withdraw}  # fmt: skip


def made(kind: Any, value: Any) -> Any:
    """A command, or a part of one, from JSON."""
    if isinstance(value, dict):
        return kind(**{name: made(get_type_hints(kind)[name], part) for name, part in value.items()})
    return date.fromisoformat(value) if kind is date else kind(value)


COMMANDS = [command for _, command, _ in GOLDEN]


@pytest.mark.parametrize(("rpc", "command", "golden"), GOLDEN, ids=[rpc for rpc, _, _ in GOLDEN])
def test_the_value_of_a_fingerprint_never_changes(rpc: str, command: object, golden: str) -> None:
    assert fingerprint(rpc, command).hex() == golden


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_a_fingerprint_is_16_bytes_of_which_the_first_is_the_format(command: object) -> None:
    assert len(fingerprint("Deposit", command)) == 16
    assert fingerprint("Deposit", command)[0] == 1


def variations(value: Any) -> list[Any]:
    """`value` with one thing changed, for every thing that is in it."""
    if is_dataclass(value) and not isinstance(value, type):
        return [
            replace(value, **{f.name: other}) for f in fields(value) for other in variations(getattr(value, f.name))
        ]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [value._replace(**{name: other}) for name in value._fields for other in variations(getattr(value, name))]  # type: ignore[attr-defined]
    if isinstance(value, tuple):
        parts = [(at, other) for at, part in enumerate(value) for other in variations(part)]
        return [
            (*value, tags.Label("key", "value")),
            *((*value[:at], other, *value[at + 1 :]) for at, other in parts),
        ]
    if value is None:
        return [7]
    if isinstance(value, Gender):
        return [gender for gender in Gender if gender is not value]
    if isinstance(value, date):
        return [date.fromordinal(value.toordinal() + 1)]
    return [value + 1] if isinstance(value, int) else [f"{value}x", f" {value}", value.upper() + "X"]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_it_differs_for_every_field_of_a_command(command: object) -> None:
    others = variations(command)
    assert len(others) >= len(fields(command))  # type: ignore[arg-type]
    prints = {fingerprint("Rpc", other) for other in [command, *others]}
    assert len(prints) == len({repr(other) for other in [command, *others]})


def test_it_differs_by_rpc() -> None:
    assert fingerprint("Deposit", Deposit("a", usd(1), "")) != fingerprint("Withdraw", Deposit("a", usd(1), ""))


def test_two_commands_of_the_same_fields_differ_by_rpc_only() -> None:
    assert fingerprint("Deposit", Deposit("a", usd(1), "")) == fingerprint("Deposit", Withdraw("a", usd(1), ""))


class Scope(Enum):
    ALL = "ALL"
    DEBITS = "DEBITS"


class Label(NamedTuple):
    key: str
    value: str = ""


class LaterLabel(NamedTuple):
    key: str
    value: str = ""
    color: str = ""


@dataclass(frozen=True)
class LaterDeposit:
    """Deposit as a later version may have it: with fields that earlier requests did not have."""

    account_id: str
    amount: Money
    description: str
    reference: str = ""
    hold: int = 0
    dry_run: bool = False
    value_date: date | None = None
    labels: Sequence[Label | LaterLabel] = ()
    scope: Scope = Scope.ALL
    tries: int = 3
    fee: Money = usd(5)  # noqa: RUF009
    limit: Money | None = None


def test_a_field_that_a_later_version_adds_changes_nothing_while_it_is_left_out() -> None:
    earlier = fingerprint("Deposit", Deposit("a-1", usd(1), ""))
    assert fingerprint("Deposit", LaterDeposit("a-1", usd(1), "")) == earlier
    assert fingerprint("Deposit", LaterDeposit("a-1", usd(1), "", labels=[])) == earlier
    for used in (
        {"reference": "x"},
        {"hold": 1},
        {"dry_run": True},
        {"value_date": date(2024, 1, 1)},
        {"labels": (Label("x"),)},
        {"labels": (Label(""),)},
        {"scope": Scope.DEBITS},
        {"tries": 0},
        {"fee": usd(0)},
        {"limit": usd(0)},
    ):
        assert fingerprint("Deposit", LaterDeposit("a-1", usd(1), "", **used)) != earlier


def test_a_field_that_a_later_version_adds_to_the_parts_of_a_sequence_changes_nothing_while_it_is_left_out() -> None:
    def of(*labels: Label | LaterLabel) -> bytes:
        return fingerprint("Deposit", LaterDeposit("a-1", usd(1), "", labels=labels))

    assert of(LaterLabel("x", "y"), LaterLabel("z")) == of(Label("x", "y"), Label("z"))
    others: list[tuple[Label | LaterLabel, ...]] = [
        (LaterLabel("x", "y", "red"),),
        (Label("y", "x"),),
        (Label("x"), Label("y")),
        (Label("xy"),),
    ]
    assert len({of(*labels) for labels in [(Label("x", "y"),), *others]}) == 1 + len(others)


@pytest.mark.parametrize(("rpc", "command"), TAGGED, ids=[rpc for rpc, _ in TAGGED])
def test_a_reference_and_labels_are_part_of_it_and_leave_no_trace_where_there_are_none(rpc: str, command: Any) -> None:
    without = replace(command, tags=NO_TAGS)
    assert fingerprint(rpc, replace(command, tags=Tags("", ()))) == fingerprint(rpc, without)
    prints = {fingerprint(rpc, replace(command, tags=other)) for other in [*variations(SHOP), SHOP, NO_TAGS]}
    assert len(prints) == len(variations(SHOP)) + 2
    turned = replace(SHOP, labels=SHOP.labels[::-1])
    assert fingerprint(rpc, replace(command, tags=turned)) not in prints


@given(st.text(), st.text(), st.text(), st.text())
def test_texts_split_differently_have_different_fingerprints(street: str, city: str, code: str, country: str) -> None:
    one = UpdateAddress("john", replace(HOME, street=street, city=city))
    other = UpdateAddress("john", replace(HOME, street=code, city=country))
    assert (fingerprint("UpdateAddress", one) == fingerprint("UpdateAddress", other)) is (one == other)


def test_the_same_request_has_the_same_fingerprint() -> None:
    assert fingerprint("OpenAccount", OpenAccount("", "john", "1", usd(0))) == fingerprint(
        "OpenAccount", OpenAccount("", "john", "1", Money(Currency(USD.code, 2), 0))
    )
