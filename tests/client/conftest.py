from __future__ import annotations

import pytest

from openbank.client import resumption


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumption, "BACKOFF_SECONDS_MIN", 0.01)
    monkeypatch.setattr(resumption, "BACKOFF_SECONDS_MAX", 0.1)
