"""Questions about accounts. `at` is a position that the answer must have seen, None where any recent one will do."""

from __future__ import annotations

from openbank.domain.account import Account
from openbank.domain.errors import AccountNotFound, OwnerNotFound
from openbank.domain.fields import account_number_key, account_number_with_hyphens
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import LogPosition, RecordedEvent
from openbank.eventstore.streams import account_stream
from openbank.queries.paging import AFTER_THE_LAST, Listing, ListPage, PageRequest, read_page
from openbank.queries.reader import Answer, Reader, answer
from openbank.views.port import Listed


async def get_account(reader: Reader, account_id: str, at: LogPosition | None = None) -> Answer[Versioned[Account]]:
    """Raises AccountNotFound, AggregateQuarantined, ViewBehind."""
    account, place = await answer(reader, at, lambda: reader.views.account(account_id))
    reader.check_aggregate(account_stream(account_id))
    if account is None:
        raise AccountNotFound(account_id)
    return Answer(account, place)


async def get_account_by_number(
    reader: Reader, account_number: str, at: LogPosition | None = None
) -> Answer[Versioned[Account]]:
    """By its number, whatever its spaces, hyphens and case. Raises AccountNotFound,
    AggregateQuarantined, ViewBehind.

    Of accounts that differ by hyphens only, which earlier versions opened, it is the one that has them in the same
    places, else the one opened first.
    """
    views, key, wanted = reader.views, account_number_key(account_number), account_number_with_hyphens(account_number)

    async def with_these_hyphens() -> Versioned[Account] | None:
        accounts = await views.accounts_by_number(key)
        return next((one for one in accounts if account_number_with_hyphens(one.state.account_number) == wanted), None)

    account, place = await answer(reader, at, with_these_hyphens)
    if account is None:
        # No account has these hyphens, in views that have reached the head. No new one will have them either.
        others = await views.accounts_by_number(key)
        if not others:
            raise AccountNotFound(account_number=account_number)
        account = others[0]
    reader.check_aggregate(account_stream(account.state.account_id))
    return Answer(account, place)


def accounts_listing(reader: Reader, owner_id: str) -> Listing:
    return Listing("accounts", owner_id, reader.views.log, reader.seal)


def account_events_listing(reader: Reader, account_id: str) -> Listing:
    return Listing("account events", account_id, reader.views.log, reader.seal)


async def list_accounts_by_owner(
    reader: Reader, owner_id: str, page: PageRequest, at: LogPosition | None = None
) -> ListPage[Listed[Account]]:
    """In the order of opening; empty for a person without accounts. `page` belongs to `accounts_listing`.

    Raises OwnerNotFound, ViewBehind.
    """
    views = reader.views
    found = await read_page(
        reader,
        page,
        at,
        0,
        lambda after, limit: views.accounts_by_owner(owner_id, after, limit),
        lambda row: row.position,
    )
    # No accounts were found in views as fresh as the head, so that a person they do not know was not there either.
    if not found.items and await views.person(owner_id) is None:
        raise OwnerNotFound(owner_id)
    return found


async def list_account_events(
    reader: Reader, account_id: str, page: PageRequest, at: LogPosition | None = None
) -> ListPage[RecordedEvent]:
    """Newest first. `page` belongs to `account_events_listing`.

    Raises AccountNotFound, AggregateQuarantined, ViewBehind.
    """
    views = reader.views
    found = await read_page(
        reader,
        page,
        at,
        AFTER_THE_LAST,
        lambda before, limit: views.account_events(account_id, before, limit),
        lambda event: event.revision,
    )
    reader.check_aggregate(account_stream(account_id))
    # Every account has the event of its opening.
    if not found.items:
        raise AccountNotFound(account_id)
    return found
