"""Whether a history of some accounts can be explained: by Porcupine, a checker of linearizability in Go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.go_programs import GoProgram

PORCUPINE = GoProgram("porcupine", Path(__file__).parent / "porcupine", "Porcupine, which checks histories,")


@dataclass
class Operation:
    """A client's question to an account and the answer; `porcupine/main.go` says what each field means."""

    kind: str
    call: int
    account: int = 0
    other: int = 0
    amount: int = 0
    request: str = ""
    expected: int = 0
    at_least: int = 0
    outcome: str = "unknown"
    revision: int = 0
    balance: int = 0
    replayed: bool = False
    # Its JSON name is a keyword here.
    return_: int = 0

    def as_json(self) -> dict[str, object]:
        return {name.rstrip("_"): value for name, value in asdict(self).items()}


async def verdict(balances: Sequence[int], operations: Sequence[Operation]) -> str:
    """ "linearizable", "not linearizable" or "too hard", for accounts opened with `balances`. Raises GoMissing.

    Prints a history that is not linearizable, so that a failed test can be examined: no other run has the same one.
    """
    built = await asyncio.to_thread(PORCUPINE.build)
    process = await asyncio.create_subprocess_exec(built, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
    history = {"balances": balances, "operations": [operation.as_json() for operation in operations]}
    out, _ = await process.communicate(json.dumps(history).encode())
    assert process.returncode == 0
    said = out.decode().strip()
    if said != "linearizable":
        print(json.dumps(history))
    return said
