"""A rebuild of the views beside those that serve, as adapters keep it and operators see it.

The new views are filled from the beginning of the log. Once they are as far as those that serve, they take their place.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from openbank.eventstore.port import LogPosition
from openbank.views.port import Filled


class RebuildRecord(NamedTuple):
    """The rebuild under way, or the last one. Times are in microseconds since 1970 UTC."""

    start_time: int
    place: LogPosition
    """How far the new views are, or were."""
    end_time: int | None = None
    """None while it is under way."""
    failure: str = ""
    """Why it has ended without new views."""

    @property
    def running(self) -> bool:
        return self.end_time is None


Advance = Callable[[], Awaitable[None]]


class Rebuilds(Protocol):
    """Guarantees: at most one rebuild is under way, whichever instance is asked. It survives a restart, and continues
    where it stopped. Those who read the views find either the old or the new ones, whole, at no earlier position than
    before. Every method may raise ViewsUnavailable.
    """

    @property
    def record(self) -> RebuildRecord | None:
        """As far as this process knows; None if there was none that is remembered."""
        ...

    async def start(self, time: int) -> None:
        """Has no effect while one is under way."""
        ...

    async def next_views(self) -> Filled | None:
        """Those that are to be filled, from where they are; None if there is no rebuild under way."""
        ...

    async def switch(self, time: int, catch_up: Advance) -> bool:
        """Whether the new views have taken the place of the old ones. False while they are not as far, or if that is
        not possible at this moment.

        `catch_up` fills more of them. Old views of one process stand still meanwhile. Raises what that raises, and
        ViewsDamaged where the views cannot be written any more.
        """
        ...

    async def give_up(self, time: int, failure: str) -> None:
        """Ends the rebuild under way without new views."""
        ...

    async def close(self) -> None: ...


class Filling(NamedTuple):
    """A rebuild, and how it proceeds."""

    record: RebuildRecord
    per_second: int | None
    """Positions of the log; None where that is not known yet."""
    seconds_left: int | None


class RebuildDesk(Protocol):
    """What operators may ask for."""

    async def start(self) -> None:
        """Has no effect while a rebuild is under way. After it `filling` has one. Raises ViewsUnavailable."""
        ...

    def filling(self) -> Filling | None:
        """The rebuild under way, or the last one, of whichever instance."""
        ...

    async def head(self) -> LogPosition:
        """Where the log ends. Raises StoreUnavailable."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the views that serve have all that this version projects."""
        ...

    @property
    def serving(self) -> LogPosition:
        """How far the views are that serve."""
        ...
