"""Drives a running bank and the model of it side by side: whatever the one answers, the other must agree with."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from copy import deepcopy
from typing import Any, Protocol
from uuid import UUID, uuid4

from grpc import StatusCode
from grpc.aio import AioRpcError
from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.batches.v1 import batches_service_pb2 as batches
from openbank.common.v1.money_pb2 import Money
from openbank.common.v1.status_pb2 import Status
from openbank.holds.v1 import holds_service_pb2 as holds
from openbank.operations.v1.views_service_pb2 import StartRebuildRequest
from openbank.persons.v1 import person_pb2
from openbank.persons.v1 import persons_service_pb2 as persons
from openbank.transfers.v1 import transfers_service_pb2 as transfers
from tests.callers import Caller, Refusal, john_doe, refusal, refusal_of
from tests.foresight import check_foreseen, dry
from tests.model.account import TIME_ZONES, same_account
from tests.model.bank import Model
from tests.model.fields import EXPONENTS, show
from tests.model.fields import Refused as ModelRefuses
from tests.model.moves import SECOND, same_hold

SECONDS_MAX = 60.0
INDEPENDENT, ATOMIC = batches.BATCH_MODE_INDEPENDENT, batches.BATCH_MODE_ATOMIC
CLOCK_ERROR = 60_000_000
"""For a bank that has the system's clock, in microseconds."""
STEPS_BETWEEN_STARTS = 8
"""A start of a process takes as long as hundreds of calls."""


class Host(Protocol):
    """A bank that can be stopped and started again, with what it knows."""

    can_kill: bool
    has_clock: bool
    """That it takes from the test."""

    async def start(self) -> str:
        """The address."""

    async def stop(self) -> None: ...

    async def kill(self) -> None: ...

    def now(self) -> int:
        """By the bank's clock, in microseconds since 1970 UTC."""

    def advance(self, hours: int) -> None:
        """Sets its clock, forward or back."""


def _mostly(right: Sequence[Any], wrong: Sequence[Any]) -> st.SearchStrategy[Any]:
    """A request has several fields: where all are to be right now and then, each must be so nearly always."""
    return st.sampled_from([*right] * (12 * len(wrong) // len(right) + 1) + [*wrong])


# Few of each, so that they are met again and again.
PERSON_IDS = _mostly(["p3", "p4", "", ""], ["p1", "no body", "x" * 65])
ACCOUNT_IDS = _mostly(["a5", "a6", "", ""], ["a1", "é", "x" * 65])
KNOWN = _mostly([0, 0, 1, 2], [9])
"""Which of the persons or accounts that there are, in turn; 9 is one that is not there."""
NUMBERS = _mostly(
    ["NL 1", "nl1", "n l-1", "DE 2", "de2", " 3 ", "d\u2011e\u00a02", "M \t" * 34], ["", "-", "a_b", "7" * 35, "3\n3"]
)
TEXTS = _mostly(
    ["Springfield", " Zoë ", "李", "x" * 100, "\u202eab"], ["x" * 101, "", " ", "a\0b", "a\x85b", "\u200b\u2800"]
)
REQUEST_IDS = _mostly(
    [str(UUID(int=0xA0 + number)) for number in range(8)] + [str(UUID(int=0xA0)).upper()],
    ["no UUID", str(UUID(int=0)), str(UUID(int=2**128 - 1))],
)
OPTIONAL_REQUEST_IDS = st.just("") | REQUEST_IDS
REVISIONS = _mostly([None, None, "right"], ["next", 1, 0, -1])
CURRENCIES = _mostly(["own"], ["", "USD", "JPY", "usd"])
"""The account's own, where it has one."""
AMOUNTS = _mostly(
    [(units, 0) for units in (1, 2, 50, 100)],
    [(0, 0), (1, 500_000_000), (0, 10_000_000), (0, 5_000_000), (0, 50), (7, 999_999_999), (1, 10**9), (1, -10_000_000),
     (-1, 0), (2**43, 0), (2**53 // 100, 0), (2**53 - 1, 0), (2**63 - 1, 0), None],
)  # fmt: skip
DEPOSIT_OR_WITHDRAW = st.sampled_from(["Deposit", "Withdraw"])
FREEZES = _mostly([2, 4, 5], [0, 1, 3, 99])
ZONES = _mostly(["", *TIME_ZONES], ["Moon/Tranquility", "america/new_york"])
LIMITS = st.none() | AMOUNTS
GOVERNING: st.SearchStrategy[Any] = st.one_of(
    st.tuples(st.just("FreezeAccount"), st.fixed_dictionaries({"state": FREEZES, "reason": TEXTS})),
    st.tuples(st.just("UnfreezeAccount"), st.just({})),
    st.tuples(st.just("CloseAccount"), st.fixed_dictionaries({"reason": st.just("") | TEXTS})),
    st.tuples(st.just("SetOverdraftLimit"), st.fixed_dictionaries({"limit": AMOUNTS})),
    st.tuples(
        st.just("SetSpendingLimits"),
        st.fixed_dictionaries({"per_transaction": LIMITS, "per_day": LIMITS, "time_zone": ZONES}),
    ),
)
FIRST_CURRENCY = ("USD", "USD")
HOURS = st.sampled_from([1, 5, 13, 24, -30])
MOVEMENTS = st.tuples(DEPOSIT_OR_WITHDRAW, KNOWN, CURRENCIES, AMOUNTS, OPTIONAL_REQUEST_IDS, REVISIONS)


SECONDS_HELD = _mostly([None, 3_600, 20 * 3_600], [0, -5, 367 * 86_400])
"""None is as long as the bank likes."""
HOLDS: st.SearchStrategy[Any] = st.one_of(
    st.tuples(
        st.just("PlaceHold"),
        st.fixed_dictionaries({"amount": AMOUNTS, "seconds": SECONDS_HELD, "by_time": st.booleans()}),
    ),
    st.tuples(
        st.just("CaptureHold"),
        st.fixed_dictionaries({"amount": st.none() | AMOUNTS, "hold": KNOWN, "release_remainder": st.booleans()}),
    ),
    st.tuples(st.just("ReleaseHold"), st.fixed_dictionaries({"hold": KNOWN})),
)
TRANSFERS = st.fixed_dictionaries(
    {"source": KNOWN, "to": _mostly([1, 2, 1, 2], [0, 3, 9]), "by_number": st.booleans(), "hold": st.none() | KNOWN}
)


REVERSALS = st.fixed_dictionaries(
    {
        "known": KNOWN,
        "back": _mostly([0, 0, 1, 1, 2, 3, 5], [-1, 8, 20]),
        "allow_overdraw": st.booleans(),
        "description": st.just("") | TEXTS,
    }
)
"""`back` is how long ago it was, in movements or transfers."""


class BankMachine(RuleBasedStateMachine):
    """Runs in a thread of its own; the calls are made on `loop`, which the bank may share."""

    def __init__(self, loop: asyncio.AbstractEventLoop, host: Host) -> None:
        super().__init__()
        self._loop = loop
        self._host = host
        self._model = Model(clock_error=0 if host.has_clock else CLOCK_ERROR)
        self._tokens: list[str] = []
        """From the answers since the last comparison. The last is not the latest after a replay or calls at once."""
        self._sent: list[tuple[str, Any]] = []
        self._listed: dict[str, list[str]] = {}
        self._caller: Caller | None = None
        self._steps = 0
        """Since the last start."""

    @initialize()
    def begin(self) -> None:
        """With a few to work on: one of each kind of currency, two more of the first, and two holds."""
        self._do(self._start)
        for person_id in ("p1", "p2"):
            self._send("RegisterPerson", john_doe(person_id=person_id))
        for number, code in enumerate([*EXPONENTS, *FIRST_CURRENCY]):
            self._send("OpenAccount", self._opening(f"a{number}", number % 2, f"N{number}", code, (100, 0), ""))
        for seconds in (3_600, 20 * 3_600):
            parts = {"amount": (9, 0), "seconds": seconds, "by_time": False}
            self._send(*self._holding(("PlaceHold", parts), 0, "own", "", None))

    @rule(person_id=PERSON_IDS, first_name=TEXTS, request_id=OPTIONAL_REQUEST_IDS)
    def register(self, person_id: str, first_name: str, request_id: str) -> None:
        request = john_doe(person_id=person_id, first_name=first_name, request_id=request_id)
        self._send("RegisterPerson", request)

    @rule(known=KNOWN, city=TEXTS, request_id=OPTIONAL_REQUEST_IDS, revision=REVISIONS)
    def move_house(self, known: int, city: str, request_id: str, revision: Any) -> None:
        address = person_pb2.Address(street="1 Main St", city=city, country="USA")
        person_id = self._some(self._model.persons, known)
        request = persons.UpdateAddressRequest(person_id=person_id, address=address, request_id=request_id)
        self._send("UpdateAddress", self._expecting(request, self._model.persons.get(person_id), revision))

    @rule(
        account_id=ACCOUNT_IDS, known=KNOWN, number=NUMBERS, code=CURRENCIES, amount=AMOUNTS,
        request_id=OPTIONAL_REQUEST_IDS,
    )  # fmt: skip
    def open(self, account_id: str, known: int, number: str, code: str, amount: Any, request_id: str) -> None:
        self._send("OpenAccount", self._opening(account_id, known, number, code, amount, request_id))

    @rule(movement=MOVEMENTS)
    def move(self, movement: Any) -> None:
        self._send(*self._movement(*movement))

    @rule(change=GOVERNING, known=KNOWN, code=CURRENCIES, request_id=OPTIONAL_REQUEST_IDS, revision=REVISIONS)
    def govern(self, change: Any, known: int, code: str, request_id: str, revision: Any) -> None:
        self._send(*self._governing(change, known, code, request_id, revision))

    @rule(change=GOVERNING, known=KNOWN, movement=MOVEMENTS)
    def govern_while_it_moves(self, change: Any, known: int, movement: Any) -> None:
        self._send_at_once(self._governing(change, known, "own", "", None), self._movement(*movement))

    @rule(change=HOLDS, known=KNOWN, code=CURRENCIES, request_id=OPTIONAL_REQUEST_IDS, revision=REVISIONS)
    def hold(self, change: Any, known: int, code: str, request_id: str, revision: Any) -> None:
        self._send(*self._holding(change, known, code, request_id, revision))

    @rule(change=HOLDS, known=KNOWN, movement=MOVEMENTS)
    def hold_while_it_moves(self, change: Any, known: int, movement: Any) -> None:
        self._send_at_once(self._holding(change, known, "own", "", None), self._movement(*movement))

    @rule(parts=TRANSFERS, code=CURRENCIES, amount=AMOUNTS, request_id=OPTIONAL_REQUEST_IDS, revision=REVISIONS)
    def transfer(self, parts: Any, code: str, amount: Any, request_id: str, revision: Any) -> None:
        self._send(*self._transfer(parts, code, amount, request_id, revision))

    @rule(parts=TRANSFERS, amount=AMOUNTS, movement=MOVEMENTS)
    def transfer_while_it_moves(self, parts: Any, amount: Any, movement: Any) -> None:
        self._send_at_once(self._transfer(parts, "own", amount, "", None), self._movement(*movement))

    @rule(parts=REVERSALS, transfer=st.booleans(), request_id=OPTIONAL_REQUEST_IDS, revision=REVISIONS)
    def reverse(self, parts: Any, transfer: bool, request_id: str, revision: Any) -> None:
        self._send(*self._reversal(parts, transfer, request_id, revision))

    @rule(parts=REVERSALS, transfer=st.booleans(), movement=MOVEMENTS)
    def reverse_while_it_moves(self, parts: Any, transfer: bool, movement: Any) -> None:
        self._send_at_once(self._reversal(parts, transfer, "", None), self._movement(*movement))

    @rule(parts=REVERSALS, transfer=st.booleans())
    def reverse_twice_at_once(self, parts: Any, transfer: bool) -> None:
        reversal = self._reversal(parts, transfer, "", None)
        self._send_at_once(reversal, reversal)

    @rule(known=KNOWN)
    def empty_and_close(self, known: int) -> None:
        """Which chance alone would hardly ever do."""
        account_id = self._some(self._model.accounts, known)
        account = self._model.accounts.get(account_id)
        if account and account.balance > 0:
            rest = show(account.currency, account.balance)
            self._send("Withdraw", accounts.WithdrawRequest(account_id=account_id, amount=rest))
        self._send("CloseAccount", accounts.CloseAccountRequest(account_id=account_id))

    @precondition(lambda self: self._host.has_clock)
    @rule(hours=HOURS, movement=st.none() | MOVEMENTS)
    def set_clock(self, hours: int, movement: Any) -> None:
        """Holds fall due; somebody may write to an account before the bank has ended them by itself."""
        self._host.advance(hours)
        if movement:
            rpc, known, code, amount, request_id, _ = movement
            self._send(*self._movement(rpc, known, code, amount, request_id, None))
        self._model.now = self._host.now()
        self._model.expire()
        self._do(self._until_expired)

    @precondition(lambda self: self._sent)
    @rule(back=st.integers(0, 30))
    def send_again(self, back: int) -> None:
        """What was sent some time ago, whatever became of it."""
        self._send(*self._sent[-1 - back % len(self._sent)])

    @rule(one=MOVEMENTS, other=MOVEMENTS, same=st.booleans())
    def move_at_once(self, one: Any, other: Any, same: bool) -> None:
        first = self._movement(*one)
        self._send_at_once(first, first if same else self._movement(*other))

    @rule(movements=st.lists(MOVEMENTS, min_size=2, max_size=4))
    def move_in_a_batch(self, movements: Sequence[Any]) -> None:
        """Each by itself. Those on one account come in their order; nothing tells that of others."""
        calls = [self._movement(*movement) for movement in movements]
        for _, request in calls:
            request.request_id = request.request_id or str(uuid4())
        self._model.now = self._host.now()
        for (rpc, request), outcome in zip(calls, self._do(lambda: self._batch(INDEPENDENT, calls)), strict=True):
            if not isinstance(outcome, Refusal):
                outcome.consistency_token = ""
            self._model.take(rpc, request, outcome)
        self._sent += calls

    @rule(movements=st.lists(MOVEMENTS, min_size=2, max_size=4), known=KNOWN)
    def move_all_or_none(self, movements: Sequence[Any], known: int) -> None:
        calls = [self._movement(rpc, known, code, amount, "", None) for rpc, _, code, amount, *_ in movements]
        self._model.now = self._host.now()
        outcomes = self._do(lambda: self._batch(ATOMIC, calls))
        if not isinstance(outcomes, Refusal):
            for (rpc, request), outcome in zip(calls, outcomes, strict=True):
                self._model.take(rpc, request, outcome)
            return
        # The first that the model refuses, with what the ones before it would leave.
        model = deepcopy(self._model)
        first = next(filter(None, (_refusal(model, rpc, request, outcomes) for rpc, request in calls)), None)
        assert first, f"{outcomes} of a batch that the model carries out"
        assert "BadRequest" in outcomes.details or first == (outcomes.code.name, outcomes.reason)

    @rule(known=KNOWN, number=NUMBERS, request_ids=st.tuples(OPTIONAL_REQUEST_IDS, OPTIONAL_REQUEST_IDS))
    def open_one_number_at_once(self, known: int, number: str, request_ids: tuple[str, str]) -> None:
        one, other = (self._opening("", known, number, "own", None, request_id) for request_id in request_ids)
        self._send_at_once(("OpenAccount", one), ("OpenAccount", other))

    @rule(page=st.integers(1, 3), spelling=st.sampled_from([str.upper, str.lower, str.strip]))
    def read_all(self, page: int, spelling: Callable[[str], str]) -> None:
        self._do(lambda: self._compare(page, spelling))

    @rule(known=st.sampled_from(["nobody", "no body", ""]), number=st.sampled_from(["0", "-", ""]))
    def read_what_is_not_there(self, known: str, number: str) -> None:
        self._do(lambda: self._miss(known, number))

    @rule()
    def rebuild_the_views(self) -> None:
        """Beside what follows."""
        self._do(self._rebuild)

    @precondition(lambda self: self._steps > STEPS_BETWEEN_STARTS)
    @rule()
    def restart(self) -> None:
        self._do(self._restart)

    @precondition(lambda self: self._host.can_kill and self._steps > STEPS_BETWEEN_STARTS)
    @rule()
    def kill(self) -> None:
        self._do(self._kill)

    @precondition(lambda self: self._host.can_kill and self._steps > STEPS_BETWEEN_STARTS)
    @rule(
        movement=st.tuples(DEPOSIT_OR_WITHDRAW, KNOWN, CURRENCIES, AMOUNTS, REQUEST_IDS, REVISIONS),
        after=st.sampled_from([0, 0.002, 0.01]),
    )
    def kill_while_it_moves(self, movement: Any, after: float) -> None:
        """Sent until it is answered, as callers do."""
        self._do(lambda: self._killed_while_sending(*self._movement(*movement), after))

    @invariant()
    def money_is_what_was_moved(self) -> None:
        self._steps += 1
        for account in self._model.accounts.values():
            assert account.revision == len(account.events)
            assert not account.events or account.events[-1][1:] == (account.balance, account.available)

    def teardown(self) -> None:
        if self._caller is not None:
            self._do(lambda: self._compare(2, str.strip))
            self._do(self._end)

    def _do(self, work: Callable[[], Awaitable[Any]]) -> Any:
        async def within() -> Any:
            async with asyncio.timeout(SECONDS_MAX):
                return await work()

        return asyncio.run_coroutine_threadsafe(within(), self._loop).result()

    def _send(self, rpc: str, request: Any) -> None:
        self._model.now = self._host.now()
        foreseen = self._do(lambda: self._call(rpc, dry(request)))
        outcome = self._do(lambda: self._call(rpc, request))
        check_foreseen(request, foreseen, outcome)
        self._sent.append((rpc, request))
        self._model.take(rpc, request, outcome)

    def _send_at_once(self, *both: tuple[str, Any]) -> None:
        """Whatever comes of it is as if one had come after the other."""

        async def at_once() -> list[Any]:
            return await asyncio.gather(*(self._call(rpc, request) for rpc, request in both))

        self._model.now = self._host.now()
        outcomes = self._do(at_once)
        self._sent += both
        (one, other), models = zip(both, outcomes, strict=True), []
        for order in ((one, other), (other, one)):
            model = deepcopy(self._model)
            try:
                for (rpc, request), outcome in order:
                    model.take(rpc, request, outcome)
            except AssertionError as disagrees:
                note(f"not in this order: {disagrees}")
            else:
                models.append(model)
        assert models, f"neither order explains {both} and {outcomes}"
        self._model = models[0]

    async def _call(self, rpc: str, request: Any) -> Any:
        """The answer, or the refusal."""
        assert self._caller is not None
        callers = (self._caller.accounts, self._caller.persons, self._caller.holds, self._caller.transfers)
        service = next(one for one in callers if hasattr(one, rpc))
        try:
            answer = await getattr(service, rpc)(request)
        except AioRpcError as error:
            return refusal(error)
        self._tokens.append(answer.consistency_token)
        return answer

    async def _batch(self, mode: Any, calls: Sequence[tuple[str, Any]]) -> Any:
        """What became of each, or the refusal of all."""
        assert self._caller is not None
        commands = [batches.BatchCommand(**{rpc.lower(): request}) for rpc, request in calls]
        request = batches.ExecuteBatchRequest(mode=mode, commands=commands)
        try:
            answer = await self._caller.batches.ExecuteBatch(request)
        except AioRpcError as error:
            return refusal(error)
        self._tokens.append(answer.consistency_token)
        made = [getattr(one, str(one.WhichOneof("outcome"))) for one in answer.results]
        return [refusal_of(one) if isinstance(one, Status) else one for one in made]

    def _some(self, known: dict[str, Any], number: int) -> str:
        return "nobody" if number == 9 else list(known)[number % len(known)]

    def _expecting(self, request: Any, made: Any, revision: Any) -> Any:
        if revision is not None:
            now = made.revision if made else 1
            request.expected_revision = {"right": now, "next": now + 1}.get(revision, revision)
        return request

    def _opening(self, account_id: str, known: int, number: str, code: str, amount: Any, request_id: str) -> Any:
        code = code.replace("own", "USD")
        return accounts.OpenAccountRequest(
            account_id=account_id, owner_id=self._some(self._model.persons, known), account_number=number,
            currency_code=code, initial_deposit=_money(code, amount), request_id=request_id,
        )  # fmt: skip

    def _movement(
        self, rpc: str, known: int, code: str, amount: Any, request_id: str, revision: Any
    ) -> tuple[str, Any]:
        account_id = self._some(self._model.accounts, known)
        account = self._model.accounts.get(account_id)
        code = code.replace("own", account.currency if account else "USD")
        kind = accounts.DepositRequest if rpc == "Deposit" else accounts.WithdrawRequest
        request = kind(account_id=account_id, amount=_money(code, amount), request_id=request_id)
        return rpc, self._expecting(request, account, revision)

    def _governing(self, change: Any, known: int, code: str, request_id: str, revision: Any) -> tuple[str, Any]:
        rpc, fields = change
        account_id = self._some(self._model.accounts, known)
        account = self._model.accounts.get(account_id)
        code = code.replace("own", account.currency if account else "USD")
        fields = {name: _money(code, value) if name in _LIMIT_FIELDS else value for name, value in fields.items()}
        request = getattr(accounts, f"{rpc}Request")(account_id=account_id, request_id=request_id, **fields)
        return rpc, self._expecting(request, account, revision)

    def _holding(self, change: Any, known: int, code: str, request_id: str, revision: Any) -> tuple[str, Any]:
        rpc, fields = change[0], dict(change[1])
        with_holds = {id: account for id, account in self._model.accounts.items() if account.holds}
        account_id = self._some(with_holds if "hold" in fields and with_holds else self._model.accounts, known)
        account = self._model.accounts.get(account_id)
        code = code.replace("own", account.currency if account else "USD")
        if "amount" in fields:
            fields["amount"] = _money(code, fields["amount"])
        if "hold" in fields:
            fields["hold_id"] = self._some_hold(account, fields.pop("hold"))
        seconds, by_time = fields.pop("seconds", None), fields.pop("by_time", False)
        request = getattr(holds, f"{rpc}Request")(account_id=account_id, request_id=request_id, **fields)
        if seconds is not None and by_time:
            request.expire_time.FromMicroseconds(self._host.now() + seconds * SECOND)
        elif seconds is not None:
            request.ttl.FromSeconds(seconds)
        return rpc, self._expecting(request, account, revision)

    def _some_hold(self, account: Any, known: int) -> str:
        """The latest are most likely open."""
        return self._some(dict.fromkeys([*account.holds][::-1]), known) if account and account.holds else "nobody"

    def _transfer(self, parts: Any, code: str, amount: Any, request_id: str, revision: Any) -> tuple[str, Any]:
        """Mostly to an account in the same currency: there are three in the first."""
        source_id = self._some(self._model.accounts, parts["source"])
        source = self._model.accounts.get(source_id)
        others = {
            id: account
            for id, account in self._model.accounts.items()
            if parts["to"] == 3 or source is None or account.currency == source.currency
        }
        shift = 9 if parts["to"] == 9 else [*others].index(source_id) + parts["to"] if source_id in others else 0
        destination_id = self._some(others, shift)
        destination = self._model.accounts.get(destination_id)
        code = code.replace("own", source.currency if source else "USD")
        request = transfers.CreateTransferRequest(
            source_account_id=source_id, amount=_money(code, amount), request_id=request_id
        )
        if parts["by_number"]:
            request.destination_account_number = destination.number if destination else "NONE"
        else:
            request.destination_account_id = destination_id
        if parts["hold"] is not None:
            request.hold_id = self._some_hold(source, parts["hold"])
        return "CreateTransfer", self._expecting(request, source, revision)

    def _reversal(self, parts: Any, transfer: bool, request_id: str, revision: Any) -> tuple[str, Any]:
        fields = {name: parts[name] for name in ("allow_overdraw", "description")}
        if transfer:
            known = dict.fromkeys([*self._model.transfers][::-1] or ["none"])
            transfer_id = "none" if parts["back"] < 0 else self._some(known, parts["back"])
            sent = self._model.transfers.get(transfer_id)
            payee = self._model.accounts.get(sent.request.destination_account_id) if sent else None
            asked = transfers.ReverseTransferRequest(transfer_id=transfer_id, request_id=request_id, **fields)
            return "ReverseTransfer", self._expecting(asked, payee, revision)
        account_id = self._some(self._model.accounts, parts["known"])
        account = self._model.accounts.get(account_id)
        number = account.revision - parts["back"] if account else 1
        request = accounts.ReverseMovementRequest(
            account_id=account_id, revision=number, request_id=request_id, **fields
        )
        return "ReverseMovement", self._expecting(request, account, revision)

    async def _until_expired(self) -> None:
        """All holds that are due, also on accounts without writes."""
        assert self._caller is not None
        for account_id, account in self._model.accounts.items():
            asked = accounts.GetAccountRequest(account_id=account_id)
            # What is waited for has no event of its own.
            while (await self._caller.accounts.GetAccount(asked)).account.revision < account.revision:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def _start(self) -> None:
        self._steps = 0
        self._caller = Caller(await self._host.start())

    async def _leave(self) -> None:
        assert self._caller is not None
        await self._caller.channel.close()

    async def _end(self) -> None:
        await self._leave()
        await self._host.stop()

    async def _rebuild(self) -> None:
        assert self._caller is not None
        await self._caller.views.StartRebuild(StartRebuildRequest())

    async def _restart(self) -> None:
        await self._end()
        await self._start()

    async def _kill(self) -> None:
        await self._host.kill()
        await self._leave()
        await self._start()

    async def _killed_while_sending(self, rpc: str, request: Any, seconds: float) -> None:
        self._model.now = self._host.now()
        sending = asyncio.create_task(self._call(rpc, request))
        await asyncio.sleep(seconds)
        await self._host.kill()
        outcome = await sending
        await self._leave()
        await self._start()
        if isinstance(outcome, Refusal) and outcome.code is StatusCode.UNAVAILABLE:
            outcome = await self._call(rpc, request)
            # Done before the end, or done now: it is the same to the model, which has not seen it yet.
            if not isinstance(outcome, Refusal) and not self._is_known(request):
                outcome.replayed = False
        self._model.take(rpc, request, outcome)

    def _is_known(self, request: Any) -> bool:
        account = self._model.accounts.get(request.account_id)
        return account is not None and request.request_id.lower() in account.done

    async def _compare(self, page: int, spelling: Callable[[str], str]) -> None:
        """All that can be read is what the model has, once the views have come as far as any answer."""
        assert self._caller is not None
        while self._tokens:
            seen = persons.ListPersonsRequest(page_size=1, consistency_token=self._tokens.pop())
            await self._caller.persons.ListPersons(seen)
        for person_id, person in self._model.persons.items():
            asked = persons.GetPersonRequest(person_id=person_id)
            found = (await self._caller.persons.GetPerson(asked)).person
            assert (found.first_name, found.address.city) == (person.first_name, person.city)
            assert found.revision == person.revision
            await self._compare_list("accounts", page, owner_id=person_id)
        for account_id, account in self._model.accounts.items():
            asked_for = accounts.GetAccountRequest(account_id=account_id)
            read = (await self._caller.accounts.GetAccount(asked_for)).account
            _same_account(read, account_id, account)
            number = accounts.GetAccountByNumberRequest(account_number=spelling(account.number))
            assert (await self._caller.accounts.GetAccountByNumber(number)).account == read
            await self._compare_events(account_id, page)
            await self._compare_statement(account_id, page)
            await self._compare_holds(account_id, page)
        await self._compare_transfers()
        await self._compare_list("persons", page)
        await self._compare_feed()

    async def _pages(self, rpc: str, request: Any, items: str) -> list[Any]:
        assert self._caller is not None
        services = {"ListPersons": self._caller.persons, "ListHolds": self._caller.holds}
        service = services.get(rpc, self._caller.accounts)
        found: list[Any] = []
        while True:
            answer = await getattr(service, rpc)(request)
            found += getattr(answer, items)
            assert len(getattr(answer, items)) == request.page_size or not answer.next_page_token
            if not answer.next_page_token:
                return found
            request.page_token = answer.next_page_token

    async def _compare_list(self, items: str, page: int, owner_id: str = "") -> None:
        """Those that there are, each once; what was listed before comes first, as it was."""
        if items == "persons":
            found = await self._pages("ListPersons", persons.ListPersonsRequest(page_size=page), items)
            ids, expected = [one.person_id for one in found], set(self._model.persons)
        else:
            request = accounts.ListAccountsByOwnerRequest(owner_id=owner_id, page_size=page)
            found = await self._pages("ListAccountsByOwner", request, items)
            ids = [one.account_id for one in found]
            expected = {id for id, account in self._model.accounts.items() if account.owner_id == owner_id}
        before = self._listed.get(owner_id, [])
        assert (len(ids), set(ids), ids[: len(before)]) == (len(expected), expected, before)
        self._listed[owner_id] = ids

    async def _compare_events(self, account_id: str, page: int) -> None:
        request = accounts.ListAccountEventsRequest(account_id=account_id, page_size=page)
        found = await self._pages("ListAccountEvents", request, "events")
        assert [event.revision for event in found] == list(range(len(found), 0, -1))
        self._same_events(account_id, found[::-1])

    async def _compare_statement(self, account_id: str, page: int) -> None:
        """Of all that happened; and the balance after each event."""
        assert self._caller is not None
        account = self._model.accounts[account_id]
        of, last = accounts.GetAccountStatementRequest(account_id=account_id, page_size=page), len(account.events)
        of.revisions.first_revision, of.revisions.last_revision = 1, last
        movements, before = [], 0
        for revision, event in enumerate(account.events, 1):
            at = accounts.GetAccountBalanceRequest(account_id=account_id, revision=revision)
            found = await self._caller.accounts.GetAccountBalance(at)
            assert found.balance == show(account.currency, event.balance)
            assert found.available_balance == show(account.currency, event.available)
            if event.balance != before:
                movements.append((revision, show(account.currency, event.balance - before), found.balance))
            before = event.balance
        whole = await self._caller.accounts.GetAccountStatement(of)
        assert (whole.entry_count, whole.closing_balance) == (len(movements), show(account.currency, account.balance))
        assert (whole.first_revision, whole.last_revision, whole.complete) == (1, last, True)
        entries = await self._pages("GetAccountStatement", of, "entries")
        assert [(entry.revision, entry.amount, entry.balance_after) for entry in entries] == movements
        listing = accounts.ListMovementsRequest(account_id=account_id, page_size=page)
        listed = await self._pages("ListMovements", listing, "movements")
        assert [movement.entry for movement in listed] == entries[::-1]

    async def _compare_holds(self, account_id: str, page: int) -> None:
        account = self._model.accounts[account_id]
        request = holds.ListHoldsRequest(account_id=account_id, page_size=page)
        found = await self._pages("ListHolds", request, "holds")
        assert [hold.hold_id for hold in found] == [*account.holds][::-1]
        for hold in found:
            same_hold(hold, account_id, account, account.holds[hold.hold_id])

    async def _compare_transfers(self) -> None:
        assert self._caller is not None
        listed = (await self._caller.transfers.ListTransfers(transfers.ListTransfersRequest(page_size=1_000))).transfers
        assert [one.transfer_id for one in listed] == [*self._model.transfers][::-1]
        reversed_by = {one.reverses_transfer_id: one.transfer_id for one in listed if one.reverses_transfer_id}
        for one in listed:
            assert bool(one.reversed_by_transfer_id) == self._model.transfers[one.transfer_id].reversed
            assert one.reversed_by_transfer_id == reversed_by.get(one.transfer_id, "")

    async def _compare_feed(self) -> None:
        assert self._caller is not None
        events = await self._caller.account_events()
        for account_id in self._model.accounts:
            self._same_events(account_id, [event for event in events if event.account_id == account_id])
        assert {event.account_id for event in events} == set(self._model.accounts)

    def _same_events(self, account_id: str, found: list[Any]) -> None:
        account = self._model.accounts[account_id]
        expected = [
            # No caller knows the id of a step of the bank itself.
            (event.id or made.event_id, show(account.currency, event.balance), show(account.currency, event.available))
            for event, made in zip(account.events, found, strict=True)
        ]
        assert [(event.event_id, event.balance, event.available_balance) for event in found] == expected

    async def _miss(self, known: str, number: str) -> None:
        assert self._caller is not None
        invalid = {"no body": "INVALID_ID", "": "FIELD_REQUIRED"}.get(known)
        for call, missing in (
            (self._caller.persons.GetPerson(persons.GetPersonRequest(person_id=known)), "PERSON_NOT_FOUND"),
            (self._caller.accounts.GetAccount(accounts.GetAccountRequest(account_id=known)), "ACCOUNT_NOT_FOUND"),
        ):
            assert await _reason(call) == (invalid or missing)
        invalid = {"-": "INVALID_ACCOUNT_NUMBER", "": "FIELD_REQUIRED"}.get(number)
        asked = accounts.GetAccountByNumberRequest(account_number=number)
        assert await _reason(self._caller.accounts.GetAccountByNumber(asked)) == (invalid or "ACCOUNT_NOT_FOUND")


def _refusal(model: Model, rpc: str, request: Any, outcome: Any) -> tuple[Any, ...]:
    """The code and the reason that the model refuses it with; empty where it does not."""
    try:
        getattr(model, rpc)(request, outcome)
    except ModelRefuses as error:
        return error.args[:2]
    return ()


_LIMIT_FIELDS = ("limit", "per_transaction", "per_day")


def _money(code: str, amount: tuple[int, int] | None) -> Money | None:
    return None if amount is None else Money(currency_code=code, units=amount[0], nanos=amount[1])


async def _reason(call: Awaitable[Any]) -> str:
    try:
        return str(await call)
    except AioRpcError as error:
        return refusal(error).reason


def _same_account(found: Any, account_id: str, account: Any) -> None:
    assert (found.account_id, found.owner_id, found.account_number) == (account_id, account.owner_id, account.number)
    assert found.revision == account.revision
    same_account(found, account)
