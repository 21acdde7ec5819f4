"""What allows a watch to continue."""

from __future__ import annotations

from typing import Protocol


class Right(Protocol):
    """A watch's right to what it sends. It may end while the watch runs."""

    def check(self) -> None:
        """Raises the refusal that ends the watch."""
        ...

    def seconds_left(self) -> float:
        """After how many seconds `check` will refuse, as far as is known; infinite where it is not."""
        ...
