"""Who sends next: a few watches at a time, the others in the order in which they came.

What gRPC has to tell this process (a message has left, a call has come in) it tells one after another. A thousand
messages on their way at once would let every call wait for all of them; so only a few are. Watches that wait for their
turn miss nothing: what is recorded meanwhile travels together.

A message to a client that has no room for it does not leave, and must not keep a place. It is told by the others, which
overtake it; a clock would on a busy machine take every message for one of these.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

OVERTAKEN_MAX = 64
"""After so many others have left, nobody waits for a message any more."""
STUCK_SECONDS = 0.005
"""After so long without any that has left, nobody waits for those on their way."""


class _Waiting(NamedTuple):
    whose: object
    turn: asyncio.Future[None]


class Turns:
    def __init__(self, at_once: int) -> None:
        self.round = 0
        """Changes once all have had their turn who waited when it changed last."""
        self._at_once = at_once
        self._sending: dict[object, int] = {}
        """How many had left when each of these began, in the order in which they did."""
        self._left = 0
        self._queue: deque[_Waiting] = deque()
        self._of_this_round = 0
        self._watching = False

    @property
    def waiting(self) -> int:
        return sum(not waiting.turn.done() for waiting in self._queue)

    async def take(self, whose: object) -> None:
        """Until it is the turn of `whose`; to be followed by `done`, also when this is cancelled."""
        if not self._queue and len(self._sending) < self._at_once:
            self.round += 1
            self._sending[whose] = self._left
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(whose, turn))
        if not self._watching:
            self._watch()
        await turn

    def done(self, whose: object) -> None:
        """The message of `whose` has left, or there was none."""
        if self._sending.pop(whose, None) is not None:
            self._left += 1
        if self._queue:
            self._let_on()

    def _let_on(self) -> None:
        while self._sending and self._left - self._sending[first := next(iter(self._sending))] > OVERTAKEN_MAX:
            del self._sending[first]
        while self._queue and len(self._sending) < self._at_once:
            if self._of_this_round == 0:
                self._of_this_round = len(self._queue)
                self.round += 1
            self._of_this_round -= 1
            whose, turn = self._queue.popleft()
            if not turn.done():
                self._sending[whose] = self._left
                turn.set_result(None)

    def _watch(self) -> None:
        """For as long as there is a queue."""
        self._watching = bool(self._queue)
        if self._watching:
            asyncio.get_running_loop().call_later(STUCK_SECONDS, self._look, self._left)

    def _look(self, left: int) -> None:
        # What gRPC has to tell already comes first.
        asyncio.get_running_loop().call_soon(self._go_on, left)

    def _go_on(self, left: int) -> None:
        if left == self._left:
            self._sending.clear()
            self._let_on()
        self._watch()
