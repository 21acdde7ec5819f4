"""Accounts in memory as the views have them: those that were read lately, and the page of each owner's that was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from openbank.domain.account import Account
from openbank.domain.versioned import Versioned
from openbank.views.port import Listed

ACCOUNTS_MAX = 10_000
"""The most accounts, about 700 bytes each, and the most that pages list, about 150 bytes each. When either is full,
nothing is kept any more."""

AccountRows = Sequence[Listed[Account]]


class _Page(NamedTuple):
    after: int
    limit: int
    places: Sequence[tuple[int, str]]
    """Position and id of each account. They change only when the owner opens another account."""
    accounts: AccountRows | None
    """None since one of them has changed."""


class KeptAccounts:
    """What changes in the views must be reported here. Every account of a page that is complete is kept itself."""

    def __init__(self) -> None:
        self._accounts: dict[str, Versioned[Account]] = {}
        self._pages: dict[str, _Page] = {}
        self._listed = 0
        """The number of accounts in all pages."""

    @property
    def is_empty(self) -> bool:
        return not (self._accounts or self._pages)

    def account(self, account_id: str) -> Versioned[Account] | None:
        return self._accounts.get(account_id)

    def keep(self, account: Versioned[Account]) -> Versioned[Account]:
        if len(self._accounts) >= ACCOUNTS_MAX:
            self.clear()
        self._accounts[account.state.account_id] = account
        return account

    def page(
        self, owner_id: str, after: int, limit: int
    ) -> tuple[AccountRows | None, Sequence[tuple[int, str]] | None]:
        """The page, if it is complete, and the places of its accounts, if they are known."""
        page = self._pages.get(owner_id)
        if page is None or page.after != after or page.limit != limit:
            return None, None
        return page.accounts, page.places

    def keep_page(self, owner_id: str, after: int, limit: int, accounts: AccountRows) -> AccountRows:
        """Each owner has one page: most callers ask for the first one, of the same size."""
        self._forget_page(owner_id)
        if max(len(self._accounts), self._listed) + len(accounts) > ACCOUNTS_MAX:
            self.clear()
        places = [(one.position, one.resource.state.account_id) for one in accounts]
        self._accounts |= {one.resource.state.account_id: one.resource for one in accounts}
        self._pages[owner_id] = _Page(after, limit, places, accounts)
        self._listed += len(places)
        return accounts

    def changed(self, account_id: str) -> None:
        account = self._accounts.pop(account_id, None)
        if account is not None and (page := self._pages.get(account.state.owner_id)) is not None:
            self._pages[account.state.owner_id] = page._replace(accounts=None)

    def opened(self, owner_id: str) -> None:
        """The owner has another account."""
        self._forget_page(owner_id)

    def clear(self) -> None:
        self._accounts.clear()
        self._pages.clear()
        self._listed = 0

    def _forget_page(self, owner_id: str) -> None:
        page = self._pages.pop(owner_id, None)
        self._listed -= len(page.places) if page else 0
