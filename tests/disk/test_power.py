"""A short campaign of power losses; `make power` is a long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.disk.campaign import campaign

CUTS = 150
SEED = 8


# A bank is started after each loss: a minute alone, and more beside other tests.
@pytest.mark.timeout(300)
async def test_what_a_bank_has_acknowledged_survives_a_loss_of_power(library: Path, tmp_path: Path) -> None:
    figures = await campaign(library, CUTS, SEED, tmp_path, print)
    assert figures.cuts == CUTS
    assert figures.told > 0
    assert figures.faulty
