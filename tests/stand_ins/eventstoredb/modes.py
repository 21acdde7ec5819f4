"""What the real server does now and then, and a simple one never does.

    server.modes.turn_on(seed=7)        # all of it
    server.modes.late_seconds = 0.136   # or one by one

All are off until a test asks, and drawn from one seeded generator.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

LIVE_BUFFER = 32


@dataclass(slots=True)
class Modes:
    late_seconds: float = 0.0
    """An append is readable, and acknowledged, up to this much later than it is decided on. Meanwhile others are
    refused on the strength of it, and the same append again is dropped without an answer..."""
    late_chance: float = 0.3
    """...with this probability."""
    checkpoints_ahead: bool = False
    """A checkpoint at the end of the log is the position of the next event, which is not written yet."""
    live_buffer: int | None = None
    """A live subscription is cut when more events than this wait for its client..."""
    cut_chance: float = 1.0
    """...with this probability each time."""
    pause_seconds: float = 0.0
    """An append or a read takes up to this much longer..."""
    pause_chance: float = 0.0
    """...with this probability."""
    uncommitted_lost: bool = False
    """What a leader has written and not committed is lost half of the time when it is deposed."""
    dice: random.Random = field(default_factory=lambda: random.Random(0))

    def turn_on(self, seed: int) -> None:
        """All of them, more often than on a real server, so that a short test meets each."""
        self.late_seconds = 0.136
        self.checkpoints_ahead = True
        self.live_buffer, self.cut_chance = LIVE_BUFFER, 0.05
        self.pause_seconds, self.pause_chance = 1.0, 0.002
        self.uncommitted_lost = True
        self.dice.seed(seed)

    def commit_delay(self) -> float:
        is_late = self.late_seconds and self.dice.random() < self.late_chance
        return self.pause() + (self.late_seconds * self.dice.random() if is_late else 0.0)

    def loses_uncommitted(self) -> bool:
        return self.uncommitted_lost and self.dice.random() < 0.5

    def pause(self) -> float:
        if self.pause_chance and self.dice.random() < self.pause_chance:
            return self.pause_seconds * self.dice.random()
        return 0.0

    def cuts(self, waiting: int) -> bool:
        """Whether a live subscription whose client has `waiting` events to take is cut."""
        return self.live_buffer is not None and waiting > self.live_buffer and self.dice.random() < self.cut_chance
