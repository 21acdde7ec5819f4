"""Compares the driver's answers, the log, the views and the feeds with one another."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from grpc.aio import AioRpcError

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.accounts.v1.account_pb2 import AccountState
from openbank.codec import events as codec
from openbank.common.v1.money_pb2 import Money
from openbank.eventstore.port import RecordedEvent
from openbank.eventstore.streams import ACCOUNT, split
from openbank.holds.v1 import holds_service_pb2 as holds
from openbank.holds.v1.hold_pb2 import HoldState
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.transfers.v1 import transfers_service_pb2 as transfers
from openbank.transfers.v1.transfer_pb2 import TransferState
from tests.callers import Caller, refusal
from tests.faults.ledger import Folded, Ledger
from tests.faults.recorder import Recorder
from tests.faults.told import Asked, Broken, Told, resource, understand

VIEWS_SECONDS_MAX = 60.0
"""For views and feeds to come as far as the log has."""
PAGE = 50


def check_told(asked: Sequence[Asked], ledger: Ledger) -> None:
    """Every acknowledged request is in the log exactly once, and nothing that was refused is."""
    written: dict[int, list[RecordedEvent]] = defaultdict(list)
    for event in ledger.asked_for:
        written[int(event.metadata.correlation_id.partition(".")[0])].append(event)
    for one in asked:
        least, most = one.written
        events = written.pop(one.number, [])
        if not least <= len(events) <= most:
            outcome = "acknowledged" if one.answers else f"refused ({one.refusal})" if one.refusal else "uncertain"
            raise Broken(f"{one} is in the log {len(events)} times, and was {outcome}")
        for event in events if one.answers else ():
            _check_answer(one, event)
    if written:
        raise Broken(f"no request asked for {next(iter(written.values()))}")


def _check_answer(asked: Asked, event: RecordedEvent) -> None:
    answer = asked.answers[0]
    made = resource(answer)
    category, identifier = split(event.stream)
    if str(UUID(bytes=event.id)) != answer.event_id or event.revision != made.revision:
        raise Broken(f"{asked} was answered {answer}, and is in the log as {event}")
    if identifier != (made.account_id if category == ACCOUNT else made.person_id):
        raise Broken(f"{asked} is in the log of {event.stream}")
    if asked.named and UUID(bytes=event.metadata.request_id) != UUID(asked.message.request_id):
        raise Broken(f"{asked} is in the log under another request id: {event}")
    if answer.record_time.ToMicroseconds() != event.metadata.record_time:
        raise Broken(f"{asked} was answered another record time than the log has: {answer}")
    if category == ACCOUNT:
        stated: Any = codec.decode(event.type, event.data, identifier)
        if [minor(made.balance), minor(made.available_balance)] != [
            stated.balance_after.minor,
            stated.available_after.minor,
        ]:
            raise Broken(f"{asked} was answered another balance than the log has: {answer}")


def check_complete(recorder: Recorder, asked: Sequence[Asked]) -> None:
    """A feed that said that it had all there was, as of a time, had all that was acknowledged until then."""
    done_at = {one.answers[0].event_id: one.done_at for one in asked if one.answers}
    as_of = 0.0
    for number, event_id in enumerate(recorder.events):
        as_of = max(as_of, recorder.complete.get(number, 0) / 1e6)
        if done_at.get(event_id, as_of) < as_of:
            raise Broken(
                f"a feed was all there was as of {as_of}, without an event acknowledged at {done_at[event_id]}"
            )


async def check_feed(recorder: Recorder, events: Sequence[RecordedEvent]) -> None:
    """What was recorded is the log: in its order, without a gap, nothing twice."""
    expected = [str(UUID(bytes=event.id)) for event in events]
    try:
        async with asyncio.timeout(VIEWS_SECONDS_MAX):
            while len(recorder.events) < len(expected):  # noqa: ASYNC110 - there is no event
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise Broken(f"a feed has stopped at {len(recorder.events)} of {len(expected)} events") from None
    if recorder.events != expected:
        at = next(i for i, (one, other) in enumerate(zip(recorder.events, expected, strict=False)) if one != other)
        raise Broken(f"a feed differs from the log from event {at} on")


async def check_views(caller: Caller, ledger: Ledger, token: str, poisoned: Collection[str] = ()) -> None:
    """Every query answers what the log says, and nothing of accounts that are `poisoned` but that they are."""
    for account_id, folded in ledger.accounts.items():
        if account_id in poisoned:
            await _check_quarantined(caller, account_id, token)
        else:
            await _check_account(caller, account_id, folded, token)
    by_owner: dict[str, list[str]] = defaultdict(list)
    for account_id, folded in ledger.accounts.items():
        assert folded.opened is not None
        by_owner[folded.opened.owner_id].append(account_id)
    for owner_id, expected in by_owner.items():
        by_owner_request = accounts.ListAccountsByOwnerRequest(owner_id=owner_id, page_size=PAGE)
        found = await _list(caller.accounts.ListAccountsByOwner, by_owner_request, "accounts", token)
        _compare(f"accounts of {owner_id}", [one.account_id for one in found], expected)
    everybody = await _list(caller.persons.ListPersons, persons.ListPersonsRequest(page_size=PAGE), "persons", token)
    expected_persons = [(person_id, len(folded.events)) for person_id, folded in ledger.persons.items()]
    unpoisoned = {id: one for id, one in ledger.accounts.items() if id not in poisoned}
    for account_id, folded in unpoisoned.items():
        await _check_holds(caller, account_id, folded, token)
    await _check_transfers(caller, ledger, token, unpoisoned)
    _compare("persons", [(one.person_id, one.revision) for one in everybody], expected_persons)


async def _check_quarantined(caller: Caller, account_id: str, token: str) -> None:
    amount = Money(currency_code="USD", units=1)
    for method, request in (
        (caller.accounts.GetAccount, accounts.GetAccountRequest(account_id=account_id, consistency_token=token)),
        (caller.accounts.Deposit, accounts.DepositRequest(account_id=account_id, amount=amount)),
    ):
        deadline = asyncio.get_running_loop().time() + VIEWS_SECONDS_MAX
        reason = ""
        # An instance sees within a second what another one has quarantined.
        while reason != "AGGREGATE_QUARANTINED":
            try:
                await method(request, timeout=VIEWS_SECONDS_MAX)
                if method is caller.accounts.Deposit:
                    raise Broken(f"the poisoned account {account_id} took a deposit")
            except AioRpcError as error:
                reason = refusal(error).reason if "ErrorInfo" in refusal(error).details else ""
            if asyncio.get_running_loop().time() > deadline:
                raise Broken(f"the poisoned account {account_id} is not quarantined: {reason}")
            await asyncio.sleep(0.1)


async def _check_account(caller: Caller, account_id: str, folded: Folded, token: str) -> None:
    opened = folded.opened
    assert opened is not None
    found = await _ask(caller.accounts.GetAccount, accounts.GetAccountRequest(account_id=account_id), token)
    account = found.account
    state = AccountState.Value(f"ACCOUNT_STATE_{folded.state}")
    expected = (
        (folded.balance, folded.available, folded.overdraft, sum(folded.holds.values()), state),
        (len(folded.events), opened.owner_id, opened.account_number),
    )
    amounts = (account.balance, account.available_balance, account.overdraft_limit, account.held_balance)
    shown = (*map(minor, amounts), account.state), (account.revision, account.owner_id, account.account_number)
    _compare(account_id, shown, expected)
    by_number = accounts.GetAccountByNumberRequest(account_number=opened.account_number)
    _compare(account_id, (await _ask(caller.accounts.GetAccountByNumber, by_number, token)).account, account)
    newest = accounts.ListAccountEventsRequest(account_id=account_id, page_size=PAGE)
    listed = await _ask(caller.accounts.ListAccountEvents, newest, token)
    ids = [str(UUID(bytes=event.id)) for event in reversed(folded.events)][:PAGE]
    _compare(f"events of {account_id}", [event.event_id for event in listed.events], ids)


async def _check_holds(caller: Caller, account_id: str, folded: Folded, token: str) -> None:
    request = holds.ListHoldsRequest(account_id=account_id, page_size=PAGE)
    found = await _list(caller.holds.ListHolds, request, "holds", token)
    shown = {hold.hold_id: (minor(hold.remaining_amount), HoldState.Name(hold.state)) for hold in found}
    expected = {
        hold_id: (remaining, f"HOLD_STATE_{folded.ended.get(hold_id, 'OPEN')}")
        for hold_id, remaining in folded.holds.items()
    }
    _compare(f"holds of {account_id}", shown, expected)


async def _check_transfers(caller: Caller, ledger: Ledger, token: str, accounts: Collection[str]) -> None:
    """Those between accounts that are believed."""
    found = await _list(
        caller.transfers.ListTransfers, transfers.ListTransfersRequest(page_size=PAGE), "transfers", token
    )
    both = {
        transfer_id: one
        for transfer_id, one in ledger.transfers.items()
        if one.source in accounts and one.destination in accounts
    }
    shown = {
        one.transfer_id: (minor(one.amount), TransferState.Name(one.state)) for one in found if one.transfer_id in both
    }
    expected = {transfer_id: (one.amount, f"TRANSFER_STATE_{one.state}") for transfer_id, one in both.items()}
    _compare("transfers", shown, expected)


async def _list(method: Any, request: Any, name: str, token: str) -> list[Any]:
    found: list[Any] = []
    while True:
        page = await _ask(method, request, token)
        found += getattr(page, name)
        request.page_token = page.next_page_token
        if not request.page_token:
            return found


async def _ask(method: Any, request: Any, token: str) -> Any:
    request.consistency_token = token
    deadline = asyncio.get_running_loop().time() + VIEWS_SECONDS_MAX
    while True:
        try:
            return await method(request, timeout=VIEWS_SECONDS_MAX)
        except AioRpcError as error:
            told, why = understand(error)
            if told is Told.REFUSED or asyncio.get_running_loop().time() > deadline:
                raise Broken(f"a query is answered {why}: {request}") from None
        await asyncio.sleep(0.1)


def _compare(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise Broken(f"the views differ from the log: {what} is {found}, not {expected}")


def minor(money: Money) -> int:
    return money.units * 100 + money.nanos // 10_000_000
