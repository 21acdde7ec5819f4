"""What the wheel has: the client library, and all that is generated but storage/v1, which only the server needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

INTERNAL = "storage"


class FilesOfTheRepository(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return  # They are found where they are, by dev-mode-dirs.
        repository = Path(self.root).parent
        packages = [path for path in (repository / "generated/openbank").iterdir() if path.name != INTERNAL]
        for path in (repository / "openbank/client", *packages):
            build_data["force_include"][str(path)] = f"openbank/{path.name}"
