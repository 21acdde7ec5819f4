"""Commands replaced in a bank that runs in this process."""

from __future__ import annotations

from typing import Any

import pytest

from openbank.rpc import accounts


def replace_command(monkeypatch: pytest.MonkeyPatch, rpc: str, command: Any) -> None:
    [row] = [row for row in accounts.MUTATIONS if row.name == rpc]
    monkeypatch.setattr(row, "command", command)
