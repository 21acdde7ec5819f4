"""`openbank person`, `account`, `transfer` and `hold`: what they do, print and end with."""

from __future__ import annotations

import asyncio
import csv
import json
import re
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import StringIO
from typing import Any

import grpc
import pytest

from openbank.accounts.v1.accounts_service_pb2 import DepositRequest
from openbank.cli import account, hold, person, transfer
from openbank.cli.account.actions import ACTIONS as ACCOUNT_ACTIONS
from openbank.cli.hold.actions import ACTIONS as HOLD_ACTIONS
from openbank.cli.main import main
from openbank.cli.output.text_table import Column, plain_table
from openbank.cli.person.actions import ACTIONS as PERSON_ACTIONS
from openbank.cli.transfer.actions import ACTIONS as TRANSFER_ACTIONS
from tests.callers import Caller, usd
from tests.cli.commands import run, run_here, run_on_terminal
from tests.client.proxy import proxy_of
from tests.servers import ServerProcess

ANN = (
    "--first-name", "Ann", "--last-name", "Doe", "--nationality", "Swedish", "--gender", "female",
    "--date-of-birth", "1990-12-31", "--email", "ann@example.com",
    "--street", "High Street 1", "--city", "Lund", "--postal-code", "22100", "--country", "Sweden",
)  # fmt: skip
UUID = "5dd0f4a6-6f2b-4d6a-9a1c-9d4f4c1f2a10"
FORMULA = '=HYPERLINK("http://evil.example")'
ESCAPES = "red\u202e\nnext\tline"
"""What the bank accepts in a description, and a terminal or a table would not like."""


@pytest.fixture(scope="module")
async def address(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """One bank for all tests here: each has accounts of its own."""
    bank = ServerProcess(tmp_path_factory.mktemp("bank") / "data")
    await bank.start()
    yield bank.address
    await bank.stop()


@pytest.fixture
async def bank(address: str) -> AsyncIterator[Caller]:
    async with Caller(address) as caller:
        yield caller


async def ok(address: str, *arguments: str) -> Any:
    """What a command that is carried out prints, from JSON."""
    ended = await run(*arguments, "--target", address)
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def ok_here(address: str, *arguments: str) -> Any:
    """The same in this process, for what is only prepared."""
    ended = run_here(*arguments, "--target", address)
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


async def test_a_person_is_registered_moved_and_found(address: str) -> None:
    registered = (await ok(address, "person", "register", "--id", "ann", *ANN))["person"]
    assert (registered["person_id"], registered["gender"]) == ("ann", "GENDER_FEMALE")
    assert registered["date_of_birth"] == {"year": 1990, "month": 12, "day": 31}
    moved = await ok(
        address, "person", "update-address", "ann", "--expected-revision", "1",
        "--street", "Low 2", "--city", "Ystad", "--country", "Sweden",
    )  # fmt: skip
    shown = await ok(address, "person", "show", "ann", "--consistency-token", moved["consistency_token"])
    assert shown["person"] == moved["person"]
    assert shown["person"]["address"]["postal_code"] == ""
    listed = await ok(address, "person", "list", "--consistency-token", moved["consistency_token"])
    assert shown["person"] in listed["persons"]


async def test_an_account_is_opened_paid_frozen_and_closed(address: str, bank: Caller) -> None:
    owner = (await bank.register()).person.person_id
    opened = await ok(
        address, "account", "open", "--id", "annas", "--owner", owner, "--number", "SE 12-34",
        "--currency", "EUR", "--deposit", "25.00",
    )  # fmt: skip
    assert opened["account"]["balance"] == {"currency_code": "EUR", "units": "25", "nanos": 0}
    assert (await balance_after(address, "deposit", "annas", "0.05", "EUR")) == ("25", 50_000_000)
    assert (await balance_after(address, "withdraw", "annas", "25", "EUR")) == ("0", 50_000_000)
    assert (
        await state_after(address, "freeze", "annas", "--only", "debits", "--reason", "checked")
    ) == "ACCOUNT_STATE_DEBITS_FROZEN"
    assert (await state_after(address, "freeze", "annas", "--reason", "lost card")) == "ACCOUNT_STATE_FROZEN"
    assert (await state_after(address, "unfreeze", "annas")) == "ACCOUNT_STATE_ACTIVE"
    assert (await balance_after(address, "withdraw", "annas", "0.050", "EUR")) == ("0", 0)
    closed = await ok(address, "account", "close", "annas", "--reason", "moved away")
    assert closed["account"]["state"] == "ACCOUNT_STATE_CLOSED"
    token = ("--consistency-token", closed["consistency_token"])
    by_id, by_number, listed = await asyncio.gather(
        ok(address, "account", "show", "annas", *token),
        ok(address, "account", "show", "--number", "se1234", *token),
        ok(address, "account", "list", "--owner", owner, *token),
    )
    assert by_id["account"] == by_number["account"] == closed["account"]
    assert listed["accounts"] == [closed["account"]]


async def balance_after(address: str, *arguments: str) -> tuple[str, int]:
    balance = (await ok(address, "account", *arguments))["account"]["balance"]
    return balance["units"], balance["nanos"]


async def state_after(address: str, *arguments: str) -> str:
    return str((await ok(address, "account", *arguments))["account"]["state"])


async def test_money_is_moved_and_held(address: str, bank: Caller) -> None:
    ours = (await bank.open(initial_deposit=usd("100"))).account
    theirs = (await bank.open()).account
    moved = await ok(address, "transfer", ours.account_id, theirs.account_id, "10.50", "USD", "--description", "rent")
    assert (moved["transfer"]["state"], moved["transfer"]["description"]) == ("TRANSFER_STATE_COMPLETED", "rent")
    assert moved["account"]["balance"]["units"] == "89"
    by_number = await ok(
        address, "transfer", ours.account_id, theirs.account_number, "1", "USD", "--to-number"
    )  # fmt: skip
    assert by_number["transfer"]["destination_account_id"] == theirs.account_id

    held = (await ok(address, "hold", "place", ours.account_id, "20", "USD", "--ttl", "2h"))["hold"]
    assert held["state"] == "HOLD_STATE_OPEN"
    some = (await ok(address, "hold", "capture", ours.account_id, held["hold_id"], "5", "USD"))["hold"]
    assert some["remaining_amount"]["units"] == "15"
    rest = (await ok(address, "hold", "capture", ours.account_id, held["hold_id"]))["hold"]
    assert (rest["state"], rest["captured_amount"]["units"]) == ("HOLD_STATE_CAPTURED", "20")
    other = (await ok(address, "hold", "place", ours.account_id, "1", "USD"))["hold"]
    released = await ok(address, "hold", "release", ours.account_id, other["hold_id"])
    token = ("--consistency-token", released["consistency_token"])
    listing = ("hold", "list", "--account", ours.account_id, *token)
    everything, first, ended, shown = await asyncio.gather(
        ok(address, *listing),
        ok(address, *listing, "--limit", "1"),
        ok(address, *listing, "--state", "captured"),
        ok(address, "hold", "show", other["hold_id"], *token),
    )
    assert [one["hold_id"] for one in everything["holds"]] == [other["hold_id"], held["hold_id"]]
    assert [one["hold_id"] for one in first["holds"]] == [other["hold_id"]]
    assert [one["hold_id"] for one in ended["holds"]] == [held["hold_id"]]
    assert shown["hold"]["state"] == "HOLD_STATE_RELEASED"


async def test_a_list_has_all_pages_in_every_format(address: str, bank: Caller) -> None:
    owner = (await bank.register()).person.person_id
    opened = await asyncio.gather(*(bank.open(owner) for _ in range(120)))
    ids = {one.account.account_id for one in opened}
    token = max((one.consistency_token for one in opened), key=len)
    last = (await bank.deposit(opened[0].account.account_id, "1")).consistency_token or token
    command = ("account", "list", "--owner", owner, "--consistency-token", last, "--target", address, "-o")
    as_json, as_lines, as_csv, as_table = (run_here(*command, format) for format in ("json", "jsonl", "csv", "table"))
    assert {one["account_id"] for one in json.loads(as_json.out)["accounts"]} == ids
    assert {json.loads(line)["account_id"] for line in as_lines.out.splitlines()} == ids
    rows = list(csv.DictReader(StringIO(as_csv.out)))
    assert {row["account_id"] for row in rows} == ids
    assert {row["balance"] for row in rows} == {"0.00", "1.00"}
    assert {row["balance_currency"] for row in rows} == {"USD"}
    heading, *lines = as_table.out.splitlines()
    assert heading.split() == ["ACCOUNT", "NUMBER", "BALANCE", "AVAILABLE", "STATE", "OPENED"]
    assert {line.split()[0] for line in lines} == ids
    # Amounts are aligned at their right, and no escape sequence is among them.
    assert len({line.index(" USD") for line in lines}) == 1
    assert "\033" not in as_table.out


async def test_no_text_of_a_caller_runs_in_a_terminal_or_a_spreadsheet(address: str, bank: Caller) -> None:
    account_id = (await bank.open(initial_deposit=usd("10"))).account.account_id
    texts = [FORMULA, ESCAPES, "'quoted", "日本語のとても長い説明文です" * 3, "[bold]a[/bold]"]
    for text in texts:
        placed = ok_here(address, "hold", "place", account_id, "1", "USD", "--description", text)
    listing: tuple[str, ...] = ("hold", "list", "--account", account_id)
    listing += ("--consistency-token", placed["consistency_token"])
    listing += ("--target", address)
    as_csv, as_table = run_here(*listing, "-o", "csv"), run_here(*listing, "-o", "table")
    on_terminal, as_json = await asyncio.gather(
        run_on_terminal(*listing, columns=100, environment={"NO_COLOR": "1"}),
        run_on_terminal(*listing, "-o", "json"),
    )
    descriptions = [row["description"] for row in csv.DictReader(StringIO(as_csv.out))]
    assert descriptions == list(reversed([f"'{FORMULA}", "red? next line", "''quoted", texts[3], texts[4]]))
    for out in (as_csv.out, as_table.out, *on_terminal, *as_json):
        assert all(character.isprintable() or character == "\n" for character in out)
    assert len(as_table.out.splitlines()) == 1 + len(texts)
    assert "[bold]a[/bold]" in "".join(on_terminal)
    assert [one["description"] for one in json.loads("\n".join(as_json))["holds"]] == list(reversed(texts))


async def test_a_table_fits_the_terminal_or_keeps_its_ids_and_amounts(address: str, bank: Caller) -> None:
    account_id = (await bank.open(initial_deposit=usd("10"))).account.account_id
    placed = ok_here(address, "hold", "place", account_id, "1", "USD", "--description", "日本語 " * 30)
    listing: tuple[str, ...] = ("hold", "list", "--account", account_id)
    listing += ("--consistency-token", placed["consistency_token"])
    listing += ("--target", address)
    wide, narrow, coloured = await asyncio.gather(
        run_on_terminal(*listing, columns=120, environment={"NO_COLOR": "1"}),
        run_on_terminal(*listing, columns=40, environment={"NO_COLOR": "1"}),
        run_on_terminal(*listing, "--color", "always", columns=120),
    )
    assert max(columns_of(line) for line in wide) <= 120
    assert any(placed["hold"]["hold_id"] in line and "1.00 USD" in line for line in narrow)
    assert "\033[" in "".join(coloured)
    assert [re.sub(r"\033\[[0-9;]*m", "", line).rstrip() for line in coloured] == wide


def columns_of(line: str) -> int:
    from openbank.cli.terminal import width

    return width(line)


async def test_a_statement_has_the_balances_of_a_period_and_all_its_movements(address: str, bank: Caller) -> None:
    account_id = (await bank.open(initial_deposit=usd("10"))).account.account_id
    terms = ("--reference", "invoice-7", "--label", "kind=rent", "--description", "May")
    paid = await ok(address, "account", "withdraw", account_id, "4.50", "USD", *terms)
    await asyncio.gather(*(bank.deposit(account_id, "1") for _ in range(120)))
    of_it = (
        account_id,
        "--consistency-token",
        (await bank.deposit(account_id, "1")).consistency_token,
        "--target",
        address,
    )
    statement = json.loads(run_here("account", "statement", *of_it).out)
    assert [entry["revision"] for entry in statement["entries"]] == [str(number) for number in range(1, 124)]
    assert (statement["closing_balance"]["units"], statement["total_debits"]["units"]) == ("126", "4")
    period = run_here("account", "statement", *of_it, "--revisions", "2-3", "-o", "table").out.splitlines()
    assert period[1:4] == [
        "  opening balance  10.00 USD",
        "  credits          1.00 USD",
        "  debits           4.50 USD",
    ]
    assert [line.split()[0] for line in period[7:]] == ["REVISION", "2", "3"]
    rows = list(
        csv.DictReader(StringIO(run_here("account", "statement", *of_it, "--to", "2000-01-01", "-o", "csv").out))
    )
    assert rows == []
    for wanted in (("--reference", "invoice-7"), (account_id, "--label", "kind=rent")):
        (found,) = json.loads(run_here("account", "movements", *wanted, *of_it[1:]).out)["movements"]
        assert (found["account_id"], found["entry"]["event_id"]) == (account_id, paid["event_id"])
        assert found["entry"]["amount"] == {"currency_code": "USD", "units": "-4", "nanos": -500_000_000}
    assert "balance,balance_currency" in run_here("account", "balance", *of_it, "--revision", "2", "-o", "csv").out
    assert run_here("account", "balance", *of_it, "--revision", "2", "-o", "table").out.startswith(
        "balance            5.50 USD"
    )


async def test_transfers_and_movements_are_found_and_taken_back(address: str, bank: Caller) -> None:
    ours = (await bank.open(initial_deposit=usd("10"))).account.account_id
    theirs = (await bank.open()).account.account_id
    here = ("--target", address)
    moved = json.loads(run_here("transfer", ours, theirs, "4", "USD", *here).out)["transfer"]
    back = json.loads(run_here("transfers", "reverse", moved["transfer_id"], "--description", "wrong", *here).out)
    token = ("--consistency-token", back["consistency_token"])
    listed = json.loads(run_here("transfers", "list", "--account", ours, "--state", "completed", *token, *here).out)
    ids = [one["transfer_id"] for one in listed["transfers"]]
    assert ids == [back["transfer"]["transfer_id"], moved["transfer_id"]]
    assert run_here("transfers", "list", "--account", ours, "--state", "returned", *token, "-o", "csv", *here).code == 0
    shown = json.loads(run_here("transfers", "show", moved["transfer_id"], *token, *here).out)["transfer"]
    assert (shown["state"], shown["source_account_id"]) == ("TRANSFER_STATE_COMPLETED", ours)
    paid = json.loads(run_here("account", "deposit", ours, "1", "USD", *here).out)["account"]
    reversed = json.loads(run_here("account", "reverse", ours, paid["revision"], *here).out)["account"]
    assert (paid["balance"]["units"], reversed["balance"]["units"]) == ("11", "10")
    again = run_here("account", "reverse", ours, paid["revision"], *here)
    assert (again.code, "ALREADY_REVERSED" in again.err) == (1, True)


async def test_validation_changes_nothing(address: str, bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    tried = run_here("account", "deposit", account_id, "5", "USD", "--validate-only", "--target", address)
    assert json.loads(tried.out)["account"]["balance"]["units"] == "5"
    assert tried.err.endswith("openbank: nothing was done: --validate-only\n")
    assert await bank.balance(account_id) == "0.00 USD"
    refused = run_here("account", "withdraw", account_id, "5", "USD", "--validate-only", "--target", address)
    assert (refused.code, "INSUFFICIENT_FUNDS" in refused.err) == (1, True)


REFUSED = {
    "the account is not there": (("account", "show", "nobodys"), "ACCOUNT_NOT_FOUND: no account has the id nobodys"),
    "the money is not there": (("account", "withdraw", "{id}", "9", "USD"), "INSUFFICIENT_FUNDS: 9.00 USD is more"),
    "too many decimals": (("account", "deposit", "{id}", "0.001", "USD"), "AMOUNT_TOO_PRECISE: amount.nanos: 0.001"),
    "nothing": (("account", "deposit", "{id}", "0.00", "USD"), "AMOUNT_NOT_POSITIVE: amount: "),
    "no such currency": (("account", "deposit", "{id}", "1", "XQX"), "UNKNOWN_CURRENCY: amount.currency_code: "),
    "a revision that has passed": (
        ("account", "freeze", "{id}", "--reason", "x", "--expected-revision", "7"),
        "REVISION_MISMATCH: ",
    ),
    "no request_id": (("account", "freeze", "{id}", "--request-id", "7"), "INVALID_REQUEST_ID: request_id: "),
    "all fields": (("person", "register"), "FIELD_REQUIRED: first_name: is required\nFIELD_REQUIRED: last_name: "),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_a_refusal_is_exit_code_1_and_its_reason(what: str, address: str, bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    arguments, reason = REFUSED[what]
    ended = run_here(*(one.format(id=account_id) for one in arguments), "--target", address)
    assert (ended.code, ended.out) == (1, "")
    said = re.sub("^openbank: request_id .*\n", "", ended.err)
    assert said.startswith(f"openbank: {reason}"), ended.err


AMOUNTS = [
    "1,000",
    "1e3",
    "-5",
    "+5",
    "5.",
    ".5",
    "1 000",
    "1_000",
    "\u0665",
    "0x10",
    "NaN",
    "",
    "9" * 20,
    "0." + "1" * 10,
]


@pytest.mark.parametrize("text", AMOUNTS)
def test_an_amount_that_is_not_a_plain_decimal_is_a_usage_error(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["account", "deposit", "anns", text, "EUR"])
    assert ended.value.code == 2
    assert "argument AMOUNT: " in capsys.readouterr().err


USAGE: dict[str, tuple[list[str], str]] = {
    "a currency in small letters": (["account", "deposit", "a", "1", "eur"], "argument CURRENCY: must be a currency"),
    "no currency": (["account", "deposit", "a", "1"], "the following arguments are required: CURRENCY"),
    "no date": (["person", "register", "--date-of-birth", "1990-2-30"], "--date-of-birth: must be a date such as"),
    "no length of time": (["hold", "place", "a", "1", "EUR", "--ttl", "soon"], "--ttl: must be a length of time"),
    "no time at all": (["account", "show", "a", "--timeout", "0"], "--timeout: must be a number of seconds"),
    "no label": (["account", "deposit", "a", "1", "EUR", "--label", "x"], "--label: must be KEY=VALUE"),
    "no revisions": (["account", "statement", "a", "--revisions", "5"], "--revisions: must be FIRST-LAST"),
    "no format": (["account", "show", "a", "-o", "xml"], "invalid choice: 'xml'"),
    "no such action": (["account", "destroy"], "argument ACTION: invalid choice: 'destroy'"),
}


@pytest.mark.parametrize("what", USAGE)
def test_a_mistyped_argument_is_a_usage_error(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, line = USAGE[what]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert line in capsys.readouterr().err


async def test_contradictory_flags_are_a_usage_error(address: str) -> None:
    for arguments in (
        ("account", "show"),
        ("account", "show", "anns", "--number", "1"),
        ("account", "balance", "anns"),
        ("account", "statement", "anns", "--revisions", "1-2", "--from", "2000-01-01"),
        ("hold", "capture", "anns", "h", "5"),
        ("hold", "place", "anns", "5", "EUR", "--ttl", "1h", "--expire-time", "2030-01-01"),
    ):
        ended = run_here(*arguments, "--target", address)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("openbank: give ")


class Losing(grpc.GenericRpcHandler):
    """Passes calls on to a bank, and answers the first of them itself: the bank's answer is lost."""

    def __init__(self, address: str) -> None:
        self._bank = grpc.insecure_channel(address)
        self.requests: list[bytes] = []

    def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        def answer(request: bytes, context: grpc.ServicerContext) -> Any:
            bank: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._bank.unary_unary(call.method)
            response = bank(request)
            self.requests.append(request)
            if len(self.requests) == 1:
                context.abort(grpc.StatusCode.INTERNAL, "a proxy has lost the answer")
            return response

        return grpc.unary_unary_rpc_method_handler(answer)


@contextmanager
def serving(handler: grpc.GenericRpcHandler) -> Iterator[str]:
    """The address of a server with this handler."""
    server = grpc.server(ThreadPoolExecutor(1), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


async def test_a_change_whose_answer_is_lost_is_sent_again_and_made_once(address: str, bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    losing = Losing(address)
    with serving(losing) as between:
        ended = await run("account", "deposit", account_id, "5", "USD", "--target", between)
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["replayed"] is True
    said, retried, replayed = ended.err.splitlines()
    assert [DepositRequest.FromString(each).request_id for each in losing.requests] == [said[-36:]] * 2
    assert re.match(r"openbank: INTERNAL: a proxy has lost the answer; again in 0\.\d s", retried)
    assert replayed == "openbank: an earlier call with this request_id has done it; nothing was done now"
    assert await bank.balance(account_id) == "5.00 USD"


async def test_the_same_request_id_is_done_once(address: str, bank: Caller) -> None:
    account_id = (await bank.open()).account.account_id
    for replayed in (False, True):
        done = ok_here(address, "account", "deposit", account_id, "5", "USD", "--request-id", UUID)
        assert (done["replayed"], done["account"]["balance"]["units"]) == (replayed, "5")
    other = run_here("account", "deposit", account_id, "6", "USD", "--request-id", UUID, "--target", address)
    assert (other.code, "REQUEST_ID_REUSED" in other.err) == (1, True)


async def test_without_an_answer_the_exit_code_is_3_and_a_change_says_how_to_continue(address: str) -> None:
    question, change = await asyncio.gather(
        run("account", "show", "anns", "--target", "127.0.0.1:9"),
        run("account", "deposit", "anns", "1", "EUR", "--target", "127.0.0.1:9", "--timeout", "0.5"),
    )
    assert (question.code, question.out) == (3, "")
    assert question.err == "openbank: nothing listens on port 9 of 127.0.0.1\n"
    assert (change.code, change.out) == (3, "")
    request_id = change.err.splitlines()[0].removeprefix("openbank: request_id ")
    assert change.err.splitlines()[-1].endswith(f"; whether it was done is not known: --request-id {request_id}")


async def test_the_time_limit_is_for_all_tries_together(address: str) -> None:
    async with proxy_of(address) as proxy:
        proxy.answer(404)
        began = asyncio.get_running_loop().time()
        ended = await run("account", "deposit", "anns", "1", "EUR", "--target", proxy.address, "--timeout", "1")
        assert proxy.answered >= 2
        # An answer that is not the bank's is no decision: not even that a method is unknown.
        assert (ended.code, "UNIMPLEMENTED" in ended.err) == (3, True)
        assert asyncio.get_running_loop().time() - began < 20


class Denying(grpc.GenericRpcHandler):
    """Denies every call, as a bank with an access file does."""

    def service(self, _: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        return grpc.unary_unary_rpc_method_handler(self._deny)

    def _deny(self, _: Any, context: grpc.ServicerContext) -> None:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")


async def test_a_caller_without_permission_gets_exit_code_4() -> None:
    with serving(Denying()) as target:
        ended = await run("account", "show", "anns", "--target", target)
    assert (ended.code, ended.out) == (4, "")
    assert "UNAUTHENTICATED: who are you?" in ended.err


async def test_ctrl_c_during_a_change_is_exit_code_130_and_its_request_id_is_known(address: str) -> None:
    async with proxy_of(address) as proxy:
        proxy.mute()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "openbank", "account", "deposit", "anns", "1", "EUR", "--target", proxy.address,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert process.stderr is not None
        assert (await asyncio.wait_for(process.stderr.readline(), 20)).startswith(b"openbank: request_id ")
        process.send_signal(signal.SIGINT)
        out, err = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, out, err) == (130, b"", b"")


def test_a_plain_table_cuts_texts_and_nothing_else() -> None:
    columns = [Column("ID", False, False), Column("AMOUNT", True, False), Column("DESCRIPTION", False, True)]
    rows = [["a" * 20, "1.00", "日本語の長い説明"], ["b", "100.00", "short"]]
    assert list(plain_table(columns, rows, 40, coloured=False)) == [
        "ID                    AMOUNT  DESCRIPTI…",
        "aaaaaaaaaaaaaaaaaaaa    1.00  日本語の…",
        "b                     100.00  short",
    ]
    assert list(plain_table(columns, rows, 10, coloured=False))[1] == "aaaaaaaaaaaaaaaaaaaa    1.00  日本語…"
    assert list(plain_table(columns, rows, None, coloured=False))[1] == "aaaaaaaaaaaaaaaaaaaa    1.00  日本語の長い説明"


@pytest.mark.parametrize(
    "noun",
    [
        (person.VERBS, PERSON_ACTIONS),
        (account.VERBS, ACCOUNT_ACTIONS),
        (hold.VERBS, HOLD_ACTIONS),
        ((transfer.TRANSFER, *transfer.TRANSFERS), TRANSFER_ACTIONS),
    ],
)
def test_every_verb_has_a_function(noun: Any) -> None:
    verbs, actions = noun
    assert {verb.name for verb in verbs} == actions.keys()
