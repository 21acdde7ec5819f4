"""The accounts of an owner, as far as the log is projected, for watches that read the accounts' streams."""

from __future__ import annotations

from collections.abc import Sequence

from openbank.eventstore.port import NO_STREAM, LogPosition
from openbank.views.port import Views, ViewsUnavailable


class OwnersAccounts:
    def __init__(self, views: Views) -> None:
        self._views = views

    @property
    def place(self) -> LogPosition:
        """The place up to which the log is projected. Read it before `accounts_of`, which may know more."""
        return self._views.place

    async def accounts_of(self, owner_id: str, limit: int) -> Sequence[str] | None:
        """The ids of the first `limit` accounts; None while the views are away."""
        try:
            listed = await self._views.accounts_by_owner(owner_id, NO_STREAM, limit)
        except ViewsUnavailable:
            return None
        return [one.resource.state.account_id for one in listed]
