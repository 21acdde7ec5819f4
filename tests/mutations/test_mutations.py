"""The ways to break the bank still fit its code; `make mutations` tries them."""

from __future__ import annotations

import pytest

from tests.mutations.__main__ import ROOT, places
from tests.mutations.mutations import MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.breaks)
def test_what_is_to_be_broken_is_there_once(mutation: Mutation) -> None:
    assert places(mutation, ROOT) == 1
    assert mutation.old != mutation.new
    assert all((ROOT / test.partition("::")[0]).exists() for test in mutation.tests.split())
