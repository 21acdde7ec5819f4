"""What happens to holds: placed, captured, released, and ended in time."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from openbank.aggregates.history import Happened
from openbank.aggregates.waiting import Written
from openbank.commands.on_account import change_by_rule, expire_only
from openbank.commands.write_side import WriteSide
from openbank.domain import hold_record, holds
from openbank.domain.account import Account
from openbank.domain.account_events import HoldPlaced
from openbank.domain.hold_record import HoldRecord
from openbank.domain.holds import CaptureHold, PlaceHold, ReleaseHold
from openbank.domain.request import Request
from openbank.domain.versioned import Versioned
from openbank.eventstore.errors import OutcomeUnknown, StoreDamaged, StoreUnavailable

SYSTEM_ACTOR = "system:holds"
"""The actor of what ends without a caller."""


class HoldOfAccount(NamedTuple):
    """A hold, and its account, right after an event of the hold."""

    hold: Versioned[HoldRecord]
    account: Account


async def place_hold(bank: WriteSide, command: PlaceHold, request: Request) -> Written[HoldOfAccount]:
    """Raises what `change` raises, AccountNotFound, AccountNotActive, TooManyHolds, SpendingLimitExceeded,
    InsufficientFunds."""

    return await _change(bank, command, request)


async def capture_hold(bank: WriteSide, command: CaptureHold, request: Request) -> Written[HoldOfAccount]:
    """Raises what `change` raises, AccountNotFound, AccountNotActive, HoldNotFound, HoldNotOpen, CaptureExceedsHold."""

    return await _change(bank, command, request)


async def release_hold(bank: WriteSide, command: ReleaseHold, request: Request) -> Written[HoldOfAccount]:
    """Raises what `change` raises, AccountNotFound, HoldNotFound, HoldNotOpen."""

    return await _change(bank, command, request)


async def expire_holds(bank: WriteSide, account_id: str) -> None:
    """Ends the holds of an account whose time has come. Writes nothing where there are none.

    Raises AccountNotFound, and what `Repository.execute` raises.
    """
    request = Request(actor=SYSTEM_ACTOR if bank.records_actors else "")
    more = True
    while more:
        written = await bank.accounts.execute(account_id, expire_only(account_id, bank.clock), request)
        more = any(True for _ in holds.due(written.resource.state, bank.clock()))


async def _change(
    bank: WriteSide, command: PlaceHold | CaptureHold | ReleaseHold, request: Request
) -> Written[HoldOfAccount]:
    return await with_hold(bank, command.account_id, await change_by_rule(bank, command, request), request)


async def with_hold(
    bank: WriteSide, account_id: str, written: Written[Account], request: Request
) -> Written[HoldOfAccount]:
    """The outcome of a command on a hold, with the hold."""
    try:
        held = await _with_hold(bank, account_id, written)
    except StoreUnavailable as error:
        if request.id or request.validate_only:
            raise
        # The event is durable; without a request id, sending the request again would make another.
        raise OutcomeUnknown(str(error)) from error
    return Written(held, written.event_id, written.record_time, written.position, written.replayed)


async def _with_hold(bank: WriteSide, account_id: str, written: Written[Account]) -> Versioned[HoldOfAccount]:
    """The hold that the last event of `written` is about: as that event leaves it, and the one that placed it."""
    after = written.resource
    first, last = await asyncio.gather(
        _event(bank, account_id, written, after.state.controls.last_hold),
        _event(bank, account_id, written, after.revision),
    )
    placed, changed = first.payload, hold_record.change_by(last.payload)
    if not isinstance(placed, HoldPlaced):
        raise StoreDamaged(f"account {account_id} has no hold placed at revision {after.state.controls.last_hold}")
    hold = hold_record.placed(account_id, placed)
    if changed is not None:
        hold = hold_record.changed(hold, changed)
    versioned = Versioned(hold, after.revision, first.record_time, after.update_time)
    return Versioned(HoldOfAccount(versioned, after.state), after.revision, after.create_time, after.update_time)


async def _event(bank: WriteSide, account_id: str, written: Written[Account], revision: int) -> Happened:
    """The account's event with this revision: in the log, or what a dry run would record."""
    later = written.resource.revision - revision
    if later < len(written.unrecorded):
        return Happened(written.unrecorded[-1 - later], written.resource.update_time)
    return await bank.accounts.event(account_id, revision)
