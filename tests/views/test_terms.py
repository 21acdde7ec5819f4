"""Terms that find movements: they are stored, so they never change."""

from __future__ import annotations

from itertools import product

import pytest

from openbank.domain.tags import NO_TAGS, Label, Tags
from openbank.views.port import MovementFilter
from openbank.views.terms import count, term, terms

RED, BLUE = Label("colour", "red"), Label("colour", "blue")


def test_a_term_stays_what_it_is() -> None:
    assert term(MovementFilter("1", "ordér", RED)).hex() == "0bb34b089e84633ae5b653908887fadb"
    assert term(MovementFilter("", "order")).hex() == "dfa09a2ab978d2458a51988bb5892451"


@pytest.mark.parametrize("reference", ["", "order"])
@pytest.mark.parametrize("labels", [(), (RED,), (RED, BLUE)])
def test_a_movement_has_a_term_for_each_filter_that_it_passes(reference: str, labels: tuple[Label, ...]) -> None:
    tags = Tags(reference, labels)
    filters = {
        MovementFilter(of, about, label)
        for of, about, label in product(("", "1"), {"", reference}, (None, *labels))
        if about or (of and label)
    }
    assert sorted(terms("1", tags)) == sorted(map(term, filters))
    assert count(tags) == len(filters)
    assert count(NO_TAGS) == 0
