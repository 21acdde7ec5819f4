"""Questions about transfers. `at` is a position that the answer must have seen, None where any recent one will do."""

from __future__ import annotations

from collections.abc import Sequence

from openbank.domain.errors import AccountNotFound, TransferNotFound
from openbank.domain.transfers import Transfer, TransferState
from openbank.eventstore.port import LogPosition
from openbank.queries.paging import AFTER_THE_LAST, Listing, ListPage, PageRequest, read_page
from openbank.queries.reader import Answer, Reader, answer


async def get_transfer(reader: Reader, transfer_id: str, at: LogPosition | None = None) -> Answer[Transfer]:
    """Raises TransferNotFound, ViewBehind."""
    transfer, place = await answer(reader, at, lambda: reader.views.transfer(transfer_id))
    if transfer is None:
        raise TransferNotFound(transfer_id)
    return Answer(transfer, place)


def transfers_listing(reader: Reader, account_id: str, states: Sequence[TransferState]) -> Listing:
    return Listing(
        "transfers", " ".join((account_id, *(state.name for state in states))), reader.views.log, reader.seal
    )


async def list_transfers(
    reader: Reader,
    account_id: str,
    states: Sequence[TransferState],
    page: PageRequest,
    at: LogPosition | None = None,
) -> ListPage[Transfer]:
    """Newest first. No account id is every account, no state every state. `page` belongs to `transfers_listing`.

    Raises AccountNotFound, ViewBehind.
    """
    views = reader.views
    rows, token, place = await read_page(
        reader,
        page,
        at,
        AFTER_THE_LAST,
        lambda before, limit: views.transfers(account_id, states or tuple(TransferState), before, limit),
        lambda row: row.position,
    )
    # No transfers were found in views as fresh as the head, so that an account they do not know was not there either.
    if not rows and account_id and await views.account(account_id) is None:
        raise AccountNotFound(account_id)
    return ListPage([row.transfer for row in rows], token, place)


async def unsettled_from(reader: Reader, account_id: str, at: LogPosition) -> int:
    """How many transfers the account has sent, up to `at`, that are not settled at the end of the log.

    Raises ViewBehind, ViewsUnavailable.
    """
    through = max(at, await reader.head(), key=lambda place: place.position)
    return (await answer(reader, through, lambda: reader.views.unsettled_from(account_id))).value


async def transfer_now(reader: Reader, transfer_id: str) -> Transfer:
    """Raises TransferNotFound, ViewBehind, ViewsUnavailable."""
    return (await get_transfer(reader, transfer_id)).value
