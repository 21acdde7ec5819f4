"""Whose the accounts are, as far as the log is projected: for those who read the streams of an owner's accounts."""

from __future__ import annotations

from collections.abc import Sequence

from openbank.eventstore.port import NO_STREAM, LogPosition
from openbank.views.port import Views, ViewsUnavailable


class OwnersAccounts:
    def __init__(self, views: Views) -> None:
        self._views = views

    @property
    def position(self) -> LogPosition:
        """How far the log is known. Take it before `accounts_of` is asked, which may know more."""
        return self._views.position

    async def accounts_of(self, owner_id: str, limit: int) -> Sequence[str] | None:
        """The ids of the first `limit` accounts; None while the views are away."""
        try:
            listed = await self._views.accounts_by_owner(owner_id, NO_STREAM, limit)
        except ViewsUnavailable:
            return None
        return [one.resource.state.account_id for one in listed]
