"""One line a call: what an operator needs, and nothing of what a person told the bank."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.empty_pb2 import Empty
from grpc import StatusCode

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.eventstore.errors import StoreDamaged
from openbank.logs import ConsoleFormatter, JsonFormatter, configure, tell
from openbank.persons.v1 import persons_service_pb2 as persons
from tests.back_ends import BackEnd
from tests.callers import Caller, john_doe, opening, refused, request_id, until, usd
from tests.examples import NOON
from tests.rpc.replacing import replace_command


@pytest.fixture(autouse=True)
def from_info_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


async def test_a_call_is_one_line_with_method_code_duration_and_ids(
    bank: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    opened = await bank.open()
    caplog.clear()
    named = request_id()
    await bank.deposit(opened.account.account_id, "1", request_id=named)

    [values] = lines(caplog)
    assert values.pop("duration_ms") >= 0
    assert values.pop("correlation_id")
    assert re.fullmatch(r"127\.0\.0\.1:\d+", values.pop("peer"))
    assert values == {
        "method": "openbank.accounts.v1.AccountsService/Deposit",
        "code": "OK",
        "request_id": named,
        "account_id": opened.account.account_id,
    }


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0"])
async def test_every_line_names_the_peer_refused_and_watching_ones_too(
    back_end: BackEnd, tmp_path: Path, listen: str, caplog: pytest.LogCaptureFixture
) -> None:
    settings = replace(back_end.settings(tmp_path / "data"), listen=listen)
    async with serving(settings) as server, Caller(server.address) as bank:
        await bank.open()
        await refused(bank.deposit("nobody", "1"))
        await bank.account_events()
    host = re.escape(listen.removesuffix(":0"))
    assert len(lines(caplog)) == 4
    assert all(re.fullmatch(rf"{host}:\d+", values["peer"]) for values in lines(caplog))


async def test_the_line_of_an_opening_has_the_id_that_the_bank_made(
    bank: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    opened = await bank.open()
    registering, opening_ = lines(caplog)
    assert registering["person_id"] == opening_["owner_id"] == opened.account.owner_id
    assert opening_["account_id"] == opened.account.account_id


async def test_no_line_has_personal_data(bank: Caller, caplog: pytest.LogCaptureFixture) -> None:
    registered = await bank.register()
    opened = await bank.accounts.OpenAccount(
        opening(registered.person.person_id, account_number="NL 9876543210", initial_deposit=usd("1234.56"))
    )
    account_id = opened.account.account_id
    await bank.deposit(account_id, "777.77", description="for the surgery")
    await refused(bank.accounts.Withdraw(accounts.WithdrawRequest(account_id=account_id, amount=usd("8888.88"))))
    await refused(bank.accounts.OpenAccount(opening(registered.person.person_id, account_number="NL 9876543210")))
    by_number = accounts.GetAccountByNumberRequest(account_number="NL 0000000000")
    await refused(bank.accounts.GetAccountByNumber(by_number))
    await refused(bank.persons.RegisterPerson(john_doe(person_id="John Doe of New York", first_name="\x00 Secret")))

    for formatter in (ConsoleFormatter(), JsonFormatter()):
        text = "\n".join(formatter.format(record) for record in caplog.records)
        for secret in ("John", "Doe", "Main St", "New York", "example.com", "9876543210", "0000000000", "surgery"):
            assert secret not in text
        for amount in ("1234", "777", "8888"):
            assert f"{amount}." not in text
    assert len(lines(caplog)) == 7


async def test_a_refusal_is_logged_with_its_reason(bank: Caller, caplog: pytest.LogCaptureFixture) -> None:
    await refused(bank.deposit("none", "1"))
    [values] = lines(caplog)
    assert values["code"] == "NOT_FOUND"
    assert values["reason"] == "ACCOUNT_NOT_FOUND"
    assert values["account_id"] == "none"


async def test_a_watch_is_one_line_when_it_ends(bank: Caller, caplog: pytest.LogCaptureFixture) -> None:
    metadata = (("x-correlation-id", "nightly-export"),)
    watch = bank.persons.WatchPersonEvents(persons.WatchPersonEventsRequest(live=Empty()), metadata=metadata)
    await watch.read()
    assert lines(caplog) == []
    watch.cancel()
    await until(lambda: bool(lines(caplog)))
    [values] = lines(caplog)
    assert values["code"] == StatusCode.CANCELLED.name
    assert values["method"] == "openbank.persons.v1.PersonsService/WatchPersonEvents"
    assert values["correlation_id"] == "nightly-export"


async def test_a_call_that_its_caller_gives_up_is_cancelled(
    bank: Caller, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def deposit(*_: object) -> None:
        await asyncio.Event().wait()

    replace_command(monkeypatch, "Deposit", deposit)
    request = accounts.DepositRequest(account_id="a", amount=usd("1"))
    with pytest.raises(Exception, match="Deadline"):
        await bank.accounts.Deposit(request, timeout=0.1)
    await until(lambda: bool(lines(caplog)))
    assert lines(caplog)[0]["code"] == "CANCELLED"


def test_a_value_never_makes_a_second_line_or_another_value() -> None:
    record = logging.makeLogRecord({"msg": "call", "values": {"id": "a b=c\nd", "plain": "x-1"}})
    assert ConsoleFormatter().format(record).endswith(' id="a b=c\\nd" plain=x-1')
    assert json.loads(JsonFormatter().format(record))["id"] == "a b=c\nd"


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], StringIO]:
    """Has the process log in a format, at noon, to what it gives."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(logging.getLogger("openbank"), "level", logging.NOTSET)
    for name in ("logThreads", "logProcesses", "logMultiprocessing", "_srcfile"):
        monkeypatch.setattr(logging, name, getattr(logging, name))
    monkeypatch.setattr(time, "time", lambda: NOON / 1e6)

    def configured(format: str) -> StringIO:
        stream = StringIO()
        configure("info", format, stream)
        return stream

    return configured


@pytest.mark.parametrize("format", ["console", "json"])
def test_a_line_of_a_call_equals_the_line_that_logging_makes(logged: Callable[[str], StringIO], format: str) -> None:
    stream, logger = logged(format), logging.getLogger("openbank.calls")
    for level, values in (
        (logging.INFO, {"method": "Deposit", "duration_ms": 1.25}),
        (logging.WARNING, {"cause": "a b"}),
        (logging.INFO, {"caller": "jwt:x|Zoë", "peer": ""}),
    ):
        tell(logger, level, "call", values)
        logger.log(level, "call", extra={"values": values})
    tell(logger, logging.DEBUG, "call", {})
    told, logged_, *rest = stream.getvalue().splitlines()
    assert told == logged_
    assert rest[0] == rest[1]
    assert rest[2] == rest[3]
    assert len(rest) == 4


async def test_lines_of_calls_wait_for_one_another_and_no_other_line_waits(
    logged: Callable[[str], StringIO],
) -> None:
    stream, logger = logged("console"), logging.getLogger("openbank.calls")
    tell(logger, logging.INFO, "call", {"number": 1})
    tell(logger, logging.WARNING, "call", {"number": 2})
    assert stream.getvalue() == ""
    await until(lambda: "number=2" in stream.getvalue())
    tell(logger, logging.INFO, "call", {"number": 3})
    logger.info("something else")
    assert [line.split()[-1] for line in stream.getvalue().splitlines()] == ["number=1", "number=2", "number=3", "else"]


@pytest.mark.parametrize("format", ["console", "json"])
def test_a_traceback_says_where_and_what_kind_but_not_what_the_exception_quotes(
    logged: Callable[[str], StringIO], format: str
) -> None:
    stream, name = logged(format), "Jane Roe"
    try:
        try:
            (name + "ß").encode("ascii")
        except UnicodeError as error:
            raise ExceptionGroup(name, [KeyError(name), error]) from ValueError(name)
    except ExceptionGroup:
        logging.getLogger("openbank.part").exception("part has failed")
    logging.getLogger("openbank.part").error("again", exc_info=StoreDamaged("position 7"))
    text = stream.getvalue()
    assert name not in text
    for said in ("test_log_lines.py", "UnicodeEncodeError", "KeyError", "ValueError", "StoreDamaged: position 7"):
        assert said in text


@pytest.mark.parametrize("format", ["console", "json"])
def test_times_have_a_date_and_are_utc(
    logged: Callable[[str], StringIO], format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    time.tzset()
    try:
        stream = logged(format)
        logging.getLogger("openbank").info("ready")
        moment = datetime.fromtimestamp(NOON / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        assert moment in stream.getvalue()
    finally:
        monkeypatch.undo()
        time.tzset()


def test_libraries_say_nothing_at_debug(logged: Callable[[str], StringIO]) -> None:
    """MongoDB's driver would log each command, with all that a person told the bank."""
    logged("console")
    configure("debug", "console")
    assert logging.getLogger("openbank.calls").isEnabledFor(logging.DEBUG)
    assert not logging.getLogger("pymongo.command").isEnabledFor(logging.INFO)


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [dict(record.__dict__["values"]) for record in caplog.records if record.name == "openbank.calls"]
