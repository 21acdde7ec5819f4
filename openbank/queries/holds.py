"""Questions about holds. `at` is a position that the answer must have seen, None where any recent one will do."""

from __future__ import annotations

from collections.abc import Collection

from openbank.domain.errors import AccountNotFound, HoldNotFound
from openbank.domain.hold_record import HoldRecord, HoldState
from openbank.domain.versioned import Versioned
from openbank.eventstore.port import LogPosition
from openbank.eventstore.streams import account_stream
from openbank.queries.paging import AFTER_THE_LAST, Listing, ListPage, PageRequest, read_page
from openbank.queries.reader import Answer, Reader, answer


async def get_hold(reader: Reader, hold_id: str, at: LogPosition | None = None) -> Answer[Versioned[HoldRecord]]:
    """Raises HoldNotFound, AggregateQuarantined, ViewBehind."""
    hold, place = await answer(reader, at, lambda: reader.views.hold(hold_id))
    if hold is None:
        raise HoldNotFound(hold_id)
    reader.check_aggregate(account_stream(hold.state.account_id))
    return Answer(hold, place)


def holds_listing(reader: Reader, account_id: str, states: Collection[HoldState]) -> Listing:
    names = sorted(state.value for state in states)
    return Listing("holds", " ".join([account_id, *names]), reader.views.log, reader.seal)


async def list_holds(
    reader: Reader, account_id: str, states: Collection[HoldState], page: PageRequest, at: LogPosition | None = None
) -> ListPage[Versioned[HoldRecord]]:
    """Newest first. `page` belongs to `holds_listing`.

    Raises AccountNotFound, AggregateQuarantined, ViewBehind.
    """
    views = reader.views
    rows, token, place = await read_page(
        reader,
        page,
        at,
        AFTER_THE_LAST,
        lambda before, limit: views.holds(account_id, states, before, limit),
        lambda row: row.position,
    )
    reader.check_aggregate(account_stream(account_id))
    # No holds were found in views as fresh as the head, so that an account they do not know was not there either.
    if not rows and await views.account(account_id) is None:
        raise AccountNotFound(account_id)
    return ListPage([row.resource for row in rows], token, place)
