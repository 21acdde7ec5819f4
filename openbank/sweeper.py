"""The sweeper: records the end of holds on accounts to which nobody writes.

Commands end the holds that are due before they decide (`commands.on_account`), so no rule depends on the sweeper, and
two of them at once do no harm: each decides on the account itself. The views only say where to look.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from openbank.commands.holds import expire_holds
from openbank.commands.write_side import WriteSide
from openbank.domain.errors import Refused
from openbank.eventstore.errors import NewerVersionNeeded, OutcomeUnknown, StoreDamaged, StoreUnavailable
from openbank.eventstore.streams import account_stream
from openbank.pause import Backoff
from openbank.views.port import BEFORE_DUE, Views, ViewsUnavailable

REST_SECONDS = 0.5
"""Between two looks at which holds are due."""
PAGE = 500
"""Due holds read at a time."""
TOGETHER = 32
"""Holds at a time, whose events the store may write together: some 5 ms of work. Calls go first between them. Those of
one account are never parted."""
RETRY_SECONDS_MIN = 1.0
RETRY_SECONDS_MAX = 60.0
"""Before an account that could not be written is tried again, and before a store that was away is."""
STUCK_MAX = 10_000
"""Accounts that wait for another try, of some 300 bytes each; when there are as many, all are tried again."""

_log = logging.getLogger(__name__)


class _Stuck(NamedTuple):
    backoff: Backoff
    until: float
    """By the event loop's clock."""


def _slice(due: Counter[str]) -> Sequence[str]:
    """Takes accounts out of `due` until they have TOGETHER due holds."""
    accounts: list[str] = []
    taken = 0
    while due and taken < TOGETHER:
        account_id = next(iter(due))
        taken += due.pop(account_id)
        accounts.append(account_id)
    return accounts


class Sweeper:
    def __init__(
        self, views: Views, bank: WriteSide, is_current: Callable[[], bool], give_way: Callable[[], Awaitable[None]]
    ) -> None:
        """`is_current` says whether the views follow the log: those that are being rebuilt show holds as open that were
        closed long ago. `give_way` is awaited between slices of work."""
        self._views = views
        self._bank = bank
        self._is_current = is_current
        self._give_way = give_way
        self._after = BEFORE_DUE
        """Where the next page begins."""
        self._stuck: dict[str, _Stuck] = {}
        self._available = True

    async def run(self) -> None:
        """Until cancelled."""
        backoff = Backoff(REST_SECONDS, RETRY_SECONDS_MAX)
        while True:
            try:
                more = self._is_current() and await self.sweep_page()
            except (StoreUnavailable, OutcomeUnknown, ViewsUnavailable) as error:
                self._note(error)
                await asyncio.sleep(backoff.next())
                continue
            self._note(None)
            backoff.reset()
            if not more:
                await asyncio.sleep(REST_SECONDS)

    async def sweep_page(self) -> bool:
        """Ends the holds of one page; whether another page follows. The page after the last is the first.

        Raises ViewsUnavailable, StoreUnavailable, OutcomeUnknown.
        """
        page = await self._views.due_holds(self._bank.clock(), self._after, PAGE)
        self._after = page[-1] if len(page) == PAGE else BEFORE_DUE
        due = Counter(hold.account_id for hold in page if self._may(hold.account_id))
        while due:
            await self._give_way()
            await self._expire(_slice(due))
        await self._give_way()
        return len(page) == PAGE

    def _may(self, account_id: str) -> bool:
        stuck = self._stuck.get(account_id)
        return stuck is None or stuck.until <= asyncio.get_running_loop().time()

    async def _expire(self, accounts: Sequence[str]) -> None:
        outcomes = await asyncio.gather(
            *(expire_holds(self._bank, account_id) for account_id in accounts), return_exceptions=True
        )
        for account_id, outcome in zip(accounts, outcomes, strict=True):
            if outcome is None:
                self._stuck.pop(account_id, None)
            elif isinstance(outcome, NewerVersionNeeded) or not isinstance(outcome, StoreUnavailable | OutcomeUnknown):
                self._set_back(account_id, outcome)
            else:
                raise outcome

    def _set_back(self, account_id: str, error: BaseException) -> None:
        stuck = self._stuck.get(account_id)
        if stuck is None:
            values = {"aggregate": account_stream(account_id), "reason": error}
            bug = None if isinstance(error, Refused | StoreDamaged | StoreUnavailable) else error
            _log.warning("holds that are due can't be ended", exc_info=bug, extra={"values": values})
            if len(self._stuck) >= STUCK_MAX:
                self._stuck.clear()
        backoff = stuck.backoff if stuck else Backoff(RETRY_SECONDS_MIN, RETRY_SECONDS_MAX)
        self._stuck[account_id] = _Stuck(backoff, asyncio.get_running_loop().time() + backoff.next())

    def _note(self, error: Exception | None) -> None:
        if self._available and error is not None:
            _log.warning("sweeper waits", extra={"values": {"reason": error}})
        self._available = error is None
