"""The ways to break the bank still fit its code; `make mutations` tries them."""

from __future__ import annotations

import re

import pytest

from tests.mutations.__main__ import ROOT, places
from tests.mutations.mutations import MUTATIONS, Mutation

DEFINED = {
    name for path in (ROOT / "tests").rglob("*.py") for name in re.findall(r"(?:def|class) (\w+)", path.read_text())
}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.breaks)
def test_the_code_to_break_and_the_tests_that_notice_exist(mutation: Mutation) -> None:
    assert places(mutation, ROOT) == 1
    assert mutation.old != mutation.new
    for test in mutation.tests.split():
        file, *names = test.split("::")
        assert (ROOT / file).exists()
        assert DEFINED.issuperset(names)
