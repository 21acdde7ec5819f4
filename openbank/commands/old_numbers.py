"""Account numbers that earlier versions reserved with their hyphens.

Hyphens do not count in an account number; earlier versions counted them. So `1234-5678` was reserved in a stream of its
own, where nobody looks who wants `12345678` today. Before a bank is served, each such reservation is written again into
the stream that counts now, once. Accounts whose numbers differ only by hyphens stay as they are.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from time import monotonic

from openbank.commands.numbers import took_its_number
from openbank.commands.write_side import WriteSide
from openbank.domain.errors import Refused, RevisionMismatch
from openbank.domain.request import Request
from openbank.eventstore.errors import OutcomeUnknown, StoreUnavailable
from openbank.eventstore.extensions import OldNumbers

TOGETHER = 64
"""Reservations written at once, which share their commits."""
PROGRESS_SECONDS = 10.0
"""Between two lines about it: a million numbers take minutes, in which nothing is served."""

_log = logging.getLogger(__name__)


async def adopt_old_numbers(bank: WriteSide, store: OldNumbers) -> None:
    """Does nothing where it was done. Raises StoreUnavailable."""
    if store.numbers_adopted:
        return
    _log.info("looking for account numbers that an earlier version reserved with hyphens, once")
    streams = await store.hyphenated_number_streams()
    said_at = monotonic()
    try:
        for start in range(0, len(streams), TOGETHER):
            if monotonic() - said_at >= PROGRESS_SECONDS:
                said_at = monotonic()
                _log.info(
                    "reserving account numbers without hyphens", extra={"values": {"done": start, "of": len(streams)}}
                )
            await asyncio.gather(*(_adopt(bank, stream) for stream in streams[start : start + TOGETHER]))
    except OutcomeUnknown as error:
        # The next start finds out.
        raise StoreUnavailable(str(error)) from error
    await store.note_numbers_adopted()
    if streams:
        values = {"with_hyphens": len(streams)}
        _log.info("account numbers are compared without hyphens from now on", extra={"values": values})


async def _adopt(bank: WriteSide, stream: str) -> None:
    """An account that is open has the number already, or the reservation's account gets it; else it is void."""
    with suppress(Refused):
        # A quarantined number stays as it is, and its use is refused. A reservation that cannot be opened is void.
        await _adopt_reservation(bank, stream)


async def _adopt_reservation(bank: WriteSide, stream: str) -> None:
    old = await bank.old_numbers.load(stream)
    if old is None:
        return
    reserved = old.state
    number = reserved.command.account_number
    while True:
        current = await bank.numbers.load(number)
        if current is not None and await took_its_number(bank, current.state):
            return
        if not await took_its_number(bank, reserved):
            return
        at = Request(
            correlation_id=reserved.correlation_id, expected_revision=current.revision if current is not None else 0
        )
        try:
            await bank.numbers.execute(number, lambda _: (reserved,), at)
            return
        except RevisionMismatch:
            continue
