"""Stand-ins for tests: EventStoreDB in this process or in one of its own, two for MongoDB in processes of their own.

async with eventstoredb() as server:
    ...                                         # server.uri, server.faults, server.subscriptions, server.log
with EventStoreDBProcess(tmp_path / "log.db") as server:
    server.faults.add("cut_after", times=1)     # the same faults, set over the wire
    server.kill()                               # SIGKILL
    server.start()                              # the same address, the same events
with FerretDBProcess(tmp_path / "mongo") as database:
    ...                                         # database.uri
with MongoJavaServerProcess() as database:      # keeps nothing when it stops
    ...
"""

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import grpc

from tests.stand_ins import ferret, java_mongo
from tests.stand_ins.eventstoredb.faults import Kind, Operation
from tests.stand_ins.eventstoredb.server import CONTROL, EventStoreDB
from tests.stand_ins.eventstoredb.subscriptions import How
from tests.stand_ins.subprocesses import StandInProcess

CONTROL_SECONDS = 5.0


@contextlib.asynccontextmanager
async def eventstoredb(data: Path | None = None) -> AsyncIterator[EventStoreDB]:
    server = EventStoreDB(data)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


class Restartable:
    """A stand-in in a process of its own, which keeps its address from one start to the next."""

    scheme: str

    def __init__(self, listen: str) -> None:
        self.address = listen
        self._process: StandInProcess | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    @property
    def uri(self) -> str:
        return f"{self.scheme}://{self.address}"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        self._process = StandInProcess(self.command())
        self.address = self._process.start()

    def kill(self) -> None:
        if self._process:
            self._process.kill()

    def stop(self) -> None:
        if self._process:
            self._process.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class RemoteFaults:
    """`Faults` and what else `EventStoreDB` offers tests, for one in another process. Its calls block."""

    def __init__(self, server: "EventStoreDBProcess") -> None:
        self._server = server

    def add(
        self,
        kind: Kind,
        *,
        times: int | None = None,
        prefix: str = "",
        seconds: float = 0.0,
        on: Iterable[Operation] = ("append",),
    ) -> None:
        fault = {"kind": kind, "times": times, "prefix": prefix, "seconds": seconds, "on": list(on)}
        self._control({"add": fault})

    def clear(self) -> None:
        self._control({"clear": True})

    def forget(self) -> None:
        self._control({"forget": True})

    def move_lead(self, *, claims_to_lead: bool) -> None:
        """Moves the lead of a cluster; returns before it is done."""
        self._control({"move_lead": claims_to_lead})

    def send_behind(self, how: How = "fell_behind", *, prefix: str = "", seconds: float = 0.0) -> int:
        answer = self._control({"behind": {"how": how, "prefix": prefix, "seconds": seconds}})
        return cast(int, answer["behind"])

    def described(self) -> list[dict[str, Any]]:
        """Each fault with how often it has struck."""
        return cast(list[dict[str, Any]], self._control({})["faults"])

    def _control(self, message: dict[str, Any]) -> dict[str, Any]:
        # Of a cluster, all nodes know all faults; one of them may be coming back just now.
        addresses = self._server.address.split(",")
        for address in addresses[:-1]:
            with contextlib.suppress(grpc.RpcError):
                return self._ask(address, message)
        return self._ask(addresses[-1], message)

    def _ask(self, address: str, message: dict[str, Any]) -> dict[str, Any]:
        with grpc.insecure_channel(address) as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(CONTROL)
            return cast(dict[str, Any], json.loads(call(json.dumps(message).encode(), timeout=CONTROL_SECONDS)))


class EventStoreDBProcess(Restartable):
    scheme = "esdb"

    def __init__(
        self, data: Path | None = None, listen: str = "127.0.0.1:0", *, nodes: int = 1, modes: int | None = None
    ) -> None:
        """`modes` is the seed of all that the real server does now and then; off without one."""
        super().__init__(",".join([listen] * nodes))
        self._data = data
        self._modes = modes
        self.faults = RemoteFaults(self)

    @property
    def uri(self) -> str:
        return f"{super().uri}?Tls=false"

    def command(self) -> list[str]:
        data = ["--data", str(self._data)] if self._data else []
        modes = ["--modes", str(self._modes)] if self._modes is not None else []
        return [sys.executable, "-m", "tests.stand_ins.eventstoredb", "--listen", self.address, *data, *modes]


class FerretDBProcess(Restartable):
    scheme = "mongodb"

    def __init__(self, directory: Path, listen: str = "127.0.0.1:0") -> None:
        super().__init__(listen)
        self._directory = directory

    def command(self) -> list[str]:
        return [str(ferret.build()), "-listen", self.address, "-dir", str(self._directory)]


class MongoJavaServerProcess(Restartable):
    """In memory: a new start is an empty database."""

    scheme = "mongodb"

    def __init__(self, listen: str = "127.0.0.1:0") -> None:
        super().__init__(listen)

    def command(self) -> list[str]:
        host, _, port = self.address.rpartition(":")
        return java_mongo.command(host, int(port))
