"""A bank whose metrics are on."""

from __future__ import annotations

from pathlib import Path

import pytest

from openbank.config import Settings
from openbank.server import Server
from tests.back_ends import BackEnd


@pytest.fixture
def settings(back_end: BackEnd, tmp_path: Path) -> Settings:
    return back_end.settings(tmp_path / "data", drain_seconds=5, metrics_listen="127.0.0.1:0")


@pytest.fixture
def metrics(server: Server) -> str:
    """HOST:PORT."""
    return server.metrics_address
