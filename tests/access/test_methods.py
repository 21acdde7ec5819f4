"""Every method, every role, and one's own, somebody else's and what does not exist: who may do what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import grpc.aio
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message_factory import GetMessageClass

from openbank.access.roles import OWNABLE, PERMISSIONS, ROLES
from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.common.v1 import access_pb2
from openbank.config import Settings
from openbank.holds.v1 import holds_service_pb2 as holds
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.rpc.services import SERVICES
from openbank.transfers.v1 import transfers_service_pb2 as transfers
from tests.access.callers import METHODS, Asked, Keys, ask, short, write_access
from tests.callers import john_doe, opening, usd

TABLE = """
RegisterPerson                                                          persons.register   teller
UpdateAddress                                                           persons.write      teller own
GetPerson                                                               persons.read       teller own auditor
ListPersons                                                             persons.list       teller auditor
OpenAccount                                                             accounts.open      teller
Deposit                                                                 accounts.deposit   teller
ReverseMovement ReverseTransfer                                         accounts.reverse   teller
Withdraw                                                                accounts.withdraw  teller own
CreateTransfer                                                          transfers.create   teller own
PlaceHold CaptureHold ReleaseHold                                       holds.write        teller own
ExecuteBatch                                                            batches.execute    teller own
FreezeAccount UnfreezeAccount CloseAccount                              accounts.control   operator
SetOverdraftLimit SetSpendingLimits                                     accounts.control   operator
GetAccount GetAccountByNumber ListAccountsByOwner ListAccountEvents     accounts.read      teller own auditor
ListMovements GetAccountStatement GetAccountBalance                     accounts.read      teller own auditor
GetTransfer ListTransfers GetHold ListHolds                             accounts.read      teller own auditor
WatchAccountEvents WatchPersonEvents                                    events.watch       own auditor
WatchCloudEvents                                                        integration.watch  auditor operator
ListSinks GetSink                                                       sinks.read         auditor operator
RetryParked SkipParked ParkAggregate                                    sinks.write        operator
ListQuarantined GetQuarantined                                          quarantine.read    auditor operator
RetryQuarantined SkipQuarantined                                        quarantine.write   operator
GetRebuild                                                              views.read         auditor operator
StartRebuild                                                            views.write        operator
"""
"""The permission of each method, and who has it; "own" is the customer."""


class Row(NamedTuple):
    permission: str
    roles: frozenset[str]


ROWS: Mapping[str, Row] = {
    method: Row(
        next(word for word in line.split() if "." in word),
        frozenset("customer" if word == "own" else word for word in line.partition(".")[2].split()[1:]),
    )
    for line in TABLE.strip().splitlines()
    for method in line.partition(".")[0].split()[:-1]
}


class Theirs(NamedTuple):
    """Ids of what belongs to one person; all of one length, so that answers about two persons can be compared."""

    person: str
    account: str
    number: str
    hold: str = ""
    other_hold: str = ""
    transfer: str = ""

    def requests(self) -> Mapping[str, Any]:
        """A request of each method that names something of this person's. None of them is wrong in itself."""
        key = str(uuid4())
        return {
            "UpdateAddress": persons.UpdateAddressRequest(
                request_id=key, person_id=self.person, address=john_doe().address
            ),
            "GetPerson": persons.GetPersonRequest(person_id=self.person),
            "Withdraw": accounts.WithdrawRequest(request_id=key, account_id=self.account, amount=usd("1")),
            "GetAccount": accounts.GetAccountRequest(account_id=self.account),
            "GetAccountByNumber": accounts.GetAccountByNumberRequest(account_number=self.number),
            "ListAccountsByOwner": accounts.ListAccountsByOwnerRequest(owner_id=self.person),
            "ListAccountEvents": accounts.ListAccountEventsRequest(account_id=self.account),
            "ListMovements": accounts.ListMovementsRequest(account_id=self.account),
            "GetAccountStatement": accounts.GetAccountStatementRequest(
                account_id=self.account, revisions=accounts.RevisionPeriod(first_revision=1, last_revision=9)
            ),
            "GetAccountBalance": accounts.GetAccountBalanceRequest(account_id=self.account, revision=1),
            "CreateTransfer": transfers.CreateTransferRequest(
                request_id=key, source_account_id=self.account, destination_account_id="payee", amount=usd("1")
            ),
            "GetTransfer": transfers.GetTransferRequest(transfer_id=self.transfer),
            "ListTransfers": transfers.ListTransfersRequest(account_id=self.account),
            "PlaceHold": holds.PlaceHoldRequest(request_id=key, account_id=self.account, amount=usd("1")),
            "CaptureHold": holds.CaptureHoldRequest(request_id=key, account_id=self.account, hold_id=self.hold),
            "ReleaseHold": holds.ReleaseHoldRequest(request_id=key, account_id=self.account, hold_id=self.other_hold),
            "GetHold": holds.GetHoldRequest(hold_id=self.hold),
            "ListHolds": holds.ListHoldsRequest(account_id=self.account),
            "WatchAccountEvents": accounts.WatchAccountEventsRequest(
                beginning=Empty(), owner_ids=[self.person], stop_when_caught_up=True
            ),
            "WatchPersonEvents": persons.WatchPersonEventsRequest(
                beginning=Empty(), person_ids=[self.person], stop_when_caught_up=True
            ),
        }

    def request(self, method: str) -> Any:
        known = self.requests().get(short(method))
        if known is not None:
            return known
        request: Any = GetMessageClass(METHODS[method].input_type)()
        for field in METHODS[method].input_type.fields:
            value = {"account_id": self.account, "person_id": self.person, "owner_id": self.person}.get(field.name)
            if value is not None:
                setattr(request, field.name, value)
            elif field.name == "live":
                request.live.SetInParent()
                request.stop_when_caught_up = True
        return request


ALICE = Theirs("person-a", "accounta", "AA000001")
BOB = Theirs("person-b", "accountb", "BB000001")
CAROL = Theirs("person-c", "accountc", "CC000001")
"""An account that operators may freeze and close."""
NOBODY = Theirs("person-x", "accountx", "XX000001")


class World(NamedTuple):
    channel: grpc.aio.Channel
    keys: Keys
    alice: Theirs
    bob: Theirs
    nobody: Theirs

    async def ask(self, method: str, request: Any, role: str) -> Asked:
        full = next(name for name in METHODS if short(name) == method) if "/" not in method else method
        return await ask(self.channel, full, request, self.keys[role].key)


MADE = {"hold": "x", "other_hold": "y", "transfer": "z"}
"""Ids that the bank makes, and what those are made of that it has not made."""


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    path: Path = tmp_path_factory.mktemp("access")
    keys = Keys()
    entries = [keys.entry(role, role) for role in ("teller", "auditor", "operator")]
    entries += [
        keys.entry("customer", "customer", more=f'owner = "{ALICE.person}"'),
        keys.entry("without-person", "customer"),
        keys.entry("all", *ROLES, more=f'owner = "{ALICE.person}"'),
    ]
    access = write_access(path / "access.toml", *entries)
    settings = Settings(listen="127.0.0.1:0", data=path / "data", access=access, drain_seconds=1)
    async with serving(settings) as server, grpc.aio.insecure_channel(server.address) as channel:
        world = World(channel, keys, ALICE, BOB, NOBODY)
        filled = [await fill(world, whose) for whose in (ALICE, BOB, CAROL)]
        missing = NOBODY._replace(**{name: letter * len(getattr(filled[0], name)) for name, letter in MADE.items()})
        yield world._replace(alice=filled[0], bob=filled[1], nobody=missing)


async def fill(world: World, whose: Theirs) -> Theirs:
    async def done(method: str, request: Any) -> Any:
        asked = await world.ask(method, request, "teller")
        assert asked.reason == "OK", (method, asked.refused)
        return asked.responses[0]

    await done("RegisterPerson", john_doe(person_id=whose.person))
    await done("OpenAccount", opening(whose.person, account_id=whose.account, account_number=whose.number))
    if whose is ALICE:
        await done("RegisterPerson", john_doe(person_id="shop"))
        await done("OpenAccount", opening("shop", account_id="payee"))
    await done("Deposit", accounts.DepositRequest(account_id=whose.account, amount=usd("1000")))
    placed = [(await done("PlaceHold", whose.requests()["PlaceHold"])).hold.hold_id for _ in range(2)]
    made = await done("CreateTransfer", whose.requests()["CreateTransfer"])
    return whose._replace(hold=placed[0], other_hold=placed[1], transfer=made.transfer.transfer_id)


def test_every_method_names_the_permission_of_the_table() -> None:
    named = {
        method.name: method.GetOptions().Extensions[access_pb2.access].permission
        for service in SERVICES
        for method in service.descriptor.methods
    }
    assert named == {method: ROWS[method].permission for method in named}


def test_the_built_in_roles_are_those_of_the_table() -> None:
    for role, (permissions, own_only) in ROLES.items():
        assert own_only == (role == "customer")
        assert permissions - {"actors.read"} == {row.permission for row in ROWS.values() if role in row.roles}
    assert {role for role, (permissions, _) in ROLES.items() if "actors.read" in permissions} == {"teller", "auditor"}
    assert {row.permission for row in ROWS.values()} | {"actors.read"} == PERMISSIONS
    assert ROLES["customer"].permissions < OWNABLE


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("method", METHODS, ids=short)
async def test_a_role_may_call_what_the_table_says(world: World, method: str, role: str) -> None:
    row = ROWS[short(method)]
    whose = world.alice if "customer" in row.roles else CAROL
    asked = await world.ask(method, whose.request(method), role)
    if role in row.roles:
        assert asked.code not in (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)
        assert role != "customer" or short(method) not in world.alice.requests() or asked.reason in ("OK", *DONE)
    else:
        assert asked.refused is not None
        assert asked.code is grpc.StatusCode.PERMISSION_DENIED
        assert asked.refused.metadata == {"permission": row.permission}


DONE = ("HOLD_NOT_OPEN",)
"""What another role has done before."""

OWN = [method for method in METHODS if "customer" in ROWS[short(method)].roles]


@pytest.mark.parametrize("caller", ["customer", "without-person"])
@pytest.mark.parametrize("method", OWN, ids=short)
async def test_other_customers_resources_look_missing(world: World, method: str, caller: str) -> None:
    others, missing = world.bob.request(method), world.nobody.request(method)
    for field in ("request_id",):
        if hasattr(others, field):
            setattr(missing, field, getattr(others, field))
    if caller == "customer":
        assert await world.ask(method, others, "teller" if "teller" in ROWS[short(method)].roles else "auditor")
    seen = [await world.ask(method, request, caller) for request in (others, missing)]
    assert_alike(seen[0], seen[1], world)
    if seen[0].refused:
        assert seen[0].code in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)
        assert seen[0].code is grpc.StatusCode.NOT_FOUND or short(method) not in world.bob.requests()
    else:
        assert METHODS[method].server_streaming
        assert not any(getattr(response, "events") for response in seen[0].responses)  # noqa: B009


def assert_alike(others: Asked, missing: Asked, world: World) -> None:
    """But for the ids that the caller has sent itself."""

    def same(data: bytes) -> bytes:
        for theirs, nobodys in zip(world.bob, world.nobody, strict=True):
            data = data.replace(theirs.encode(), nobodys.encode())
        return data

    if others.refused and missing.refused:
        assert others.refused.trailing.keys() == missing.refused.trailing.keys()
        for key, value in others.refused.trailing.items():
            data = value if isinstance(value, bytes) else value.encode()
            there = missing.refused.trailing[key]
            assert same(data) == (there if isinstance(there, bytes) else there.encode())
        assert (others.code, same(others.refused.message.encode())) == (
            missing.code,
            missing.refused.message.encode(),
        )
    else:
        assert others.reason == missing.reason == "OK"
        assert len(others.responses) == len(missing.responses)


@pytest.mark.parametrize("method", ["Withdraw", "PlaceHold", "CreateTransfer", "UpdateAddress"])
async def test_a_replay_reveals_nothing_to_a_stranger(world: World, method: str) -> None:
    request = world.bob.requests()[method]
    assert (await world.ask(method, request, "teller")).reason == "OK"
    again = await world.ask(method, request, "teller")
    assert getattr(again.responses[0], "replayed") is True  # noqa: B009
    stranger = await world.ask(method, request, "customer")
    assert stranger.code is grpc.StatusCode.NOT_FOUND
    missing = world.nobody.requests()[method]
    missing.request_id = request.request_id
    assert_alike(stranger, await world.ask(method, missing, "customer"), world)


async def test_wrong_fields_of_a_request_about_somebody_elses_account_are_those_of_a_missing_one(world: World) -> None:
    """The account's currency would be among them."""
    changes: list[Callable[[Any], None]] = [
        lambda request: request.amount.CopyFrom(usd("0")),
        lambda request: setattr(request.amount, "currency_code", "EUR"),
        lambda request: setattr(request.amount, "currency_code", "JPY"),
        lambda request: setattr(request, "expected_revision", 77),
        lambda request: setattr(request.amount, "units", 10**9),
    ]
    for change in changes:
        asked = []
        for whose in (world.bob, world.nobody):
            request = whose.requests()["Withdraw"]
            request.ClearField("request_id")
            change(request)
            asked.append(await world.ask("Withdraw", request, "customer"))
        assert_alike(asked[0], asked[1], world)


async def test_a_transfer_is_read_by_either_side_and_made_by_the_owner_of_the_source(world: World) -> None:
    made = await world.ask(
        "CreateTransfer",
        transfers.CreateTransferRequest(
            source_account_id=world.bob.account, destination_account_id=world.alice.account, amount=usd("5")
        ),
        "teller",
    )
    transfer_id = made.responses[0].transfer.transfer_id  # type: ignore[attr-defined]
    get = transfers.GetTransferRequest(transfer_id=transfer_id)
    assert (await world.ask("GetTransfer", get, "customer")).reason == "OK"
    theirs = transfers.GetTransferRequest(transfer_id=world.bob.transfer)
    assert (await world.ask("GetTransfer", theirs, "customer")).reason == "TRANSFER_NOT_FOUND"


async def test_a_customer_names_a_payee_by_the_number(world: World) -> None:
    request = transfers.CreateTransferRequest(
        source_account_id=world.alice.account, destination_account_number=world.bob.number, amount=usd("1")
    )
    assert (await world.ask("CreateTransfer", request, "customer")).reason == "OK"


async def test_a_number_does_not_reveal_its_account_to_a_stranger(world: World) -> None:
    async def sent(whose: Theirs, caller: str, **more: Any) -> Asked:
        request = transfers.CreateTransferRequest(
            source_account_id=whose.account, destination_account_number=world.bob.number, amount=usd("1"), **more
        )
        return await world.ask("CreateTransfer", request, caller)

    for more in ({}, {"validate_only": True}, {"request_id": str(uuid4())}):
        assert (await sent(world.bob, "teller", **more)).reason == "SAME_ACCOUNT"
        assert_alike(await sent(world.bob, "customer", **more), await sent(world.nobody, "customer", **more), world)


async def test_a_customer_lists_the_transfers_of_an_account_not_of_all(world: World) -> None:
    asked = await world.ask("ListTransfers", transfers.ListTransfersRequest(), "customer")
    assert asked.refused is not None
    assert asked.refused.violations == {"account_id": "FIELD_REQUIRED"}
    assert (await world.ask("ListTransfers", transfers.ListTransfersRequest(), "auditor")).reason == "OK"


@pytest.mark.parametrize("method", ["WatchAccountEvents", "WatchPersonEvents"])
async def test_a_watch_without_a_filter_has_the_callers_own_events_only(world: World, method: str) -> None:
    request = GetMessageClass(METHODS[full(method)].input_type)(beginning=Empty(), stop_when_caught_up=True)
    own = await events(world, method, request, "customer")
    everybodys = await events(world, method, request, "auditor")
    for event in everybodys:
        event.ClearField("actor")
    assert own
    assert own == [event for event in everybodys if world.alice.person in (owner_of(event))]
    assert len(own) < len(everybodys)
    assert await events(world, method, request, "without-person") == []


async def test_a_watch_of_somebody_elses_account_has_no_events(world: World) -> None:
    request = accounts.WatchAccountEventsRequest(
        beginning=Empty(), account_ids=[world.bob.account], stop_when_caught_up=True
    )
    assert await events(world, "WatchAccountEvents", request, "customer") == []
    request.account_ids.append(world.alice.account)
    assert {event.account_id for event in await events(world, "WatchAccountEvents", request, "customer")} == {
        world.alice.account
    }


async def test_an_unrestricted_permission_of_one_role_wins_over_restricted_ones(world: World) -> None:
    assert (await world.ask("GetAccount", world.bob.requests()["GetAccount"], "all")).reason == "OK"


async def test_changes_and_denials_are_in_the_audit_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    much = world.alice.requests()["Withdraw"]
    much.amount.units = 10**9
    with caplog.at_level("INFO", logger="openbank.audit"):
        await world.ask("GetAccount", world.alice.requests()["GetAccount"], "customer")
        await world.ask("Withdraw", world.alice.requests()["Withdraw"], "customer")
        await world.ask("Withdraw", much, "customer")
        await world.ask("Withdraw", world.bob.requests()["Withdraw"], "customer")
        await world.ask("GetAccount", world.bob.requests()["GetAccount"], "customer")
        await world.ask("Deposit", accounts.DepositRequest(account_id="x"), "customer")
    lines = [getattr(record, "values", {}) for record in caplog.records if record.name == "openbank.audit"]
    assert [(line["outcome"], short(str(line["method"])), line.get("reason")) for line in lines] == [
        ("done", "Withdraw", None),
        ("refused", "Withdraw", "INSUFFICIENT_FUNDS"),
        ("denied", "Withdraw", "ACCOUNT_NOT_FOUND"),
        ("denied", "GetAccount", "ACCOUNT_NOT_FOUND"),
        ("denied", "Deposit", "PERMISSION_MISSING"),
    ]
    assert {line["caller"] for line in lines} == {"key:customer"}
    assert {line["correlation_id"] for line in lines} == {"the-same"}
    assert [line.get("account_id") for line in lines[:4]] == [world.alice.account] * 2 + [world.bob.account] * 2


def full(method: str) -> str:
    return next(name for name in METHODS if short(name) == method)


async def events(world: World, method: str, request: Any, role: str) -> list[Any]:
    asked = await world.ask(method, request, role)
    assert asked.reason == "OK"
    return [event for response in asked.responses for event in getattr(response, "events")]  # noqa: B009


def owner_of(event: Any) -> tuple[str, ...]:
    return tuple(getattr(event, name) for name in ("owner_id", "person_id") if hasattr(event, name))
