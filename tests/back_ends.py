"""Where a bank keeps its data, for tests that hold on every choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from openbank.config import EMBEDDED, Settings


class BackEnd(NamedTuple):
    """`embedded`, or the addresses of servers."""

    event_store: str = EMBEDDED
    views: str = EMBEDDED

    @property
    def flags(self) -> tuple[str, ...]:
        return "--event-store", self.event_store, "--views", self.views

    def settings(self, data: Path, **changes: Any) -> Settings:
        listen = "127.0.0.1:0"
        return Settings(listen=listen, data=data, event_store=self.event_store, views=self.views, **changes)
