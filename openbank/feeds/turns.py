"""Who sends next: a few watches at a time, the others in the order in which they came.

What gRPC has to tell this process (a message has left, a call has come in) it tells one after another. A thousand
messages on their way at once would let every call wait for all of them; so only a few are. Watches that wait for their
turn miss nothing: what is recorded meanwhile travels together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import NamedTuple

STALLED_SECONDS = 0.1
"""A message that has not left after so long is to a client that takes none: nobody waits for it any more."""


class _Waiting(NamedTuple):
    whose: object
    turn: asyncio.Future[None]


class Turns:
    def __init__(self, at_once: int) -> None:
        self.round = 0
        """Changes once all have had their turn who waited when it changed last."""
        self._at_once = at_once
        self._sending: dict[object, float] = {}
        """Since when, by the loop's clock; those who began first come first."""
        self._queue: deque[_Waiting] = deque()
        self._left = 0
        """How many of the queue are of this round."""
        self._watching: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        return sum(not waiting.turn.done() for waiting in self._queue)

    async def take(self, whose: object) -> None:
        """Until it is the turn of `whose`; to be followed by `done`, also when this is cancelled."""
        if not self._queue and len(self._sending) < self._at_once:
            self.round += 1
            self._sending[whose] = asyncio.get_running_loop().time()
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(whose, turn))
        if self._watching is None:
            self._watch()
        await turn

    def done(self, whose: object) -> None:
        """The message of `whose` has left, or there was none."""
        self._sending.pop(whose, None)
        if self._queue:
            self._let_on()

    def _let_on(self) -> None:
        now = asyncio.get_running_loop().time()
        for stalled in [whose for whose, since in self._sending.items() if since + STALLED_SECONDS <= now]:
            del self._sending[stalled]
        while self._queue and len(self._sending) < self._at_once:
            if self._left == 0:
                self._left = len(self._queue)
                self.round += 1
            self._left -= 1
            whose, turn = self._queue.popleft()
            if not turn.done():
                self._sending[whose] = now
                turn.set_result(None)

    def _watch(self) -> None:
        """Looks for those who have stalled, where nobody is done who would."""
        self._watching = None
        self._let_on()
        if self._queue:
            self._watching = asyncio.get_running_loop().call_later(STALLED_SECONDS, self._watch)
