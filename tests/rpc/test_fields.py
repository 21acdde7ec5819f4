"""What is wrong with a request's fields: all of it at once, by path, each with a reason of its own."""

from __future__ import annotations

import base64
import struct
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.common.v1.date_pb2 import Date
from openbank.common.v1.label_pb2 import Label
from openbank.common.v1.money_pb2 import Money
from openbank.integration.v1 import integration_events_service_pb2 as integration
from openbank.persons.v1 import person_pb2
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.publishing.events import STORED_TYPES
from tests.callers import Caller, Refusal, opening, refused, request_id, usd


async def test_all_faults_of_a_person_are_reported_at_once(bank: Caller) -> None:
    told = await refused(
        bank.persons.RegisterPerson(
            persons.RegisterPersonRequest(
                request_id="not-a-uuid",
                person_id="a b",
                last_name="x" * 101,
                nationality="tab\there",
                gender=9,  # type: ignore[arg-type]
                date_of_birth=Date(year=2023, month=2, day=29),
                address=person_pb2.Address(street=" ", postal_code="1" * 21, country="\x00"),
                email="e" * 255,
            )
        )
    )
    assert told.code is StatusCode.INVALID_ARGUMENT
    assert told.violations == {
        "request_id": "INVALID_REQUEST_ID",
        "person_id": "INVALID_ID",
        "first_name": "FIELD_REQUIRED",
        "last_name": "FIELD_TOO_LONG",
        "nationality": "INVALID_TEXT",
        "gender": "UNKNOWN_ENUM_VALUE",
        "date_of_birth": "INVALID_DATE",
        "address.street": "FIELD_REQUIRED",
        "address.city": "FIELD_REQUIRED",
        "address.postal_code": "FIELD_TOO_LONG",
        "address.country": "INVALID_TEXT",
        "email": "FIELD_TOO_LONG",
    }
    assert told.reason == "INVALID_REQUEST_ID"
    assert told.metadata == {"field": "request_id"}


async def test_an_empty_person_lacks_all_that_is_required(bank: Caller) -> None:
    told = await refused(bank.persons.RegisterPerson(persons.RegisterPersonRequest()))
    assert told.violations == dict.fromkeys(
        ("first_name", "last_name", "gender", "date_of_birth", "address"), "FIELD_REQUIRED"
    )


async def test_a_length_is_in_code_points_and_the_error_says_which(bank: Caller) -> None:
    assert (await bank.register(first_name="𝄞" * 100)).person.first_name == "𝄞" * 100
    told = await refused(bank.register(first_name="𝄞" * 101))
    assert told.metadata == {"field": "first_name", "length": "101", "maxLength": "100"}


TEXTS = [
    "Ñandú",
    "Zoë O'Connor",
    "عبد الله",
    "山田 太郎",
    "👩\u200d👧",
    "e\u0301",
    "\u202eabc",
    "a\u00a0b",
    "\U0010ffff",
]


@pytest.mark.parametrize("text", TEXTS)
async def test_text_of_every_script_comes_back_as_it_went(bank: Caller, text: str) -> None:
    registered = await bank.register(first_name=f"  {text}\n")
    person_id = registered.person.person_id
    token = registered.consistency_token
    request = persons.GetPersonRequest(person_id=person_id, consistency_token=token)
    assert (await bank.persons.GetPerson(request)).person.first_name == text


@pytest.mark.parametrize("text", ["\u200b", "\u2800\u3164", "\u00ad\ufeff", "\u0301", "\u200b \U000e0041"], ids=ascii)
async def test_a_person_of_texts_that_show_nothing_is_refused(bank: Caller, text: str) -> None:
    address = person_pb2.Address(street=text, city=text, postal_code=text, country=text)
    texts = {"first_name": text, "last_name": text, "nationality": text, "email": text, "address": address}
    told = await refused(bank.register(**texts))
    assert told.violations == {
        "first_name": "FIELD_REQUIRED",
        "last_name": "FIELD_REQUIRED",
        "nationality": "INVALID_TEXT",
        "address.street": "FIELD_REQUIRED",
        "address.city": "FIELD_REQUIRED",
        "address.postal_code": "INVALID_TEXT",
        "address.country": "FIELD_REQUIRED",
        "email": "INVALID_TEXT",
    }
    assert all(v.description for v in told.details["BadRequest"].field_violations)
    person_id = (await bank.register()).person.person_id
    moved = persons.UpdateAddressRequest(person_id=person_id, address=address)
    assert (await refused(bank.persons.UpdateAddress(moved))).violations["address.city"] == "FIELD_REQUIRED"
    account_id = (await bank.open(person_id)).account.account_id
    assert (await refused(bank.deposit(account_id, "1", description=text))).violations == {
        "description": "INVALID_TEXT"
    }


NO_REQUEST_IDS = [
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
    "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
]


@pytest.mark.parametrize("request_id", NO_REQUEST_IDS)
async def test_an_uninitialised_request_id_is_refused(bank: Caller, request_id: str) -> None:
    account_id = (await bank.open()).account.account_id
    address = person_pb2.Address(street="1 Main St", city="Boston", country="USA")
    amount = usd("1")
    for call in (
        bank.register(request_id=request_id),
        bank.persons.UpdateAddress(
            persons.UpdateAddressRequest(request_id=request_id, person_id="nobody", address=address)
        ),
        bank.open("nobody", request_id=request_id),
        bank.deposit(account_id, "1", request_id=request_id),
        bank.accounts.Withdraw(accounts.WithdrawRequest(request_id=request_id, account_id=account_id, amount=amount)),
    ):
        told = await refused(call)
        assert told.violations == {"request_id": "INVALID_REQUEST_ID"}
        assert "uninitialised" in told.message or "make a new one" in told.message


async def test_a_birthday_lies_before_today_in_utc(bank: Caller) -> None:
    today = datetime.now(UTC).date()
    yesterday = today - timedelta(days=1)
    await bank.register(date_of_birth=Date(year=yesterday.year, month=yesterday.month, day=yesterday.day))
    told = await refused(
        bank.register(first_name="", date_of_birth=Date(year=today.year, month=today.month, day=today.day))
    )
    assert told.violations == {"first_name": "FIELD_REQUIRED", "date_of_birth": "DATE_NOT_IN_PAST"}


@pytest.mark.parametrize(
    "date", [Date(), Date(year=1990), Date(year=1990, month=13, day=1), Date(year=-1, month=1, day=1)]
)
async def test_a_date_that_is_in_no_calendar_is_refused(bank: Caller, date: Date) -> None:
    told = await refused(bank.register(date_of_birth=date))
    assert told.violations == {"date_of_birth": "INVALID_DATE"}


async def test_all_faults_of_an_opening_are_reported_at_once(bank: Caller) -> None:
    told = await refused(
        bank.accounts.OpenAccount(
            accounts.OpenAccountRequest(
                account_id="ä",
                owner_id="",
                account_number="12_34",
                currency_code="usd",
                initial_deposit=Money(currency_code="USD", units=1, nanos=-1),
            )
        )
    )
    assert told.violations == {
        "account_id": "INVALID_ID",
        "owner_id": "FIELD_REQUIRED",
        "account_number": "INVALID_ACCOUNT_NUMBER",
        "currency_code": "UNKNOWN_CURRENCY",
        "initial_deposit.nanos": "AMOUNT_SIGNS_DIFFER",
    }


async def test_all_faults_of_a_deposit_are_reported_at_once(bank: Caller) -> None:
    request = accounts.DepositRequest(
        request_id="{12345678-1234-1234-1234-123456789012}",
        expected_revision=0,
        amount=Money(units=0),
        description="x" * 501,
    )
    told = await refused(bank.accounts.Deposit(request))
    assert told.violations == {
        "request_id": "INVALID_REQUEST_ID",
        "expected_revision": "INVALID_EXPECTED_REVISION",
        "account_id": "FIELD_REQUIRED",
        "amount.currency_code": "FIELD_REQUIRED",
        "amount": "AMOUNT_NOT_POSITIVE",
        "description": "FIELD_TOO_LONG",
    }


async def test_a_deposit_names_an_amount(bank: Caller) -> None:
    told = await refused(bank.accounts.Deposit(accounts.DepositRequest(account_id="a")))
    assert told.violations == {"amount": "FIELD_REQUIRED"}


AMOUNTS: dict[str, tuple[Money, dict[str, str]]] = {
    "zero": (Money(currency_code="USD"), {"amount": "AMOUNT_NOT_POSITIVE"}),
    "negative": (Money(currency_code="USD", units=-1, nanos=-500_000_000), {"amount": "AMOUNT_NOT_POSITIVE"}),
    "finer than a cent": (Money(currency_code="USD", nanos=50), {"amount.nanos": "AMOUNT_TOO_PRECISE"}),
    "a tenth of a yen": (Money(currency_code="JPY", nanos=100_000_000), {"amount.nanos": "AMOUNT_TOO_PRECISE"}),
    "two signs": (Money(currency_code="USD", units=-1, nanos=10_000_000), {"amount.nanos": "AMOUNT_SIGNS_DIFFER"}),
    "a billion nanos": (Money(currency_code="USD", nanos=1_000_000_000), {"amount.nanos": "AMOUNT_OUT_OF_RANGE"}),
    "lower case": (Money(currency_code="usd", units=1), {"amount.currency_code": "UNKNOWN_CURRENCY"}),
    "gold": (Money(currency_code="XAU", units=1), {"amount.currency_code": "UNKNOWN_CURRENCY"}),
    "no currency": (Money(units=1), {"amount.currency_code": "FIELD_REQUIRED"}),
}


@pytest.mark.parametrize("what", AMOUNTS)
async def test_an_impossible_amount_is_refused(bank: Caller, what: str) -> None:
    amount, violations = AMOUNTS[what]
    for call in (
        bank.accounts.Deposit(accounts.DepositRequest(account_id="a", amount=amount)),
        bank.accounts.Withdraw(accounts.WithdrawRequest(account_id="a", amount=amount)),
    ):
        assert (await refused(call)).violations == violations


async def test_an_amount_finer_than_the_accounts_currency_is_refused_before_other_checks(bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    used = request_id()
    await bank.deposit(account_id, "1", request_id=used)
    finer: dict[str, Any] = {"account_id": account_id, "amount": Money(currency_code="USD", nanos=50)}
    violation = {"amount.nanos": "AMOUNT_TOO_PRECISE"}
    others: list[dict[str, Any]] = [{"request_id": used}, {"expected_revision": 9}]
    for more in others:
        told = await refused(bank.accounts.Withdraw(accounts.WithdrawRequest(**finer, **more)))
        assert told.violations == violation
    request = accounts.DepositRequest(**finer, request_id=request_id(), description="x" * 501)
    told = await refused(bank.accounts.Deposit(request))
    assert told.violations == {**violation, "description": "FIELD_TOO_LONG"}


async def test_fifty_nanos_are_not_fifty_cents_and_the_message_explains_it(bank: Caller) -> None:
    request = accounts.DepositRequest(account_id="a", amount=Money(currency_code="USD", units=3, nanos=50))
    told = await refused(bank.accounts.Deposit(request))
    assert "3.000000050 USD" in told.message
    assert "3.50 USD is units: 3, nanos: 500000000" in told.message
    assert told.metadata == {"field": "amount.nanos", "amount": "3.000000050 USD", "minorUnitDigits": "2"}


async def test_money_in_another_currency_than_the_account_is_refused_with_both(bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    request = accounts.DepositRequest(account_id=account_id, amount=Money(currency_code="EUR", units=1))
    told = await refused(bank.accounts.Deposit(request))
    assert told.violations == {"amount.currency_code": "CURRENCY_MISMATCH"}
    assert told.metadata == {
        "field": "amount.currency_code",
        "currencyCode": "EUR",
        "expectedCurrencyCode": "USD",
    }


CURRENCIES: dict[str, tuple[dict[str, Any], str]] = {
    "nothing said": ({}, "USD"),
    "currency_code": ({"currency_code": "EUR"}, "EUR"),
    "the deposit's": ({"initial_deposit": Money(currency_code="JPY", units=5)}, "JPY"),
    "both": ({"currency_code": "KWD", "initial_deposit": Money(currency_code="KWD", nanos=1_000_000)}, "KWD"),
    "a deposit of nothing": ({"currency_code": "EUR", "initial_deposit": Money()}, "EUR"),
    "a deposit of zero euros": ({"initial_deposit": Money(currency_code="EUR")}, "EUR"),
}


@pytest.mark.parametrize("what", CURRENCIES)
async def test_an_account_has_the_currency_it_is_opened_in(bank: Caller, what: str) -> None:
    changes, currency = CURRENCIES[what]
    account = (await bank.open(**changes)).account
    assert account.balance.currency_code == account.available_balance.currency_code == currency
    deposit = changes.get("initial_deposit", Money())
    assert (account.balance.units, account.balance.nanos) == (deposit.units, deposit.nanos)


DEPOSITS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "in another currency": (
        {"currency_code": "EUR", "initial_deposit": usd("1")},
        {"initial_deposit.currency_code": "CURRENCY_MISMATCH"},
    ),
    "in no currency": (
        {"currency_code": "EUR", "initial_deposit": Money(units=1)},
        {"initial_deposit.currency_code": "FIELD_REQUIRED"},
    ),
    "negative": (
        {"initial_deposit": Money(currency_code="USD", units=-1)},
        {"initial_deposit": "AMOUNT_NEGATIVE"},
    ),
}


@pytest.mark.parametrize("what", DEPOSITS)
async def test_an_impossible_initial_deposit_is_refused(bank: Caller, what: str) -> None:
    changes, violations = DEPOSITS[what]
    assert (await refused(bank.accounts.OpenAccount(opening("someone", **changes)))).violations == violations


async def test_a_request_id_is_compared_without_case(bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    first = await bank.deposit(account_id, "1", request_id="ABCDEFAB-1234-4234-8234-ABCDEFABCDEF")
    again = await bank.deposit(account_id, "1", request_id="abcdefab-1234-4234-8234-abcdefabcdef")
    assert not first.replayed
    assert again.replayed
    assert again.event_id == first.event_id


WATCHES: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "no start": ({}, {"start": "FEED_START_REQUIRED"}),
    "an empty token": ({"resume_token": ""}, {"start": "FEED_START_REQUIRED"}),
    "no token of ours": ({"resume_token": "tomorrow"}, {"resume_token": "INVALID_TOKEN"}),
    "no time": ({"time": Timestamp(nanos=-1)}, {"time": "INVALID_TIME"}),
    "no type": (
        {"time": Timestamp(), "event_types": [1, 0, 99]},
        {"event_types[1]": "UNKNOWN_ENUM_VALUE", "event_types[2]": "UNKNOWN_ENUM_VALUE"},
    ),
    "no id": ({"time": Timestamp(), "account_ids": ["a", ""], "owner_ids": ["b b"]},
              {"account_ids[1]": "FIELD_REQUIRED", "owner_ids[0]": "INVALID_ID"}),
    "too many": ({"time": Timestamp(), "account_ids": ["a"] * 1001}, {"account_ids": "TOO_MANY_FILTERS"}),
}  # fmt: skip


@pytest.mark.parametrize("what", WATCHES)
async def test_an_impossible_watch_is_refused(bank: Caller, what: str) -> None:
    changes, violations = WATCHES[what]
    told = await _watch_refused(bank, accounts.WatchAccountEventsRequest(**changes))
    assert told.code is StatusCode.INVALID_ARGUMENT
    assert told.violations == violations
    if "start" in violations:
        assert all(way in told.message for way in ("beginning", "resume_token", "live", "time"))


async def test_a_person_feed_knows_its_own_types_only(bank: Caller) -> None:
    request = persons.WatchPersonEventsRequest(time=Timestamp(), event_types=[3], person_ids=["?"])  # type: ignore[list-item]
    with_types = bank.persons.WatchPersonEvents(request)
    assert (await refused(with_types.read())).violations == {
        "event_types[0]": "UNKNOWN_ENUM_VALUE",
        "person_ids[0]": "INVALID_ID",
    }


async def test_a_feed_of_cloud_events_knows_the_types_it_publishes_and_lists_them(bank: Caller) -> None:
    types = ["person.registered.v1", "person.registered.v0", "", "PERSON.REGISTERED.V1"]
    watch = bank.integration_events.WatchCloudEvents(
        integration.WatchCloudEventsRequest(event_types=types, person_ids=["?"], account_ids=["a"] * 1001)
    )
    told = await refused(watch.read())
    assert told.code is StatusCode.INVALID_ARGUMENT
    assert told.violations == {
        "start": "FEED_START_REQUIRED",
        "person_ids[0]": "INVALID_ID",
        "account_ids": "TOO_MANY_FILTERS",
        **{f"event_types[{index}]": "UNKNOWN_EVENT_TYPE" for index in (1, 2, 3)},
    }
    description = told.details["BadRequest"].field_violations[-1].description
    assert all(type in description for type in STORED_TYPES)


TOKENS: dict[str, Any] = {
    "GetAccount": accounts.GetAccountRequest(account_id=" ", consistency_token="?"),
    "GetAccountByNumber": accounts.GetAccountByNumberRequest(account_number="_", consistency_token="?"),
    "ListAccountsByOwner": accounts.ListAccountsByOwnerRequest(
        owner_id=" ", page_size=-1, page_token="?", consistency_token="?"
    ),
    "ListAccountEvents": accounts.ListAccountEventsRequest(
        account_id=" ", page_size=-1, page_token="?", consistency_token="?"
    ),
    "ListMovements": accounts.ListMovementsRequest(account_id=" ", page_size=-1, page_token="?", consistency_token="?"),
    "GetAccountBalance": accounts.GetAccountBalanceRequest(account_id=" ", revision=-1, consistency_token="?"),
}


@pytest.mark.parametrize("method", TOKENS)
async def test_all_faults_of_a_query_are_reported_at_once(bank: Caller, method: str) -> None:
    told = await refused(getattr(bank.accounts, method)(TOKENS[method]))
    assert told.violations["consistency_token"] == "INVALID_TOKEN"
    assert {"INVALID_ID", "INVALID_ACCOUNT_NUMBER"} & set(told.violations.values())
    assert ("page_size" in told.violations) == method.startswith("List")
    assert ("page_token" in told.violations) == method.startswith("List")


async def test_all_faults_of_a_page_of_persons_are_reported_at_once(bank: Caller) -> None:
    request = persons.ListPersonsRequest(page_size=-1, page_token="?", consistency_token="?")
    assert (await refused(bank.persons.ListPersons(request))).violations == {
        "page_size": "INVALID_PAGE_SIZE",
        "page_token": "INVALID_PAGE_TOKEN",
        "consistency_token": "INVALID_TOKEN",
    }


async def test_another_banks_token_is_refused(bank: Caller) -> None:
    nowhere = struct.pack(">B16s16sqq", 1, bytes(16), bytes(16), 0, 0)
    token = base64.urlsafe_b64encode(nowhere + struct.pack(">I", zlib.crc32(nowhere))).rstrip(b"=").decode()
    told = await refused(bank.accounts.GetAccount(accounts.GetAccountRequest(account_id="a", consistency_token=token)))
    assert told.violations == {"consistency_token": "TOKEN_OF_ANOTHER_BANK"}


async def _watch_refused(bank: Caller, request: accounts.WatchAccountEventsRequest) -> Refusal:
    return await refused(bank.accounts.WatchAccountEvents(request).read())


LABELS = {
    "": "FIELD_REQUIRED",
    "Shop": "INVALID_LABEL",
    "shop id": "INVALID_LABEL",
    "x" * 65: "INVALID_LABEL",
    "é": "INVALID_LABEL",
    "shop\n": "INVALID_LABEL",
    "shop": "INVALID_LABEL",
}


async def test_all_faults_of_a_reference_and_labels_are_reported_by_path(bank: Caller) -> None:
    labels = [Label(key="shop", value="7"), *(Label(key=key, value="7") for key in LABELS)]
    labels += [Label(key="a", value="x" * 257), Label(key="b", value="a\nb"), Label(key="c", value="\u200b")]
    request = accounts.DepositRequest(account_id="a", amount=usd("1"), external_reference="x" * 65, labels=labels)
    told = await refused(bank.accounts.Deposit(request))
    assert told.violations == {
        "external_reference": "FIELD_TOO_LONG",
        **{f"labels[{index}].key": reason for index, reason in enumerate(LABELS.values(), 1)},
        "labels[8].value": "FIELD_TOO_LONG",
        "labels[9].value": "INVALID_TEXT",
        "labels[10].value": "INVALID_TEXT",
    }


async def test_labels_are_counted_before_they_are_checked(bank: Caller) -> None:
    account_id = (await bank.open(initial_deposit=usd("1"))).account.account_id
    labels = [Label(key="_.-0" + "x" * number, value="é" * 256) for number in range(1, 17)]
    request = accounts.DepositRequest(account_id=account_id, amount=usd("1"), labels=labels)
    assert await bank.accounts.Deposit(request)
    told = await refused(bank.accounts.Deposit(accounts.DepositRequest(account_id="a", labels=[*labels, Label()])))
    assert told.violations == {"amount": "FIELD_REQUIRED", "labels": "TOO_MANY_VALUES"}
    request.labels.add()
    told = await refused(bank.accounts.Deposit(request))
    assert told.metadata == {"field": "labels", "count": "17", "maxCount": "16"}


async def test_an_unknown_field_of_a_label_is_reported_by_its_path(bank: Caller) -> None:
    request = accounts.DepositRequest(account_id="a", labels=[Label(key="a"), Label(key="b")])
    request.labels[1].MergeFromString(b"\x7a\x01x")
    told = await refused(bank.accounts.Deposit(request))
    assert told.violations == {"labels[1].15": "UNKNOWN_FIELD"}
