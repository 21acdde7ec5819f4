"""Money is placed on hold, captured, released, and given back in time: what callers see, on every back end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode

from openbank.accounts.v1 import account_pb2
from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.codec import events as codec
from openbank.common.v1.money_pb2 import Money
from openbank.domain.account_events import HoldReleased
from openbank.eventstore.port import Metadata, NewEvent
from openbank.holds.v1 import hold_pb2
from openbank.holds.v1 import holds_service_pb2 as holds
from tests.back_ends import BackEnd
from tests.callers import refused, request_id, show, until, until_available, usd
from tests.examples import usd as money
from tests.servers import ServerProcess
from tests.stories.one_account import NOW, AccountCaller, Clock, opened
from tests.stories.test_quarantine import written

SECOND = 1_000_000
DAY = 86_400 * SECOND
OPEN, CAPTURED = hold_pb2.HOLD_STATE_OPEN, hold_pb2.HOLD_STATE_CAPTURED
RELEASED, EXPIRED = hold_pb2.HOLD_STATE_RELEASED, hold_pb2.HOLD_STATE_EXPIRED


class Bank(AccountCaller):
    """Calls about the account a-1."""

    def place(self, amount: str, account_id: str = "a-1", **changes: Any) -> Awaitable[Any]:
        request = holds.PlaceHoldRequest(account_id=account_id, amount=usd(amount), **changes)
        return self.holds.PlaceHold(request)  # type: ignore[no-any-return]

    def capture(self, hold_id: str, amount: str = "", **changes: Any) -> Awaitable[Any]:
        paid: dict[str, Any] = {"amount": usd(amount)} if amount else {}
        return self.holds.CaptureHold(  # type: ignore[no-any-return]
            holds.CaptureHoldRequest(account_id="a-1", hold_id=hold_id, **paid, **changes)
        )

    def release(self, hold_id: str, **changes: Any) -> Awaitable[Any]:
        return self.holds.ReleaseHold(holds.ReleaseHoldRequest(account_id="a-1", hold_id=hold_id, **changes))  # type: ignore[no-any-return]

    async def hold(self, hold_id: str, token: str = "") -> hold_pb2.Hold:
        found = await self.holds.GetHold(holds.GetHoldRequest(hold_id=hold_id, consistency_token=token))
        hold: hold_pb2.Hold = found.hold
        return hold

    async def listed(self, token: str, *states: Any, **changes: Any) -> list[str]:
        request = holds.ListHoldsRequest(account_id="a-1", states=states, consistency_token=token, **changes)
        return [hold.hold_id for hold in (await self.holds.ListHolds(request)).holds]

    async def ended(self, hold_id: str) -> hold_pb2.Hold:
        """The hold, once somebody has recorded its end."""
        async with asyncio.timeout(20):
            while (hold := await self.hold(hold_id)).state == OPEN:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return hold


@pytest.fixture
async def bank(back_end: BackEnd, tmp_path: Path, clock: Clock) -> AsyncIterator[Bank]:
    async with opened(Bank, back_end, tmp_path / "data", clock) as bank:
        yield bank


async def test_money_on_hold_is_in_the_balance_and_cannot_be_spent(bank: Bank) -> None:
    placed = await bank.place("60", description="Hotel")
    assert (placed.hold.account_id, placed.hold.state, placed.hold.description) == ("a-1", OPEN, "Hotel")
    assert [show(amount) for amount in amounts(placed.hold)] == ["60.00 USD", "0.00 USD", "60.00 USD"]
    assert placed.hold.create_time == placed.hold.update_time == placed.record_time
    assert placed.hold.expire_time.ToMicroseconds() == NOW + 7 * DAY
    account = placed.account
    assert [show(one) for one in (account.balance, account.held_balance, account.available_balance)] == [
        "100.00 USD",
        "60.00 USD",
        "40.00 USD",
    ]
    assert await bank.hold(placed.hold.hold_id, placed.consistency_token) == placed.hold
    assert await bank.account(placed.consistency_token) == account
    refusal = await refused(bank.place("40.01"))
    assert (refusal.reason, refusal.metadata["availableBalance"]) == ("INSUFFICIENT_FUNDS", "40.00 USD")
    await bank.place("40")


async def test_a_hold_is_captured_in_parts(bank: Bank, clock: Clock) -> None:
    placed = await bank.place("60", description="Hotel")
    clock.now += SECOND
    first = await bank.capture(placed.hold.hold_id, "25", description="First night")
    assert [show(amount) for amount in amounts(first.hold)] == ["60.00 USD", "25.00 USD", "35.00 USD"]
    assert (first.hold.state, first.hold.description) == (OPEN, "Hotel")
    assert first.hold.create_time == placed.record_time
    assert first.hold.update_time == first.record_time
    assert (show(first.account.balance), show(first.account.available_balance)) == ("75.00 USD", "40.00 USD")
    assert await bank.hold(placed.hold.hold_id, first.consistency_token) == first.hold
    refusal = await refused(bank.capture(placed.hold.hold_id, "35.01"))
    assert (refusal.code, refusal.reason) == (StatusCode.FAILED_PRECONDITION, "CAPTURE_EXCEEDS_HOLD")
    assert refusal.metadata["remaining"] == "35.00 USD"
    last = await bank.capture(placed.hold.hold_id)
    assert [show(amount) for amount in amounts(last.hold)] == ["60.00 USD", "60.00 USD", "0.00 USD"]
    assert last.hold.state == CAPTURED
    assert not last.account.HasField("held_balance")
    assert await bank.hold(placed.hold.hold_id, last.consistency_token) == last.hold
    for call in (bank.capture(placed.hold.hold_id, "1"), bank.release(placed.hold.hold_id)):
        assert (await refused(call)).reason == "HOLD_NOT_OPEN"


async def test_the_last_capture_gives_the_rest_back(bank: Bank) -> None:
    placed = await bank.place("60")
    captured = await bank.capture(placed.hold.hold_id, "25", release_remainder=True)
    assert captured.hold.state == CAPTURED
    assert [show(amount) for amount in amounts(captured.hold)] == ["60.00 USD", "25.00 USD", "0.00 USD"]
    assert show(captured.account.available_balance) == "75.00 USD"
    assert await bank.hold(placed.hold.hold_id, captured.consistency_token) == captured.hold


async def test_a_released_hold_gives_back_what_remains(bank: Bank) -> None:
    placed = await bank.place("60")
    await bank.capture(placed.hold.hold_id, "10")
    released = await bank.release(placed.hold.hold_id, description="Cancelled")
    assert released.hold.state == RELEASED
    assert [show(amount) for amount in amounts(released.hold)] == ["60.00 USD", "10.00 USD", "0.00 USD"]
    assert show(released.account.available_balance) == "90.00 USD"
    assert await bank.hold(placed.hold.hold_id, released.consistency_token) == released.hold
    assert (await refused(bank.release(placed.hold.hold_id))).reason == "HOLD_NOT_OPEN"
    for hold_id in ("no-hold", request_id()):
        refusal = await refused(bank.release(hold_id))
        assert (refusal.code, refusal.reason) == (StatusCode.NOT_FOUND, "HOLD_NOT_FOUND")
        assert (await refused(bank.hold(hold_id))).metadata["holdId"] == hold_id


async def test_the_same_request_again_gives_the_first_answer(bank: Bank, clock: Clock) -> None:
    names = [request_id() for _ in range(4)]
    ttl = Duration(seconds=60)
    at = Timestamp()
    at.FromMicroseconds(NOW + 90 * SECOND)

    async def everything() -> list[Any]:
        placed = await bank.place("60", request_id=names[0], ttl=ttl)
        return [
            placed,
            await bank.place("5", request_id=names[1], expire_time=at),
            await bank.capture(placed.hold.hold_id, "25", request_id=names[2]),
            await bank.release(placed.hold.hold_id, request_id=names[3]),
        ]

    first = await everything()
    assert first[0].hold.expire_time.ToMicroseconds() == NOW + 60 * SECOND
    assert first[1].hold.expire_time == at
    clock.now += 2 * DAY
    for again, before in zip(await everything(), first, strict=True):
        assert again.replayed
        before.replayed = True
        assert again == before
    refusal = await refused(bank.place("60", request_id=names[0], ttl=Duration(seconds=61)))
    assert refusal.violations == {"request_id": "REQUEST_ID_REUSED"}


async def test_a_hold_expires_on_an_account_without_writes(bank: Bank, clock: Clock) -> None:
    placed = await bank.place("60", ttl=Duration(seconds=60))
    kept = await bank.place("10", ttl=Duration(seconds=61))
    captured = await bank.capture(placed.hold.hold_id, "20")
    clock.now += 60 * SECOND
    hold = await bank.ended(placed.hold.hold_id)
    assert hold.state == EXPIRED
    assert [show(amount) for amount in amounts(hold)] == ["60.00 USD", "20.00 USD", "0.00 USD"]
    account = await bank.account()
    assert account.revision == captured.account.revision + 1
    assert show(account.available_balance) == "70.00 USD"
    assert (await bank.hold(kept.hold.hold_id)).state == OPEN
    events = await bank.account_events()
    assert [event.WhichOneof("payload") for event in events][-1] == "hold_expired"


async def test_a_command_first_ends_what_is_due(bank: Bank, clock: Clock) -> None:
    placed = await bank.place("60", ttl=Duration(seconds=60))
    clock.now += 60 * SECOND
    again = await bank.place("100")
    assert again.account.revision == placed.account.revision + 2
    assert (await bank.hold(placed.hold.hold_id, again.consistency_token)).state == EXPIRED
    assert (await refused(bank.capture(placed.hold.hold_id, "1"))).reason == "HOLD_NOT_OPEN"


async def test_each_capture_beside_the_end_of_a_hold_is_before_it_or_refused(bank: Bank, clock: Clock) -> None:
    placed = await bank.place("100", ttl=Duration(seconds=60))

    async def capture(number: int) -> int:
        if number == 20:
            clock.now += 60 * SECOND
        await asyncio.sleep(0.002 * (number % 7))
        try:
            await bank.capture(placed.hold.hold_id, "1", request_id=request_id())
        except grpc.aio.AioRpcError as error:
            assert "is closed" in (error.details() or "")  # noqa: PT017
            return 0
        return 1

    captured = sum(await asyncio.gather(*map(capture, range(40))))
    hold = await bank.ended(placed.hold.hold_id)
    assert (hold.state, hold.captured_amount.units) == (EXPIRED, captured)
    account = await bank.account()
    assert account.balance == account.available_balance == usd(str(100 - captured))


async def test_many_captures_at_once_pay_no_more_than_is_held(bank: Bank) -> None:
    placed = await bank.place("10")
    calls = [bank.capture(placed.hold.hold_id, "3", request_id=request_id()) for _ in range(12)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 3
    account = await bank.account((await bank.deposit("a-1", "1")).consistency_token)
    assert (show(account.balance), show(account.held_balance)) == ("92.00 USD", "1.00 USD")


async def test_holds_count_as_spent_and_captures_do_not(bank: Bank) -> None:
    await bank.accounts.SetSpendingLimits(
        accounts.SetSpendingLimitsRequest(account_id="a-1", per_day=usd("30"), per_transaction=usd("20"))
    )
    assert (await refused(bank.place("20.01"))).metadata["limit"] == "20.00 USD"
    placed = await bank.place("20")
    refusal = await refused(bank.place("10.01"))
    assert (refusal.reason, refusal.metadata["spent"]) == ("SPENDING_LIMIT_EXCEEDED", "20.00 USD")
    await bank.capture(placed.hold.hold_id)
    await bank.place("10")


async def test_a_frozen_account_releases_and_neither_places_nor_captures(bank: Bank) -> None:
    placed = await bank.place("10")
    await bank.accounts.FreezeAccount(
        accounts.FreezeAccountRequest(account_id="a-1", state=account_pb2.ACCOUNT_STATE_DEBITS_FROZEN, reason="x")
    )
    for call in (bank.place("1"), bank.capture(placed.hold.hold_id)):
        assert (await refused(call)).reason == "ACCOUNT_NOT_ACTIVE"
    await bank.release(placed.hold.hold_id)


async def test_holds_are_listed_newest_first_by_state_and_in_pages(bank: Bank) -> None:
    placed = [(await bank.place(str(number))).hold.hold_id for number in range(1, 8)]
    await bank.capture(placed[1])
    await bank.capture(placed[4])
    token = (await bank.release(placed[2])).consistency_token
    newest_first = placed[::-1]
    assert await bank.listed(token) == newest_first
    assert await bank.listed(token, CAPTURED) == [placed[4], placed[1]]
    assert await bank.listed(token, RELEASED, CAPTURED, CAPTURED) == [placed[4], placed[2], placed[1]]
    assert await bank.listed(token, EXPIRED) == []
    request = holds.ListHoldsRequest(account_id="a-1", states=[OPEN], page_size=3, consistency_token=token)
    first = await bank.holds.ListHolds(request)
    request.page_token = first.next_page_token
    second = await bank.holds.ListHolds(request)
    found = [hold.hold_id for hold in (*first.holds, *second.holds)]
    assert (found, second.next_page_token) == ([placed[6], placed[5], placed[3], placed[0]], "")
    request.states.append(CAPTURED)
    assert (await refused(bank.holds.ListHolds(request))).violations == {"page_token": "INVALID_PAGE_TOKEN"}
    await bank.open(account_id="a-2")
    assert not (await bank.holds.ListHolds(holds.ListHoldsRequest(account_id="a-2"))).holds
    refusal = await refused(bank.holds.ListHolds(holds.ListHoldsRequest(account_id="a-3")))
    assert refusal.reason == "ACCOUNT_NOT_FOUND"


async def test_holds_are_known_after_a_restart_and_end_when_they_fell_due_meanwhile(
    back_end: BackEnd, tmp_path: Path, clock: Clock
) -> None:
    async with opened(Bank, back_end, tmp_path, clock) as bank:
        due = await bank.place("60", ttl=Duration(seconds=60))
        kept = await bank.place("10")
    clock.now += 3600 * SECOND
    async with serving(back_end.settings(tmp_path), clock) as server, Bank(server.address) as bank:
        assert (await bank.ended(due.hold.hold_id)).state == EXPIRED
        assert show((await bank.account()).available_balance) == "90.00 USD"
        assert (await bank.capture(kept.hold.hold_id)).hold.state == CAPTURED


def amounts(hold: hold_pb2.Hold) -> list[Money]:
    return [hold.amount, hold.captured_amount, hold.remaining_amount]


def at_time(microseconds: int) -> Timestamp:
    time = Timestamp()
    time.FromMicroseconds(microseconds)
    return time


@pytest.mark.parametrize(
    ("request_", "violations"),
    [
        (holds.PlaceHoldRequest(), {"account_id": "FIELD_REQUIRED", "amount": "FIELD_REQUIRED"}),
        (
            holds.PlaceHoldRequest(account_id="a-1", amount=usd("0"), ttl=Duration(nanos=999_999_000)),
            {"amount": "AMOUNT_NOT_POSITIVE", "ttl": "INVALID_EXPIRATION"},
        ),
        (
            holds.PlaceHoldRequest(account_id="a-1", amount=usd("1"), ttl=Duration(seconds=366 * 86_400, nanos=1)),
            {"ttl": "INVALID_EXPIRATION"},
        ),
        (
            holds.PlaceHoldRequest(account_id="a-1", amount=usd("1"), ttl=Duration(seconds=2, nanos=-1)),
            {"ttl": "INVALID_EXPIRATION"},
        ),
        (
            holds.PlaceHoldRequest(account_id="a-1", amount=usd("1"), expire_time=at_time(NOW + SECOND - 1)),
            {"expire_time": "INVALID_EXPIRATION"},
        ),
        (
            holds.PlaceHoldRequest(account_id="a-1", amount=usd("1"), expire_time=at_time(NOW + 366 * DAY + 1)),
            {"expire_time": "INVALID_EXPIRATION"},
        ),
        (
            holds.PlaceHoldRequest(account_id="a-1", amount=usd("1"), expire_time=Timestamp(seconds=1, nanos=-1)),
            {"expire_time": "INVALID_TIME"},
        ),
        (
            holds.PlaceHoldRequest(account_id="a-1", amount=Money(currency_code="EUR", units=1)),
            {"amount.currency_code": "CURRENCY_MISMATCH"},
        ),
        (
            holds.PlaceHoldRequest(account_id="a-1", amount=Money(currency_code="USD", nanos=1), description="x" * 501),
            {"amount.nanos": "AMOUNT_TOO_PRECISE", "description": "FIELD_TOO_LONG"},
        ),
        (holds.CaptureHoldRequest(), {"account_id": "FIELD_REQUIRED", "hold_id": "FIELD_REQUIRED"}),
        (
            holds.CaptureHoldRequest(account_id="a-1", hold_id="h", amount=usd("0")),
            {"amount": "AMOUNT_NOT_POSITIVE"},
        ),
        (holds.ReleaseHoldRequest(account_id="a-1", hold_id="no id"), {"hold_id": "INVALID_ID"}),
        (
            holds.GetHoldRequest(hold_id="", consistency_token="x"),
            {"hold_id": "FIELD_REQUIRED", "consistency_token": "INVALID_TOKEN"},
        ),
        (
            holds.ListHoldsRequest(account_id="", states=[OPEN, 0, 99], page_size=-1),  # type: ignore[list-item]
            {
                "account_id": "FIELD_REQUIRED",
                "states[1]": "UNKNOWN_ENUM_VALUE",
                "states[2]": "UNKNOWN_ENUM_VALUE",
                "page_size": "INVALID_PAGE_SIZE",
            },
        ),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
async def test_bad_fields_are_named(
    chosen: BackEnd, tmp_path: Path, clock: Clock, request_: Any, violations: dict[str, str]
) -> None:
    if chosen.event_store != "embedded":
        return
    async with opened(Bank, chosen, tmp_path, clock) as bank:
        rpc = type(request_).__name__.removesuffix("Request")
        refusal = await refused(getattr(bank.holds, rpc)(request_))
        assert (refusal.code, refusal.violations) == (StatusCode.INVALID_ARGUMENT, violations)


async def test_the_earliest_and_the_latest_end_are_taken(chosen: BackEnd, tmp_path: Path, clock: Clock) -> None:
    if chosen.event_store != "embedded":
        return
    async with opened(Bank, chosen, tmp_path, clock) as bank:
        for ends in (
            {"ttl": Duration(seconds=1)},
            {"ttl": Duration(seconds=366 * 86_400)},
            {"expire_time": at_time(NOW + SECOND)},
            {"expire_time": at_time(NOW + 366 * DAY)},
        ):
            assert (await bank.place("1", **ends)).hold.state == OPEN


async def test_an_account_has_a_thousand_open_holds_at_the_most_and_all_of_them_end(
    chosen: BackEnd, tmp_path: Path, clock: Clock
) -> None:
    if chosen.event_store != "embedded":
        return
    async with opened(Bank, chosen, tmp_path, clock) as bank:
        await asyncio.gather(*(bank.place("0.09", ttl=Duration(seconds=60)) for _ in range(1_000)))
        refusal = await refused(bank.place("0.01"))
        assert (refusal.reason, refusal.metadata["max"]) == ("TOO_MANY_HOLDS", "1000")
        clock.now += 60 * SECOND
        # In several appends, in the order of their ids, as their times are the same.
        async with asyncio.timeout(20):
            while (account := await bank.account()).HasField("held_balance"):  # noqa: ASYNC110 - the sweeper is not ours
                await asyncio.sleep(0.05)
        assert (show(account.available_balance), account.revision) == ("100.00 USD", 2_001)


@pytest.mark.parametrize("chosen", ["embedded", "mixed"], indirect=True)  # On MongoDB a kill waits for leases.
async def test_holds_that_were_acknowledged_before_a_kill_are_there_once(back_end: BackEnd, tmp_path: Path) -> None:
    process = ServerProcess(tmp_path / "data", *back_end.flags)
    await process.start()
    calls: list[tuple[str, str, str]] = []
    """What was sent: the ids of the two requests, and of the hold, empty while it is unknown."""
    async with Bank(process.address) as bank:
        await bank.open(account_id="a-1", initial_deposit=usd("1000"))

        async def place_and_capture() -> None:
            while True:
                names = request_id(), request_id()
                calls.append((*names, ""))
                number = len(calls) - 1
                placed = await bank.place("2", request_id=names[0])
                calls[number] = (*names, placed.hold.hold_id)
                await bank.capture(placed.hold.hold_id, "1", request_id=names[1])

        working = [asyncio.create_task(place_and_capture()) for _ in range(4)]
        await until(lambda: len(calls) > 40, 20)
        await process.kill()
        await asyncio.gather(*working, return_exceptions=True)
    await process.start()
    async with Bank(process.address) as bank:
        for place_id, capture_id, known in calls:
            placed = await until_available(lambda name=place_id: bank.place("2", request_id=name))  # type: ignore[misc]
            assert known in ("", placed.hold.hold_id)
            last = await bank.capture(placed.hold.hold_id, "1", request_id=capture_id)
        token = (await bank.deposit("a-1", "1")).consistency_token
        account = await until_available(lambda: bank.account(token))
        assert show(account.held_balance) == f"{len(calls)}.00 USD"
        assert show(account.balance) == f"{1001 - len(calls)}.00 USD"
        assert last.hold.state == OPEN
    await process.stop()


async def test_an_event_of_a_hold_that_is_not_open_stops_its_account_alone(back_end: BackEnd, tmp_path: Path) -> None:
    settings = back_end.settings(tmp_path)
    async with serving(settings) as server, Bank(server.address) as bank:
        await bank.register(person_id="john-doe")
        for account_id in ("a-1", "sound"):
            await bank.open("john-doe", account_id=account_id, initial_deposit=usd("10"))
        placed = await bank.place("4")
        await bank.release(placed.hold.hold_id)
    happened = HoldReleased(placed.hold.hold_id, money(400), money(1_000), money(1_400), "")
    event = NewEvent(uuid4().bytes, *codec.encode(happened), Metadata(2**52, owner_id="john-doe"))
    await written(settings, "account-a-1", 3, [event])
    for _ in range(2):
        async with serving(settings) as server, Bank(server.address) as bank:
            await bank.deposit("sound", "1")
            refusal = await refused(bank.place("1"))
            assert (refusal.reason, refusal.metadata["revision"]) == ("AGGREGATE_QUARANTINED", "4")
            assert (await refused(bank.hold(placed.hold.hold_id))).reason == "AGGREGATE_QUARANTINED"
            assert (await refused(bank.listed(""))).reason == "AGGREGATE_QUARANTINED"
