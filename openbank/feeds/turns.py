"""Who sends next: a few watches at a time, the others in the order in which they came.

What gRPC has to tell this process (a message has left, a call has come in) it tells one after another. A thousand
messages on their way at once would let every call wait for all of them; so only a few are. Watches that wait for their
turn miss nothing: what is recorded meanwhile travels together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

STALLED_SECONDS = 0.02
"""After so long without a message that has left, those on their way are to clients that take none: no one waits for
them."""


class _Waiting(NamedTuple):
    whose: object
    turn: asyncio.Future[None]


class Turns:
    def __init__(self, at_once: int) -> None:
        self.round = 0
        """Changes once all have had their turn who waited when it changed last."""
        self._at_once = at_once
        self._sending: set[object] = set()
        self._queue: deque[_Waiting] = deque()
        self._left = 0
        """How many of the queue are of this round."""
        self._stalled: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        return sum(not waiting.turn.done() for waiting in self._queue)

    async def take(self, whose: object) -> None:
        """Until it is the turn of `whose`; to be followed by `done`, also when this is cancelled."""
        if not self._queue and len(self._sending) < self._at_once:
            self.round += 1
            self._sending.add(whose)
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(whose, turn))
        if self._stalled is None:
            self._watch()
        await turn

    def done(self, whose: object) -> None:
        """The message of `whose` has left, or there was none."""
        self._sending.discard(whose)
        if self._queue:
            self._watch()
            self._let_on()

    def _let_on(self) -> None:
        while self._queue and len(self._sending) < self._at_once:
            if self._left == 0:
                self._left = len(self._queue)
                self.round += 1
            self._left -= 1
            whose, turn = self._queue.popleft()
            if not turn.done():
                self._sending.add(whose)
                turn.set_result(None)

    def _watch(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
        self._stalled = asyncio.get_running_loop().call_later(STALLED_SECONDS, self._go_on)

    def _go_on(self) -> None:
        self._stalled = None
        self._sending.clear()
        self._let_on()
        if self._queue:
            self._watch()
