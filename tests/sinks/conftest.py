from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.stand_ins import nats
from tests.stand_ins.nats import NatsProcess


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsProcess]:
    """A NATS server of this test's own, to kill."""
    try:
        nats.install()
    except nats.GoMissing as missing:
        pytest.skip(str(missing))
    with NatsProcess(tmp_path / "nats") as server:
        yield server
