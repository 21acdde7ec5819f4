"""A short campaign on each choice of back ends; `make campaign` is a long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.campaign import campaign
from tests.faults.parts import BACK_ENDS
from tests.stand_ins import ferret

KILLS = {"embedded": 20, "mixed": 6, "servers": 12}
SEED = 7


@pytest.mark.parametrize("back_end", BACK_ENDS)
async def test_a_bank_that_is_killed_again_and_again_keeps_its_promises(back_end: str, tmp_path: Path) -> None:
    if back_end == "servers":
        try:
            ferret.build()
        except ferret.GoMissing as missing:
            pytest.skip(str(missing))
    figures = await campaign(back_end, KILLS[back_end], SEED, tmp_path, print)
    assert figures.kills.total() >= KILLS[back_end]
    assert figures.counts["acknowledged"] > 0
