"""What a caller gets for each way to fail, row by row, over a real server."""

from __future__ import annotations

import ast
import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.common.v1.errors_pb2 import ErrorReason
from openbank.common.v1.money_pb2 import Money
from openbank.config import Settings
from openbank.domain.errors import AccountNotActive, InvalidFields, Refused
from openbank.eventstore.errors import AppendTooLarge, LogReplaced, OutcomeUnknown, StoreDamaged, StoreUnavailable
from openbank.feeds.errors import ServerDraining
from openbank.integrity.quarantine import TooManyQuarantined
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.queries.reader import ViewBehind
from openbank.rpc.errors import DETAILS_BYTES_MAX, TABLE, interrupted
from openbank.views.port import ViewsUnavailable
from tests.callers import Caller, john_doe, opening, refused, request_id, usd
from tests.rpc.replacing import replace_command
from tests.tokens import moved

HOUSE = Path(__file__).parents[2] / "openbank"


async def test_a_withdrawal_beyond_the_balance_is_a_failed_precondition_with_every_figure(bank: Caller) -> None:
    account_id = (await bank.open(initial_deposit=usd("10.50"))).account.account_id
    told = await refused(bank.accounts.Withdraw(accounts.WithdrawRequest(account_id=account_id, amount=usd("10.51"))))

    assert told.code is StatusCode.FAILED_PRECONDITION
    assert told.reason == "INSUFFICIENT_FUNDS"
    assert told.metadata == {
        "accountId": account_id,
        "balance": "10.50 USD",
        "availableBalance": "10.50 USD",
        "amount": "10.51 USD",
    }
    [violation] = told.details["PreconditionFailure"].violations
    assert violation.type == "ERROR_REASON_INSUFFICIENT_FUNDS"
    assert violation.subject == f"accounts/{account_id}"
    assert "10.51 USD" in told.message


async def test_an_account_that_is_not_active_is_a_failed_precondition_with_its_state(
    bank: Caller, deposits_raise: Callable[[Exception], None]
) -> None:
    deposits_raise(AccountNotActive("a-1", "FROZEN"))
    told = await refused(bank.deposit("a-1", "1"))

    assert told.code is StatusCode.FAILED_PRECONDITION
    assert told.reason == "ACCOUNT_NOT_ACTIVE"
    assert told.metadata == {"accountId": "a-1", "state": "ACCOUNT_STATE_FROZEN"}
    assert told.details["PreconditionFailure"].violations[0].subject == "accounts/a-1"


async def test_a_balance_past_the_limit_is_a_failed_precondition(bank: Caller) -> None:
    most = Money(currency_code="JPY", units=2**53 - 1)
    account_id = (await bank.open(initial_deposit=most)).account.account_id
    one_more = accounts.DepositRequest(account_id=account_id, amount=Money(currency_code="JPY", units=1))
    told = await refused(bank.accounts.Deposit(one_more))

    assert told.code is StatusCode.FAILED_PRECONDITION
    assert told.reason == "BALANCE_LIMIT_EXCEEDED"
    assert told.metadata["maxBalance"] == "9007199254740991 JPY"
    assert told.details["PreconditionFailure"].violations[0].type == "ERROR_REASON_BALANCE_LIMIT_EXCEEDED"


NOT_FOUND: dict[str, tuple[Callable[[Caller], Awaitable[Any]], str, dict[str, str], str]] = {
    "a person to read": (
        lambda bank: bank.persons.GetPerson(persons.GetPersonRequest(person_id="nobody")),
        "PERSON_NOT_FOUND",
        {"personId": "nobody"},
        "openbank.persons.v1.Person",
    ),
    "a person to move": (
        lambda bank: bank.persons.UpdateAddress(
            persons.UpdateAddressRequest(person_id="nobody", address=john_doe().address)
        ),
        "PERSON_NOT_FOUND",
        {"personId": "nobody"},
        "openbank.persons.v1.Person",
    ),
    "an account to read": (
        lambda bank: bank.accounts.GetAccount(accounts.GetAccountRequest(account_id="none")),
        "ACCOUNT_NOT_FOUND",
        {"accountId": "none"},
        "openbank.accounts.v1.Account",
    ),
    "a number": (
        lambda bank: bank.accounts.GetAccountByNumber(accounts.GetAccountByNumberRequest(account_number="DE 1")),
        "ACCOUNT_NOT_FOUND",
        {"accountNumber": "DE 1"},
        "openbank.accounts.v1.Account",
    ),
    "an account's events": (
        lambda bank: bank.accounts.ListAccountEvents(accounts.ListAccountEventsRequest(account_id="none")),
        "ACCOUNT_NOT_FOUND",
        {"accountId": "none"},
        "openbank.accounts.v1.Account",
    ),
    "an account to pay into": (
        lambda bank: bank.deposit("none", "1"),
        "ACCOUNT_NOT_FOUND",
        {"accountId": "none"},
        "openbank.accounts.v1.Account",
    ),
    "an owner's accounts": (
        lambda bank: bank.accounts.ListAccountsByOwner(accounts.ListAccountsByOwnerRequest(owner_id="nobody")),
        "OWNER_NOT_FOUND",
        {"ownerId": "nobody"},
        "openbank.persons.v1.Person",
    ),
    "an owner to open for": (
        lambda bank: bank.accounts.OpenAccount(opening("nobody")),
        "OWNER_NOT_FOUND",
        {"ownerId": "nobody"},
        "openbank.persons.v1.Person",
    ),
}


@pytest.mark.parametrize("what", NOT_FOUND)
async def test_a_missing_resource_is_not_found_and_the_error_names_it(bank: Caller, what: str) -> None:
    call, reason, metadata, resource_type = NOT_FOUND[what]
    told = await refused(call(bank))

    assert told.code is StatusCode.NOT_FOUND
    assert told.reason == reason
    assert told.metadata == metadata
    assert told.details["ResourceInfo"].resource_type == resource_type
    assert told.details["ResourceInfo"].resource_name == next(iter(metadata.values()))


async def test_a_taken_person_id_already_exists(bank: Caller) -> None:
    await bank.register(person_id="john")
    told = await refused(bank.register(person_id="john", first_name="Jane"))

    assert told.code is StatusCode.ALREADY_EXISTS
    assert told.reason == "PERSON_ALREADY_EXISTS"
    assert told.metadata == {"personId": "john"}
    assert told.details["ResourceInfo"].resource_name == "john"


async def test_a_taken_account_id_already_exists(bank: Caller) -> None:
    opened = await bank.open(account_id="savings")
    told = await refused(bank.open(opened.account.owner_id, account_id="savings"))

    assert told.code is StatusCode.ALREADY_EXISTS
    assert told.reason == "ACCOUNT_ALREADY_EXISTS"
    assert told.metadata == {"accountId": "savings"}


async def test_a_taken_account_number_already_exists_and_its_owner_is_not_revealed(bank: Caller) -> None:
    opened = await bank.open(account_number="DE 12 AB")
    told = await refused(bank.open(account_number="de12ab"))

    assert told.code is StatusCode.ALREADY_EXISTS
    assert told.reason == "ACCOUNT_NUMBER_TAKEN"
    assert told.metadata == {"accountNumber": "de12ab"}
    assert told.details["ResourceInfo"].resource_name == "de12ab"
    for secret in (opened.account.account_id, opened.account.owner_id):
        assert secret not in str(told)


async def test_another_revision_than_the_expected_one_aborts_with_both(bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    told = await refused(bank.deposit(account_id, "1", expected_revision=7))

    assert told.code is StatusCode.ABORTED
    assert told.reason == "REVISION_MISMATCH"
    assert told.metadata == {"accountId": account_id, "expectedRevision": "7", "actualRevision": "1"}


async def test_another_request_under_a_known_request_id_is_an_invalid_argument(bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    known = request_id()
    await bank.deposit(account_id, "1", request_id=known)
    told = await refused(bank.deposit(account_id, "2", request_id=known))

    assert told.code is StatusCode.INVALID_ARGUMENT
    assert told.reason == "REQUEST_ID_REUSED"
    assert told.violations == {"request_id": "REQUEST_ID_REUSED"}


@pytest.mark.parametrize(("kind", "store"), [(StoreUnavailable, "events"), (ViewsUnavailable, "views")])
async def test_a_store_that_is_away_is_unavailable_and_may_be_tried_again(
    bank: Caller, deposits_raise: Callable[[Exception], None], kind: type[Exception], store: str
) -> None:
    deposits_raise(kind("disk"))
    told = await refused(bank.deposit("a-1", "1"))

    assert told.code is StatusCode.UNAVAILABLE
    assert told.reason == "STORE_UNAVAILABLE"
    assert told.metadata == {"store": store}
    assert told.details["RetryInfo"].retry_delay.ToMilliseconds() > 0
    assert "disk" not in told.message


@pytest.mark.parametrize("kind", [LogReplaced, TooManyQuarantined])
async def test_a_log_that_is_not_the_banks_is_a_failed_precondition_and_no_reason_to_try_again(
    bank: Caller, deposits_raise: Callable[[Exception], None], kind: type[Exception]
) -> None:
    deposits_raise(kind("disk"))
    told = await refused(bank.deposit("a-1", "1", request_id=request_id()))

    assert told.code is StatusCode.FAILED_PRECONDITION
    assert told.reason == "LOG_MISMATCH"
    assert told.metadata == {"store": "events"}
    assert told.details["PreconditionFailure"].violations[0].subject == "events"
    assert "RetryInfo" not in told.details
    assert "disk" not in told.message


async def test_an_unknown_outcome_may_be_tried_again_only_with_a_request_id(
    bank: Caller, deposits_raise: Callable[[Exception], None]
) -> None:
    deposits_raise(OutcomeUnknown())
    with_id = await refused(bank.deposit("a-1", "1", request_id=request_id()))
    without = await refused(bank.deposit("a-1", "1"))

    assert with_id.code is StatusCode.UNAVAILABLE
    assert with_id.reason == "STORE_UNAVAILABLE"
    assert "RetryInfo" in with_id.details
    assert without.code is StatusCode.UNKNOWN
    assert without.reason == "OUTCOME_UNKNOWN"
    assert without.metadata == {"accountId": "a-1"}
    assert "RetryInfo" not in without.details


async def test_a_view_that_stays_behind_is_unavailable_and_may_be_tried_again(
    bank: Caller, deposits_raise: Callable[[Exception], None]
) -> None:
    deposits_raise(ViewBehind())
    told = await refused(bank.deposit("a-1", "1"))

    assert told.code is StatusCode.UNAVAILABLE
    assert told.reason == "VIEW_BEHIND"
    assert "RetryInfo" in told.details


async def test_a_view_that_is_being_built_says_in_how_long_to_ask_again(
    bank: Caller, deposits_raise: Callable[[Exception], None]
) -> None:
    deposits_raise(ViewBehind(41.2))
    told = await refused(bank.deposit("a-1", "1"))

    assert told.metadata == {"retrySeconds": "42"}
    assert told.details["RetryInfo"].retry_delay.ToSeconds() == 42


@pytest.mark.parametrize("kind", [KeyError, StoreDamaged, AppendTooLarge, AssertionError])
async def test_a_bug_is_internal_and_the_caller_gets_only_an_id(
    bank: Caller,
    deposits_raise: Callable[[Exception], None],
    kind: type[Exception],
    caplog: pytest.LogCaptureFixture,
) -> None:
    deposits_raise(kind("secret"))
    told = await refused(bank.deposit("a-1", "1"))

    assert told.code is StatusCode.INTERNAL
    assert told.reason == "INTERNAL"
    error_id = told.metadata["errorId"]
    assert told.message == f"internal error {error_id}"
    assert "secret" not in str(told)
    [logged] = [record.__dict__["values"] for record in caplog.records if record.exc_info]
    assert logged["error_id"] == error_id


async def test_a_token_beyond_the_log_is_out_of_range_with_the_earliest_one(bank: Caller, settings: Settings) -> None:
    token = (await bank.open()).consistency_token
    told = await refused(_first(bank.accounts.WatchAccountEvents(_resume(moved(settings.data, token, 1_000_000)))))

    assert told.code is StatusCode.OUT_OF_RANGE
    assert told.reason == "POSITION_OUT_OF_RANGE"
    earliest = told.metadata["earliestToken"]
    first = await _first(bank.accounts.WatchAccountEvents(_resume(earliest)))
    assert first.resume_token == earliest


@pytest.mark.parametrize("method", ["GetAccount", "ListAccountEvents"])
async def test_a_read_with_a_token_beyond_the_log_is_out_of_range_at_once(
    bank: Caller, settings: Settings, method: str
) -> None:
    opened = await bank.open()
    request = getattr(accounts, f"{method}Request")(
        account_id=opened.account.account_id,
        consistency_token=moved(settings.data, opened.consistency_token, 1_000_000),
    )
    # Not after the 5 s that a read waits for a token that it may see.
    async with asyncio.timeout(3):
        told = await refused(getattr(bank.accounts, method)(request))

    assert told.code is StatusCode.OUT_OF_RANGE
    assert told.reason == "POSITION_OUT_OF_RANGE"


async def test_details_stay_small_however_much_is_wrong(bank: Caller) -> None:
    wrong = accounts.WatchAccountEventsRequest(account_ids=["not an id!"] * 1000, owner_ids=["ä" * 60] * 1000)
    told = await refused(_first(bank.accounts.WatchAccountEvents(wrong)))

    assert told.code is StatusCode.INVALID_ARGUMENT
    assert told.size <= DETAILS_BYTES_MAX
    assert len(told.violations) > 10
    assert re.search(r"and \d+ more$", told.message)
    assert len(told.message) < 1000


def test_every_row_is_a_published_reason() -> None:
    published = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.DESCRIPTOR.values_by_name}
    assert set(TABLE) <= published


def test_every_way_to_refuse_has_its_row() -> None:
    ways = set(_subclasses(Refused)) - set(_subclasses(InvalidFields)) - {InvalidFields}
    assert len(ways) > 15
    assert {way.reason for way in ways if way.__module__.startswith("openbank.")} <= set(TABLE)


def test_every_reason_anywhere_in_the_code_is_published_and_every_published_one_is_used() -> None:
    published = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.DESCRIPTOR.values_by_name} - {"UNSPECIFIED"}
    trees = [ast.parse(path.read_text()) for path in HOUSE.rglob("*.py")]
    written = {
        node.value
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    given = {reason for tree in trees for reason in _reasons(tree)}
    assert given <= published
    assert published <= written


def _subclasses(kind: type[Refused]) -> Iterator[type[Refused]]:
    for subclass in kind.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


def _reasons(tree: ast.Module) -> set[str]:
    """What stands where a reason does: a class's `reason`, the argument of a violation or of a bad token."""
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id="reason")], value=ast.Constant(value=str(reason))):
                found.add(reason)
            case ast.Call(func=ast.Attribute(attr="refuse"), args=[_, ast.Constant(value=str(reason)), *_]):
                found.add(reason)
            case ast.Call(func=ast.Name(id="Violation"), args=[_, ast.Constant(value=str(reason)), *_]):
                found.add(reason)
            case ast.Call(func=ast.Name(id="InvalidToken"), args=[ast.Constant(value=str(reason)), *_]):
                found.add(reason)
    # Stands for the reason of the first violation, which is sent instead.
    return found - {"INVALID_FIELDS"}


@pytest.fixture
def deposits_raise(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    def arrange(error: Exception) -> None:
        async def deposit(*_: object) -> None:
            await asyncio.sleep(0)
            raise error

        replace_command(monkeypatch, "Deposit", deposit)

    return arrange


def _resume(token: str) -> accounts.WatchAccountEventsRequest:
    return accounts.WatchAccountEventsRequest(resume_token=token)


async def _first(call: Any) -> Any:
    try:
        return await call.read()
    finally:
        call.cancel()


def test_a_dry_run_that_a_stop_interrupts_has_no_unknown_outcome() -> None:
    assert isinstance(interrupted(accounts.DepositRequest()), OutcomeUnknown)
    assert isinstance(interrupted(accounts.DepositRequest(request_id="x")), ServerDraining)
    assert isinstance(interrupted(accounts.DepositRequest(validate_only=True)), ServerDraining)
