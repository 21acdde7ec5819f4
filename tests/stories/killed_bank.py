"""A bank that is killed at one moment of its first transfer: `python -m tests.stories.killed_bank serve ...`

KILL_AT names the moment; before a refusal the destination is frozen.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from openbank.cli.main import main
from openbank.commands import accounts, settling
from openbank.domain.controls import AccountState
from openbank.domain.request import Request
from openbank.domain.states import FreezeAccount

MOMENTS = ("sent", "received", "refused", "returned")

_at = os.environ.get("KILL_AT", "")
_receive, _take_back = settling._receive, settling._take_back


def _pass(moment: str) -> None:
    if _at == moment:
        os.kill(os.getpid(), signal.SIGKILL)


async def receive(bank: Any, sent: Any) -> Any:
    _pass("sent")
    if _at in ("refused", "returned"):
        command = FreezeAccount(sent.event.destination_account_id, AccountState.FROZEN, "Fraud")
        await accounts.freeze_account(bank, command, Request())
    step = await _receive(bank, sent)
    _pass("received")
    _pass("refused")
    return step


async def take_back(bank: Any, sent: Any, reason: str, refused: bytes) -> Any:
    step = await _take_back(bank, sent, reason, refused)
    _pass("returned")
    return step


if __name__ == "__main__":
    settling._receive, settling._take_back = receive, take_back
    sys.exit(main())
