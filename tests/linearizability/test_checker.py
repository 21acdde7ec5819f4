"""The checker is worth what it refuses: histories of a bank that has broken its word, each beside one that has not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.linearizability.checker import Operation, verdict

OPENED_WITH = (100, 50)


def deposit(call: int, balance: int, revision: int, **more: object) -> Operation:
    """A deposit of 10, made, and answered 5 later."""
    done = Operation("deposit", call, amount=10, outcome="done", revision=revision, balance=balance, return_=call + 5)
    return replace(done, **more)  # type: ignore[arg-type]


def withdrawal(call: int, balance: int, revision: int, **more: object) -> Operation:
    return deposit(call, balance, revision, kind="withdraw", **more)


def read(call: int, balance: int, revision: int, **more: object) -> Operation:
    return deposit(call, balance, revision, kind="read", amount=0, **more)


def unknown(call: int, **more: object) -> Operation:
    return deposit(call, 0, 0, outcome="unknown", **more)


def send(call: int, balance: int, revision: int, **more: object) -> Operation:
    return deposit(call, balance, revision, kind="send", request="t", other=1, **more)


def receive(call: int, revision: int, **more: object) -> Operation:
    return deposit(call, 0, revision, kind="receive", request="t", account=1, other=0, **more)


RIGHT = {
    "one after the other": [deposit(0, 110, 2), withdrawal(10, 100, 3), read(20, 100, 3, at_least=3)],
    "two at once, in either order": [deposit(0, 120, 3), deposit(1, 110, 2)],
    "a late read without a token": [deposit(0, 110, 2), deposit(10, 120, 3), read(20, 110, 2)],
    "a read that overtakes its deposit's answer": [deposit(0, 110, 2, return_=100), read(10, 110, 2)],
    "a repeated request": [deposit(0, 110, 2, request="a"), deposit(10, 110, 2, request="a", replayed=True)],
    "an unknown one that was done": [unknown(0), deposit(50, 120, 3)],
    "an unknown one that was not done": [unknown(0), deposit(50, 110, 2)],
    "an unknown one that was done late": [unknown(0), deposit(50, 110, 2), deposit(60, 130, 4)],
    "an unknown one that was done, repeated": [
        unknown(0, request="a"), deposit(50, 120, 3), deposit(60, 110, 2, request="a", replayed=True),
    ],
    "an unknown one that was not done, repeated": [unknown(0, request="a"), deposit(50, 110, 2, request="a")],
    "a refusal that was right at the time": [
        withdrawal(0, 0, 0, amount=105, outcome="insufficient"), deposit(3, 110, 2),
    ],
    "a revision as expected": [deposit(0, 110, 2, expected=1), deposit(10, 120, 3, expected=2)],
    "a transfer": [send(0, 90, 2), receive(0, 2), read(10, 90, 2), read(10, 60, 2, account=1)],
    "money in transit, which neither account has": [
        send(0, 90, 2), receive(0, 2, return_=100), read(10, 90, 2, at_least=2), read(10, 50, 1, account=1, at_least=1),
    ],
    "a transfer that arrives long after its call": [
        send(0, 0, 0, outcome="unknown"), receive(0, 0, outcome="unknown"), read(50, 90, 2), read(60, 60, 2, account=1),
    ],
    "a transfer that did not arrive yet": [
        send(0, 90, 2), receive(0, 0, outcome="unknown"), read(50, 50, 1, account=1, at_least=1),
    ],
    "a repeated transfer": [
        send(0, 90, 2), receive(0, 2), send(10, 90, 2, replayed=True), receive(10, 2, replayed=True),
    ],
    "another revision than expected": [deposit(0, 110, 2), deposit(10, 0, 2, expected=1, outcome="mismatch")],
}  # fmt: skip
WRONG = {
    "what nobody wrote, after many of which nothing was heard": [
        *(unknown(0, request=str(n)) for n in range(40)), deposit(50, 110, 2), read(60, 100, 2),
    ],
    "a lost update": [deposit(0, 110, 2), deposit(0, 110, 2)],
    "a lost update under revisions that look right": [deposit(0, 110, 2), deposit(1, 110, 3)],
    "a gap in the revisions": [deposit(0, 110, 2), deposit(10, 120, 4)],
    "a revision twice": [deposit(0, 110, 2), withdrawal(10, 100, 2)],
    "a read behind its token": [deposit(0, 110, 2), deposit(10, 120, 3), read(20, 110, 2, at_least=3)],
    "a read of what never was": [deposit(0, 110, 2), read(10, 115, 2)],
    "a read of what is still to come": [read(0, 110, 2), deposit(10, 110, 2)],
    "a request done twice": [deposit(0, 110, 2, request="a"), deposit(10, 120, 3, request="a")],
    "a request done twice, once unseen": [
        deposit(0, 110, 2, request="a"), unknown(10, request="a"), deposit(50, 130, 4),
    ],
    "an unknown request done, and done again when repeated": [
        unknown(0, request="a"), deposit(50, 120, 3, request="a"),
    ],
    "a repeated request with another answer": [
        deposit(0, 110, 2, request="a"), deposit(10, 120, 3), deposit(20, 120, 3, request="a", replayed=True),
    ],
    "a replay of what was never done": [deposit(0, 110, 2, request="a", replayed=True)],
    "a reused request id": [deposit(0, 110, 2, request="a"), withdrawal(10, 110, 2, request="a", replayed=True)],
    "answers in the other order than calls": [deposit(0, 120, 3), deposit(10, 110, 2)],
    "an acknowledged deposit that is gone": [deposit(0, 110, 2), deposit(10, 110, 2), read(20, 110, 2)],
    "a balance below zero": [withdrawal(0, -50, 2, amount=150)],
    "a refusal although there was money": [withdrawal(0, 0, 0, outcome="insufficient")],
    "a revision that was not the expected one": [deposit(0, 110, 2), deposit(10, 120, 3, expected=1)],
    "two that expected one revision": [deposit(0, 110, 2, expected=1), deposit(1, 120, 3, expected=1)],
    "a mismatch although the revision was right": [deposit(0, 0, 1, expected=1, outcome="mismatch")],
    "a transfer that arrives and was never sent": [receive(0, 2)],
    "a transfer that arrives before it is sent": [receive(0, 2), send(10, 90, 2)],
    "a transfer that arrives twice": [
        send(0, 90, 2), receive(0, 2), receive(0, 0, outcome="unknown"), read(50, 70, 3, account=1),
    ],
    "a transfer that arrives as more": [send(0, 90, 2), receive(0, 2, amount=11)],
    "a completed transfer that did not arrive": [
        send(0, 90, 2), receive(0, 2), deposit(10, 60, 2, account=1), read(20, 60, 2, account=1),
    ],
    "a completed transfer that its own token does not show": [
        send(0, 90, 2), receive(0, 2), read(10, 50, 1, account=1, at_least=2),
    ],
    "a transfer of more than there was": [send(0, -10, 2, amount=110)],
    "a transfer on its way that was never sent": [receive(0, 0, outcome="unknown"), read(10, 60, 2, account=1)],
    "a refusal that was not right any more": [
        deposit(0, 110, 2), withdrawal(10, 0, 0, amount=105, outcome="insufficient"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("history", RIGHT)
async def test_a_possible_history_is_accepted(history: str) -> None:
    assert await verdict(OPENED_WITH, RIGHT[history]) == "linearizable"


@pytest.mark.parametrize("history", WRONG)
async def test_an_impossible_history_is_refused(history: str) -> None:
    assert await verdict(OPENED_WITH, WRONG[history]) == "not linearizable"
