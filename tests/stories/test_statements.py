"""An account's statements, movements and past balances: what callers see, on every back end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.accounts.v1.account_events_pb2 import AccountEventType
from openbank.common.v1.label_pb2 import Label
from openbank.config import EMBEDDED
from openbank.holds.v1 import holds_service_pb2 as holds
from openbank.transfers.v1 import transfers_service_pb2 as transfers
from tests.back_ends import BackEnd
from tests.callers import refused, show, usd
from tests.stories.one_account import NOW, AccountCaller, Clock, opened

SECOND = 1_000_000
SETTLED = 300 * SECOND
MANY = 1_000
"""Movements of one account."""
MANY_ON_SERVERS = 200
"""FerretDB is slow."""
RED = Label(key="colour", value="red")


class Bank(AccountCaller):
    """Calls about the account a-1."""

    def statement(self, **request: Any) -> Awaitable[Any]:
        request = {"account_id": "a-1", **request}
        return self.accounts.GetAccountStatement(accounts.GetAccountStatementRequest(**request))  # type: ignore[no-any-return]

    async def pages(self, **request: Any) -> list[Any]:
        pages = [await self.statement(**request)]
        while pages[-1].next_page_token:
            pages.append(await self.statement(**request, page_token=pages[-1].next_page_token))
        return pages

    def balance_at(self, **request: Any) -> Awaitable[Any]:
        request = {"account_id": "a-1", **request}
        return self.accounts.GetAccountBalance(accounts.GetAccountBalanceRequest(**request))  # type: ignore[no-any-return]

    def movements(self, **request: Any) -> Awaitable[Any]:
        return self.accounts.ListMovements(accounts.ListMovementsRequest(**request))  # type: ignore[no-any-return]

    def withdraw(self, amount: str, **changes: Any) -> Awaitable[Any]:
        request = accounts.WithdrawRequest(account_id="a-1", amount=usd(amount), **changes)
        return self.accounts.Withdraw(request)  # type: ignore[no-any-return]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def bank(back_end: BackEnd, tmp_path: Path, clock: Clock) -> AsyncIterator[Bank]:
    async with opened(Bank, back_end, tmp_path / "data", clock) as bank:
        yield bank


def at(seconds: float) -> Timestamp:
    time = Timestamp()
    time.FromMicroseconds(NOW + int(seconds * SECOND))
    return time


def times(start: float, end: float) -> accounts.TimePeriod:
    return accounts.TimePeriod(start_time=at(start), end_time=at(end))


def revisions(first: int, last: int) -> accounts.RevisionPeriod:
    return accounts.RevisionPeriod(first_revision=first, last_revision=last)


def totals(page: Any) -> tuple[str, str, str, str, int, int, int, bool]:
    amounts = page.opening_balance, page.closing_balance, page.total_credits, page.total_debits
    return (
        *[show(amount) for amount in amounts],
        page.entry_count,
        page.first_revision,
        page.last_revision,
        page.complete,
    )


async def test_periods_of_time_that_follow_one_another_join(bank: Bank, clock: Clock) -> None:
    for seconds in (10, 20, 20, 29.999999, 30):
        clock.now = NOW + int(seconds * SECOND)
        await bank.deposit("a-1", "1")
    clock.now = NOW + 31 * SECOND
    await bank.withdraw("5")
    before, first, second, third = [
        await bank.statement(times=times(*period)) for period in ((-9, 0), (0, 20), (20, 30), (30, 40))
    ]
    assert totals(before) == ("0.00 USD", "0.00 USD", "0.00 USD", "0.00 USD", 0, 0, 0, True)
    assert totals(first) == ("0.00 USD", "101.00 USD", "101.00 USD", "0.00 USD", 2, 1, 2, True)
    assert totals(second) == ("101.00 USD", "104.00 USD", "3.00 USD", "0.00 USD", 3, 3, 5, True)
    assert totals(third) == ("104.00 USD", "100.00 USD", "1.00 USD", "5.00 USD", 2, 6, 7, False)
    assert first.account_number
    assert (first.owner_id, first.currency_code) == ((await bank.account()).owner_id, "USD")
    assert [show(entry.amount) for entry in third.entries] == ["1.00 USD", "-5.00 USD"]
    assert [show(entry.balance_after) for entry in third.entries] == ["105.00 USD", "100.00 USD"]
    assert [entry.record_time for entry in third.entries] == [at(30), at(31)]


async def test_a_statement_is_complete_once_a_later_event_or_enough_time_says_so(bank: Bank, clock: Clock) -> None:
    clock.now = NOW + 10 * SECOND + SETTLED - 1
    assert not (await bank.statement(times=times(0, 10))).complete
    clock.now += 1
    assert (await bank.statement(times=times(0, 10))).complete
    clock.now = NOW + 10 * SECOND
    await bank.deposit("a-1", "1")
    assert (await bank.statement(times=times(0, 10))).complete
    assert not (await bank.statement(times=times(0, 10.000001))).complete
    for last, complete in ((1, True), (2, True), (3, False)):
        assert (await bank.statement(revisions=revisions(1, last))).complete is complete


async def test_the_pages_of_a_statement_say_the_same_while_writes_continue(bank: Bank, clock: Clock) -> None:
    clock.now = NOW + 1
    for number in range(1, 8):
        await bank.deposit("a-1", str(number))
    period = times(0, 5)
    first = await bank.statement(times=period, page_size=3)
    pages = [first]
    while pages[-1].next_page_token:
        await bank.withdraw("1")
        clock.now = NOW + 10 * SECOND + SETTLED
        pages.append(await bank.statement(times=period, page_size=3, page_token=pages[-1].next_page_token))
    assert {totals(page) for page in pages} == {totals(first)}
    assert not first.complete
    assert [entry.revision for page in pages for entry in page.entries] == list(range(1, 9))
    assert [len(page.entries) for page in pages] == [3, 3, 2]


async def test_an_event_that_moves_no_balance_has_a_revision_but_no_entry(bank: Bank) -> None:
    placed = await bank.holds.PlaceHold(holds.PlaceHoldRequest(account_id="a-1", amount=usd("30")))
    hold_id = placed.hold.hold_id
    capture = holds.CaptureHoldRequest(account_id="a-1", hold_id=hold_id, amount=usd("10"), description="Fuel")
    await bank.holds.CaptureHold(capture)
    await bank.open(account_id="b-1")
    sent = await bank.transfers.CreateTransfer(
        transfers.CreateTransferRequest(
            source_account_id="a-1",
            destination_account_id="b-1",
            amount=usd("5"),
            description="Rent",
            external_reference="R1",
            labels=[RED],
        )
    )
    page = await bank.statement(revisions=revisions(1, 9), consistency_token=sent.consistency_token)
    assert (page.first_revision, page.last_revision, page.entry_count) == (1, 4, 3)
    types = [AccountEventType.Name(entry.type).removeprefix("ACCOUNT_EVENT_TYPE_") for entry in page.entries]
    assert types == ["ACCOUNT_OPENED", "HOLD_CAPTURED", "TRANSFER_SENT"]
    opening, captured, rent = page.entries
    assert (captured.revision, captured.hold_id, captured.description) == (3, hold_id, "Fuel")
    assert (rent.transfer_id, rent.counterparty_account_id) == (sent.transfer.transfer_id, "b-1")
    assert (rent.event_id, rent.description, rent.external_reference) == (sent.event_id, "Rent", "R1")
    assert list(rent.labels) == [RED]
    assert show(opening.amount) == "100.00 USD"
    [received] = (await bank.statement(account_id="b-1", revisions=revisions(1, 9))).entries
    assert (received.transfer_id, received.counterparty_account_id) == (sent.transfer.transfer_id, "a-1")
    for revision, balance, available in ((1, "100", "100"), (2, "100", "70"), (3, "90", "70"), (4, "85", "65")):
        found = await bank.balance_at(revision=revision)
        assert (show(found.balance), show(found.available_balance)) == (f"{balance}.00 USD", f"{available}.00 USD")
        assert found.revision == revision


async def test_a_balance_is_as_it_was_at_a_time(bank: Bank, clock: Clock) -> None:
    for seconds in (10, 20, 20):
        clock.now = NOW + seconds * SECOND
        await bank.deposit("a-1", "1")
    for moment, balance, revision in ((0, 100, 1), (9.999999, 100, 1), (10, 101, 2), (20, 103, 4), (99, 103, 4)):
        found = await bank.balance_at(time=at(moment))
        assert (show(found.balance), found.revision) == (f"{balance}.00 USD", revision)
        assert (await bank.balance_at(time=found.record_time)).revision == revision
    just_before = at(10)
    just_before.FromNanoseconds(just_before.ToNanoseconds() - 1)
    assert (await bank.balance_at(time=just_before)).revision == 1
    never = await bank.balance_at(time=at(-0.000001))
    assert (show(never.balance), show(never.available_balance), never.revision) == ("0.00 USD", "0.00 USD", 0)
    assert not never.HasField("record_time")


async def test_movements_are_found_by_account_reference_and_label(bank: Bank) -> None:
    await bank.open(account_id="b-1", owner_id=(await bank.account()).owner_id)
    written = []
    for account_id, reference, labels in (
        ("a-1", "order", [RED]),
        ("b-1", "order", [RED]),
        ("a-1", "order", []),
        ("a-1", "", [Label(key="shop", value=""), RED]),
        ("b-1", "other", []),
    ):
        answer = await bank.deposit(account_id, "1", external_reference=reference, labels=labels)
        written.append(answer.event_id)
    token = answer.consistency_token
    for filters, wanted in (
        ({"account_id": "a-1", "external_reference": "order"}, [2, 0]),
        ({"account_id": "a-1", "label": RED}, [3, 0]),
        ({"account_id": "a-1", "label": Label(key="shop")}, [3]),
        ({"account_id": "a-1", "external_reference": "order", "label": RED}, [0]),
        ({"external_reference": "order"}, [2, 1, 0]),
        ({"external_reference": "order", "label": RED}, [1, 0]),
        ({"account_id": "a-1", "external_reference": "other"}, []),
    ):
        page = await bank.movements(**filters, consistency_token=token)
        assert [movement.entry.event_id for movement in page.movements] == [written[number] for number in wanted]
        one = await bank.movements(**filters, page_size=1)
        assert list(one.movements) == list(page.movements[:1])
        assert bool(one.next_page_token) is (len(wanted) > 1)
    of_account = await bank.movements(account_id="a-1", page_size=2)
    assert [movement.entry.event_id for movement in of_account.movements] == [written[3], written[2]]
    await bank.deposit("a-1", "1")
    rest = await bank.movements(account_id="a-1", page_token=of_account.next_page_token)
    assert [movement.entry.revision for movement in rest.movements] == [2, 1]
    assert {movement.account_id for movement in rest.movements} == {"a-1"}


async def test_questions_that_make_no_sense_are_refused_by_field(bank: Bank) -> None:
    period = {"revisions": revisions(1, 1)}
    token = (await bank.statement(times=times(0, 9), page_size=1)).next_page_token
    assert not token
    await bank.deposit("a-1", "1")
    token = (await bank.statement(revisions=revisions(1, 2), page_size=1)).next_page_token
    for call, request, field, reason in (
        (bank.statement, {}, "period", "FIELD_REQUIRED"),
        (bank.statement, {"times": accounts.TimePeriod(end_time=at(1))}, "times.start_time", "FIELD_REQUIRED"),
        (bank.statement, {"times": accounts.TimePeriod(start_time=at(1))}, "times.end_time", "FIELD_REQUIRED"),
        (bank.statement, {"times": times(1, 1)}, "times.end_time", "INVALID_PERIOD"),
        (bank.statement, {"times": times(2, 1)}, "times.end_time", "INVALID_PERIOD"),
        (bank.statement, {"revisions": revisions(0, 1)}, "revisions.first_revision", "INVALID_PERIOD"),
        (bank.statement, {"revisions": revisions(3, 2)}, "revisions.last_revision", "INVALID_PERIOD"),
        (bank.statement, {**period, "account_id": "?"}, "account_id", "INVALID_ID"),
        (bank.statement, {**period, "page_size": -1}, "page_size", "INVALID_PAGE_SIZE"),
        (bank.statement, {**period, "page_token": token}, "page_token", "INVALID_PAGE_TOKEN"),
        (bank.balance_at, {}, "at", "FIELD_REQUIRED"),
        (bank.balance_at, {"revision": 0}, "revision", "INVALID_PERIOD"),
        (bank.balance_at, {"time": Timestamp(nanos=-1)}, "time", "INVALID_TIME"),
        (bank.movements, {}, "account_id", "FIELD_REQUIRED"),
        (bank.movements, {"label": RED}, "account_id", "FIELD_REQUIRED"),
        (bank.movements, {"account_id": "a-1", "label": Label()}, "label.key", "FIELD_REQUIRED"),
        (bank.movements, {"account_id": "a-1", "label": Label(key="A")}, "label.key", "INVALID_LABEL"),
        (bank.movements, {"external_reference": "x" * 65}, "external_reference", "FIELD_TOO_LONG"),
    ):
        refusal = await refused(call(**request))
        assert refusal.code is StatusCode.INVALID_ARGUMENT
        assert refusal.violations == {field: reason}
    nobody: dict[str, Any] = {"account_id": "nobody"}
    for call, request in (
        (bank.statement, period),
        (bank.balance_at, {"revision": 1}),
        (bank.balance_at, {"time": at(0)}),
        (bank.movements, {}),
    ):
        assert (await refused(call(**{**request, **nobody}))).reason == "ACCOUNT_NOT_FOUND"
    beyond = await refused(bank.balance_at(revision=3))
    assert (beyond.code, beyond.reason) == (StatusCode.OUT_OF_RANGE, "POSITION_OUT_OF_RANGE")
    assert beyond.metadata == {"accountId": "a-1", "revision": "3", "lastRevision": "2"}


async def test_a_long_statement_agrees_with_a_fold_while_writes_continue(bank: Bank, chosen: BackEnd) -> None:
    """The fold is of what the feed sent."""
    for _ in range((MANY if chosen.views == EMBEDDED else MANY_ON_SERVERS) // 100):
        await asyncio.gather(*(bank.deposit("a-1", "2") for _ in range(50)), *(bank.withdraw("1") for _ in range(50)))
    written = await bank.deposit("a-1", "1")
    last = written.account.revision
    await bank.balance_in_the_end("a-1", written.consistency_token)
    period = revisions(2, last)

    async def write() -> None:
        while True:
            await bank.deposit("a-1", "1")
            await asyncio.sleep(0.01)

    writing = asyncio.create_task(write())
    pages = await bank.pages(revisions=period, page_size=70)
    writing.cancel()
    balance, wanted = Decimal(100), []
    for event in (await bank.account_events())[1:last]:
        before, balance = balance, Decimal(show(event.balance).split()[0])
        wanted.append((event.revision, event.event_id, balance - before, balance))
    entries = [entry for page in pages for entry in page.entries]
    amounts = [tuple(Decimal(show(one).split()[0]) for one in (e.amount, e.balance_after)) for e in entries]
    found = [(e.revision, e.event_id, *amount) for e, amount in zip(entries, amounts, strict=True)]
    assert found == wanted
    [said] = {totals(page) for page in pages}
    credits, debits = (sum(amount for _, _, amount, _ in wanted if amount * sign > 0) for sign in (1, -1))
    assert said == (
        "100.00 USD",
        f"{balance:.2f} USD",
        f"{credits:.2f} USD",
        f"{-debits:.2f} USD",
        len(wanted),
        2,
        last,
        True,
    )
