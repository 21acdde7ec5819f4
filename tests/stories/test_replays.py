"""A request that was acknowledged once always gets the same answer: the currency table, the clock and the rules for
fields may change in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.accounts.v1.account_pb2 import ACCOUNT_STATE_FROZEN
from openbank.app import serving
from openbank.common.v1.date_pb2 import Date
from openbank.common.v1.money_pb2 import Money
from openbank.domain import fields
from openbank.domain.clock import Clock, system_clock
from openbank.domain.money import Currency
from openbank.persons.v1 import person_pb2
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.rpc.convert.values import CURRENCIES
from tests.back_ends import BackEnd
from tests.callers import Caller, john_doe, opening, refused, request_id, usd
from tests.servers import ServerProcess, run_openbank

DAY = 86_400_000_000
LIMITS = [name for name in vars(fields) if name.endswith("_LENGTH_MAX")]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@asynccontextmanager
async def started(back_end: BackEnd, data: Path, clock: Clock = system_clock) -> AsyncIterator[Caller]:
    async with serving(back_end.settings(data), clock) as server, Caller(server.address) as caller:
        yield caller


def money(code: str, units: int, nanos: int = 0) -> Money:
    return Money(currency_code=code, units=units, nanos=nanos)


def deposit(account_id: str, amount: Money, **changes: Any) -> accounts.DepositRequest:
    return accounts.DepositRequest(request_id=request_id(), account_id=account_id, amount=amount, **changes)


def withdrawal(account_id: str, amount: Money, **changes: Any) -> accounts.WithdrawRequest:
    return accounts.WithdrawRequest(request_id=request_id(), account_id=account_id, amount=amount, **changes)


class Replays:
    """Mutations with their first answers, to be sent again later."""

    def __init__(self) -> None:
        self._calls: list[tuple[str, str, Any, Any]] = []

    async def make(self, bank: Caller, service: str, method: str, request: Any) -> Any:
        answer = await getattr(getattr(bank, service), method)(request)
        assert not answer.replayed
        self._calls.append((service, method, request, answer))
        return answer

    async def repeat(self, bank: Caller) -> None:
        """Each is answered as it was the first time."""
        for service, method, request, first in self._calls:
            again = await getattr(getattr(bank, service), method)(request)
            assert again.replayed, method
            again.replayed = False
            assert again == first, method

    async def change(self, bank: Caller) -> list[set[str]]:
        """The violations that each is refused with once something else in it has changed."""
        reasons = []
        for service, method, request, _ in self._calls:
            other = type(request).FromString(request.SerializeToString())
            for field in ("email", "account_number", "description"):
                if field in other.DESCRIPTOR.fields_by_name:
                    setattr(other, field, getattr(other, field) + "77")
            if method == "UpdateAddress":
                other.address.city += "7"
            told = await refused(getattr(getattr(bank, service), method)(other))
            assert told.code is StatusCode.INVALID_ARGUMENT
            reasons.append(set(told.violations.values()))
        return reasons


async def everything(bank: Caller, currency: str = "USD") -> tuple[Replays, str]:
    """One mutation of each kind, acknowledged, and the account they are of."""
    made = Replays()
    register = john_doe(request_id=request_id())
    person_id = (await made.make(bank, "persons", "RegisterPerson", register)).person.person_id
    address = person_pb2.Address(street="2 Side Street", city="Boston", country="USA")
    update = persons.UpdateAddressRequest(request_id=request_id(), person_id=person_id, address=address)
    await made.make(bank, "persons", "UpdateAddress", update)
    opened = opening(person_id, request_id=request_id(), initial_deposit=money(currency, 100))
    account_id = (await made.make(bank, "accounts", "OpenAccount", opened)).account.account_id
    await made.make(bank, "accounts", "Deposit", deposit(account_id, money(currency, 5), description="Salary"))
    await made.make(bank, "accounts", "Withdraw", withdrawal(account_id, money(currency, 20)))
    return made, account_id


async def all_about_an_account(bank: Caller, account_id: str, currency: str) -> Replays:
    """One of each other mutation, which leave the account as it was."""
    made = Replays()
    for rpc, changes in (
        ("SetOverdraftLimit", {"limit": money(currency, 5)}),
        ("SetOverdraftLimit", {"limit": money(currency, 0)}),
        ("SetSpendingLimits", {"per_day": money(currency, 500), "per_transaction": money(currency, 50, 500_000_000)}),
        ("SetSpendingLimits", {}),
        ("FreezeAccount", {"state": ACCOUNT_STATE_FROZEN, "reason": "Fraud"}),
        ("UnfreezeAccount", {}),
    ):
        request = getattr(accounts, f"{rpc}Request")(request_id=request_id(), account_id=account_id, **changes)
        await made.make(bank, "accounts", rpc, request)
    return made


async def test_a_replay_outlives_its_currency(back_end: BackEnd, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CURRENCIES, "BGN", Currency("BGN", 2))
    async with started(back_end, data) as bank:
        made, account_id = await everything(bank, "BGN")
        others = await all_about_an_account(bank, account_id, "BGN")
        empty = opening("", request_id=request_id(), currency_code="BGN")
        empty.owner_id = (await bank.register()).person.person_id
        await made.make(bank, "accounts", "OpenAccount", empty)
    monkeypatch.delitem(CURRENCIES, "BGN")
    async with started(back_end, data) as bank:
        await made.repeat(bank)
        await others.repeat(bank)
        for reasons in await made.change(bank):
            assert reasons in ({"REQUEST_ID_REUSED"}, {"UNKNOWN_CURRENCY"})


async def test_an_account_is_limited_in_its_currency_after_the_table_changes(
    back_end: BackEnd, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CURRENCIES, "BGN", Currency("BGN", 3))
    async with started(back_end, data) as bank:
        _, account_id = await everything(bank, "BGN")
    monkeypatch.setitem(CURRENCIES, "BGN", Currency("BGN", 2))
    one_finer: dict[str, Any] = {"per_day": money("BGN", 10), "per_transaction": money("BGN", 1, 5_000_000)}
    made = Replays()
    async with started(back_end, data) as bank:
        limits = accounts.SetSpendingLimitsRequest(request_id=request_id(), account_id=account_id, **one_finer)
        answer = await made.make(bank, "accounts", "SetSpendingLimits", limits)
        assert answer.account.spending_limits.per_transaction == money("BGN", 1, 5_000_000)
        overdraft = accounts.SetOverdraftLimitRequest(
            request_id=request_id(), account_id=account_id, limit=money("BGN", 0, 5_000_000)
        )
        await made.make(bank, "accounts", "SetOverdraftLimit", overdraft)
        finest = accounts.SetSpendingLimitsRequest(account_id=account_id, per_day=money("BGN", 1, 500_000))
        finer = await refused(bank.accounts.SetSpendingLimits(finest))
        assert finer.violations == {"per_day.nanos": "AMOUNT_TOO_PRECISE"}
        mixed = accounts.SetSpendingLimitsRequest(
            account_id=account_id, per_day=money("BGN", 1, 500_000), per_transaction=money("XXXX", 0)
        )
        both = await refused(bank.accounts.SetSpendingLimits(mixed))
        assert both.violations.keys() >= {"per_day.nanos", "per_transaction.currency_code"}
    monkeypatch.delitem(CURRENCIES, "BGN")
    async with started(back_end, data) as bank:
        await made.repeat(bank)
        again = accounts.SetSpendingLimitsRequest(account_id=account_id, **one_finer)
        assert (await bank.accounts.SetSpendingLimits(again)).account.spending_limits == answer.account.spending_limits
    monkeypatch.setitem(CURRENCIES, "BGN", Currency("BGN", 3))
    async with started(back_end, data) as bank:
        await made.repeat(bank)


async def test_money_on_an_account_outlives_its_currency(
    back_end: BackEnd, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CURRENCIES, "BGN", Currency("BGN", 2))
    async with started(back_end, data) as bank:
        _, account_id = await everything(bank, "BGN")
    monkeypatch.delitem(CURRENCIES, "BGN")
    async with started(back_end, data) as bank:
        paid_in = await bank.accounts.Deposit(deposit(account_id, money("BGN", 0, 500_000_000)))
        unnamed = accounts.WithdrawRequest(account_id=account_id, amount=money("BGN", 1))
        await bank.accounts.Withdraw(unnamed)
        last = withdrawal(account_id, money("BGN", 84, 500_000_000))
        answer = await bank.accounts.Withdraw(last)
        assert answer.account.balance == money("BGN", 0)
        assert (await bank.accounts.Withdraw(last)).replayed
        assert paid_in.account.balance == money("BGN", 85, 500_000_000)

        seen = accounts.GetAccountRequest(account_id=account_id, consistency_token=answer.consistency_token)
        assert (await bank.accounts.GetAccount(seen)).account == answer.account
        listed = await bank.accounts.ListAccountEvents(accounts.ListAccountEventsRequest(account_id=account_id))
        assert [event.balance.units for event in listed.events] == [0, 84, 85, 85, 105, 100]
        watch = accounts.WatchAccountEventsRequest(beginning=Empty(), stop_when_caught_up=True)
        watched = [event async for response in bank.accounts.WatchAccountEvents(watch) for event in response.events]
        assert watched == list(reversed(listed.events))

        finer = await refused(bank.accounts.Deposit(deposit(account_id, money("BGN", 0, 5_000_000))))
        assert finer.violations == {"amount.nanos": "AMOUNT_TOO_PRECISE"}
        assert finer.metadata["minorUnitDigits"] == "2"


async def test_a_currency_that_left_the_table_is_unknown_to_everything_else(
    back_end: BackEnd, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CURRENCIES, "BGN", Currency("BGN", 2))
    async with started(back_end, data) as bank:
        _, account_id = await everything(bank, "USD")
        owner_id = (await bank.register()).person.person_id
    monkeypatch.delitem(CURRENCIES, "BGN")
    async with started(back_end, data) as bank:
        unknown = {"amount.currency_code": "UNKNOWN_CURRENCY"}
        for request in (
            deposit(account_id, money("BGN", 1)),
            deposit("nobody", money("BGN", 1)),
            accounts.DepositRequest(account_id=account_id, amount=money("BGN", 1)),
            accounts.DepositRequest(account_id=account_id, amount=money("BGN", 1), expected_revision=77),
        ):
            assert (await refused(bank.accounts.Deposit(request))).violations == unknown
        request = opening(owner_id, request_id=request_id(), initial_deposit=money("BGN", 1))
        told = await refused(bank.accounts.OpenAccount(request))
        assert told.violations == {"initial_deposit.currency_code": "UNKNOWN_CURRENCY"}
        long = deposit(account_id, money("BGN", 0), description="x" * 501)
        assert (await refused(bank.accounts.Deposit(long))).violations == {
            **unknown,
            "amount": "AMOUNT_NOT_POSITIVE",
            "description": "FIELD_TOO_LONG",
        }


@pytest.mark.parametrize(("then", "now"), [(2, 0), (0, 2), (2, 3)])
async def test_an_account_keeps_the_decimals_it_was_opened_with(
    back_end: BackEnd, data: Path, monkeypatch: pytest.MonkeyPatch, then: int, now: int
) -> None:
    monkeypatch.setitem(CURRENCIES, "ISK", Currency("ISK", then))
    async with started(back_end, data) as bank:
        made, account_id = await everything(bank, "ISK")
        if then:
            await made.make(bank, "accounts", "Deposit", deposit(account_id, money("ISK", 1, 500_000_000)))
    monkeypatch.setitem(CURRENCIES, "ISK", Currency("ISK", now))
    async with started(back_end, data) as bank:
        await made.repeat(bank)
        for reasons in await made.change(bank):
            assert reasons == {"REQUEST_ID_REUSED"}
        await made.make(bank, "accounts", "Withdraw", withdrawal(account_id, money("ISK", 80)))
        half = deposit(account_id, money("ISK", 0, 500_000_000))
        if then:
            assert not (await made.make(bank, "accounts", "Deposit", half)).replayed
        else:
            told = await refused(bank.accounts.Deposit(half))
            assert told.violations == {"amount.nanos": "AMOUNT_TOO_PRECISE"}
            assert told.metadata["minorUnitDigits"] == "0"
        await made.repeat(bank)


@pytest.mark.parametrize("days", [-2, -20_000, 2, 20_000])
async def test_a_replay_does_not_ask_the_clock(back_end: BackEnd, data: Path, days: int) -> None:
    born = Date(year=2024, month=2, day=28)
    noon = 1_709_208_000_000_000
    register = john_doe(request_id=request_id(), date_of_birth=born)
    async with started(back_end, data, lambda: noon) as bank:
        made, _ = await everything(bank)
        await made.make(bank, "persons", "RegisterPerson", register)
    async with started(back_end, data, lambda: noon + days * DAY) as bank:
        await made.repeat(bank)
        if days < 0:
            told = await refused(bank.persons.RegisterPerson(john_doe(request_id=request_id(), date_of_birth=born)))
            assert told.violations == {"date_of_birth": "DATE_NOT_IN_PAST"}


async def test_a_replay_does_not_mind_stricter_rules(
    back_end: BackEnd, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every text is too long and so is every account number: a later version may narrow its fields."""
    async with started(back_end, data) as bank:
        made, account_id = await everything(bank)
        paid = await bank.deposit(account_id, "1")
    for limit in LIMITS:
        monkeypatch.setattr(fields, limit, 1)
    async with started(back_end, data) as bank:
        await made.repeat(bank)
        for reasons in await made.change(bank):
            assert reasons == {"FIELD_TOO_LONG"}
        told = await refused(bank.accounts.Deposit(deposit(account_id, usd("1"), description="Salary")))
        assert told.violations == {"description": "FIELD_TOO_LONG"}
        other = opening("john", request_id=request_id())
        assert (await refused(bank.accounts.OpenAccount(other))).violations == {"account_number": "FIELD_TOO_LONG"}
        seen = accounts.GetAccountRequest(account_id=account_id, consistency_token=paid.consistency_token)
        assert (await bank.accounts.GetAccount(seen)).account.revision == paid.account.revision


async def test_a_replay_may_have_texts_that_show_nothing(
    back_end: BackEnd, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier versions took them."""
    blank = "\u200b"
    address = person_pb2.Address(street=blank, city="\u2800", country="\u0301", postal_code=blank)
    register = john_doe(request_id=request_id(), first_name=blank, last_name="\u3164", email=blank, address=address)
    made = Replays()
    with monkeypatch.context() as earlier:
        earlier.setattr(fields, "is_visible", lambda _: True)
        async with started(back_end, data) as bank:
            person_id = (await made.make(bank, "persons", "RegisterPerson", register)).person.person_id
            account_id = (await bank.open(person_id)).account.account_id
            paid = deposit(account_id, usd("1"), description=blank)
            await made.make(bank, "accounts", "Deposit", paid)
    async with started(back_end, data) as bank:
        await made.repeat(bank)
        paid.request_id = request_id()
        assert (await refused(bank.accounts.Deposit(paid))).violations == {"description": "INVALID_TEXT"}


async def test_a_request_that_was_refused_is_a_new_one(
    back_end: BackEnd, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started(back_end, data) as bank:
        _, account_id = await everything(bank)
        monkeypatch.setattr(fields, "DESCRIPTION_LENGTH_MAX", 1)
        request = deposit(account_id, usd("1"), description="Salary" + "x" * 494)
        assert (await refused(bank.accounts.Deposit(request))).violations == {"description": "FIELD_TOO_LONG"}
    monkeypatch.undo()
    async with started(back_end, data) as bank:
        assert not (await bank.accounts.Deposit(request)).replayed
        assert (await bank.accounts.Deposit(request)).replayed


async def test_a_malformed_request_is_not_a_replay(back_end: BackEnd, data: Path) -> None:
    async with started(back_end, data) as bank:
        account_id = (await bank.open()).account.account_id
        first = deposit(account_id, money("USD", 0, 10_000_000))
        await bank.accounts.Deposit(first)
        for amount, field in ((None, "amount"), (money("", 0, 10_000_000), "amount.currency_code")):
            other = accounts.DepositRequest(request_id=first.request_id, account_id=account_id, amount=amount)
            assert (await refused(bank.accounts.Deposit(other))).violations == {field: "FIELD_REQUIRED"}
        signs = accounts.DepositRequest(
            request_id=first.request_id, account_id=account_id, amount=money("USD", 1, -990_000_000)
        )
        assert (await refused(bank.accounts.Deposit(signs))).violations == {"amount.nanos": "AMOUNT_SIGNS_DIFFER"}

        opened = opening((await bank.register()).person.person_id, request_id=request_id())
        opened.initial_deposit.CopyFrom(money("EUR", 5))
        await bank.accounts.OpenAccount(opened)
        opened.currency_code = "USD"
        told = await refused(bank.accounts.OpenAccount(opened))
        assert told.violations == {"initial_deposit.currency_code": "CURRENCY_MISMATCH"}


async def test_a_bank_that_is_started_with_another_table_keeps_its_accounts(tmp_path: Path) -> None:
    """In processes of their own, killed in between; and what is on disk is printed, verified and rebuilt."""
    data = tmp_path / "data"
    before = ServerProcess(data, module="tests.stories.other_currencies", environment={"CURRENCIES": "BGN=2 ISK=2"})
    await before.start()
    async with Caller(before.address) as bank:
        made, account_id = await everything(bank, "BGN")
        icelandic, other = await everything(bank, "ISK")
    await before.kill()
    (data / "views.db").unlink()
    after = ServerProcess(data, module="tests.stories.other_currencies", environment={"CURRENCIES": "BGN= ISK=0"})
    await after.start()
    try:
        async with Caller(after.address) as bank:
            await made.repeat(bank)
            await icelandic.repeat(bank)
            await bank.accounts.Withdraw(withdrawal(account_id, money("BGN", 85)))
            token = (await bank.accounts.Withdraw(withdrawal(other, money("ISK", 85)))).consistency_token
            seen = accounts.GetAccountRequest(account_id=account_id, consistency_token=token)
            assert (await bank.accounts.GetAccount(seen)).account.balance == money("BGN", 0)
        code, printed, _ = await run_openbank(
            "tail", "--target", after.address, "--from", "beginning", "--until-caught-up", "accounts"
        )
        assert code == 0
        last = [line.split()[-3:] for line in printed.splitlines()[-2:]]
        assert last == [["-85.00", "0.00", "BGN"], ["-85.00", "0.00", "ISK"]]
    finally:
        await after.stop()
    code, printed, error = await run_openbank("verify", "--data", str(data))
    assert code == 0, (printed, error)
