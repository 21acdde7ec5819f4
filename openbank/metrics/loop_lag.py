"""How late the event loop is: while something keeps it busy, no call makes progress."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from openbank.instruments import Histogram

EVERY_SECONDS = 0.1


async def measure(lag: Histogram) -> NoReturn:
    """Until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + EVERY_SECONDS
        await asyncio.sleep(EVERY_SECONDS)
        lag.observe(max(0.0, loop.time() - due))
