"""Turns: few send at once, in order, and who takes long holds up nobody."""

from __future__ import annotations

import asyncio

import pytest

from openbank.feeds import turns
from openbank.feeds.turns import Turns

PATIENCE_SECONDS = 5.0


class Queue:
    """Takes turns for names, and remembers whose came when."""

    def __init__(self, at_once: int) -> None:
        self.turns = Turns(at_once)
        self.had: list[str] = []

    def ask(self, *names: str) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self._take(name)) for name in names]

    async def _take(self, name: str) -> None:
        await self.turns.take(name)
        self.had.append(name)

    async def until(self, names: str) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.had != list(names):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)


async def test_a_few_run_at_once_and_the_others_in_order_of_arrival() -> None:
    queue = Queue(at_once=2)
    queue.ask(*"abcde")
    await queue.until("ab")
    assert queue.turns.waiting == 3
    queue.turns.done("b")
    await queue.until("abc")
    queue.turns.done("a")
    queue.turns.done("c")
    await queue.until("abcde")


async def test_stalled_clients_do_not_stop_the_others() -> None:
    queue = Queue(at_once=2)
    queue.ask(*"abcdef")
    await queue.until("abcdef")


async def test_a_watch_that_many_have_overtaken_loses_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "STUCK_SECONDS", 1000)
    monkeypatch.setattr(turns, "OVERTAKEN_MAX", 3)
    queue = Queue(at_once=2)
    queue.ask(*"abcdefgh")
    for overtaking, expected in zip("bcde", ("abc", "abcd", "abcde", "abcdefg"), strict=True):
        await queue.until(expected[: -2 if expected[-1] == "g" else -1])
        queue.turns.done(overtaking)
        await queue.until(expected)


async def test_a_client_that_leaves_makes_room_for_another() -> None:
    queue = Queue(at_once=1)
    _, waiting, _ = queue.ask(*"abc")
    await queue.until("a")
    waiting.cancel()
    queue.turns.done("a")
    await queue.until("ac")


async def test_a_round_ends_when_all_that_waited_at_its_beginning_have_had_a_turn() -> None:
    queue = Queue(at_once=1)
    queue.ask(*"abc")
    await queue.until("a")
    rounds = []
    for name in "abcd":
        queue.turns.done(name)
        rounds.append(queue.turns.round)
        if name == "a":
            queue.ask("d", "e")
            await asyncio.sleep(0)
    first, second, third, _ = rounds
    assert first == second < third
    await queue.until("abcde")
