"""Questions about movements. `at` is a position that the answer must have seen, None where any recent one will do."""

from __future__ import annotations

import json

from openbank.domain.errors import AccountNotFound
from openbank.eventstore.port import LogPosition
from openbank.eventstore.streams import account_stream
from openbank.queries.paging import AFTER_THE_LAST, Listing, ListPage, PageRequest, read_page
from openbank.queries.reader import Reader
from openbank.views.port import Movement, MovementFilter


def movements_listing(reader: Reader, filter: MovementFilter) -> Listing:
    return Listing("movements", json.dumps(filter), reader.views.log, reader.seal)


async def list_movements(
    reader: Reader, filter: MovementFilter, page: PageRequest, at: LogPosition | None = None
) -> ListPage[Movement]:
    """Newest first. `page` belongs to `movements_listing`.

    Raises AccountNotFound, AggregateQuarantined, ViewBehind.
    """
    views = reader.views
    found = await read_page(
        reader,
        page,
        at,
        AFTER_THE_LAST,
        # Another instance may be writing later movements, in any order: a newer one may be there before an older one.
        lambda before, limit: views.movements(filter, min(before, views.place.position + 1), limit),
        lambda movement: movement.position,
    )
    if filter.account_id:
        reader.check_aggregate(account_stream(filter.account_id))
        # No movements were found in views as fresh as the head: an account they do not know was not there either.
        if not found.items and await views.account(filter.account_id) is None:
            raise AccountNotFound(filter.account_id)
    return found
