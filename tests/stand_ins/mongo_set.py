"""A replica set before one MongoDB: what drivers see of failovers, slow networks and lost connections.

async with mongo_set("127.0.0.1:27017") as database:
    ...                                              # database.uri("bank")
    database.elect(None)                             # the primary steps down, and there is none
    database.elect(1)                                # the next one
    database.fail("cut_after", "update", times=1)    # done, but the answer is lost
    database.pause()                                 # nobody is answered until resume()
    database.lose_connections()                      # the peers of all that are open are gone, without a word

Its members are ports of this process. All of them ask the same server, so no acknowledged write is lost. A set that
acknowledges by a majority loses none either.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from typing import Literal

from bson import ObjectId

from tests.stand_ins.mongo_wire import Document, Message, answer, encode, receive

Kind = Literal["refuse", "write_concern", "cut_before", "cut_after", "swallow"]
"""What becomes of a command: refused with a code; done, but with that code instead of a majority's acknowledgement; the
connection cut before it is done, or after; no answer at all, and it is not done."""

NOT_WRITABLE_PRIMARY, NOT_PRIMARY_NO_SECONDARY_OK, PRIMARY_STEPPED_DOWN = 10107, 13435, 189
WRITES = frozenset({"insert", "update", "delete", "create", "createIndexes", "drop"})
READS = frozenset({"find", "getMore", "aggregate", "count", "listCollections", "listIndexes"})
MEMBERS = 2

_NAMES = {
    NOT_WRITABLE_PRIMARY: "NotWritablePrimary",
    NOT_PRIMARY_NO_SECONDARY_OK: "NotPrimaryNoSecondaryOk",
    PRIMARY_STEPPED_DOWN: "PrimarySteppedDown",
}
_HELLO = frozenset({"hello", "isMaster", "ismaster"})
_FOR_A_SET = frozenset({"lsid", "txnNumber", "$clusterTime"})
"""What clients send to a set only. The server behind is none."""

Ask = Callable[[], Awaitable[Document]]


class Fault:
    def __init__(self, kind: Kind, commands: Iterable[str], times: int | None, code: int) -> None:
        self.kind = kind
        self.code = code
        self.struck = 0
        self._commands = frozenset(commands)
        self._times = times

    def strikes(self, command: str) -> bool:
        if command not in self._commands or self.struck == self._times:
            return False
        self.struck += 1
        return True


class _Cut(Exception):
    """The connection is to end."""


class _Swallowed(Exception):
    """There is no answer, and the connection stays."""


class MongoSet:
    def __init__(self, backend: str) -> None:
        """`backend` is HOST:PORT."""
        self._backend = backend
        self._members: list[asyncio.Server] = []
        self._addresses: list[str] = []
        self._primary: int | None = 0
        self._term = 1
        self._faults: list[Fault] = []
        self._going = asyncio.Event()
        self._going.set()
        self._connections: set[asyncio.Task[None]] = set()
        self._lost: set[asyncio.Task[None]] = set()
        self._done: dict[tuple[bytes, int], asyncio.Future[Document]] = {}
        """Answers to retryable writes, by session and number: one that is sent again is not done again."""

    def uri(self, database: str) -> str:
        return f"mongodb://{','.join(self._addresses)}/{database}?replicaSet=set"

    def elect(self, member: int | None) -> None:
        """Makes this member the primary; with None there is none. Connections stay open, as MongoDB leaves them."""
        self._primary = member
        self._term += member is not None

    def fail(self, kind: Kind, *commands: str, times: int | None = None, code: int = PRIMARY_STEPPED_DOWN) -> Fault:
        self._faults.append(Fault(kind, commands, times, code))
        return self._faults[-1]

    def heal(self) -> None:
        self._faults.clear()

    def pause(self) -> None:
        self._going.clear()

    def resume(self) -> None:
        self._going.set()

    def lose_connections(self) -> None:
        """The connections that are open now get no answer any more, and do not end. New ones are taken."""
        self._lost |= self._connections

    async def start(self) -> None:
        for number in range(MEMBERS):
            member = await asyncio.start_server(partial(self._serve, number), "127.0.0.1", 0)
            self._members.append(member)
            self._addresses.append(f"127.0.0.1:{member.sockets[0].getsockname()[1]}")

    async def stop(self) -> None:
        for member in self._members:
            member.close()
        connections = list(self._connections)
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _serve(self, member: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with closing(writer), suppress(_Cut, OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._relay(task, member, reader, writer)
        finally:
            self._connections.discard(task)
            self._lost.discard(task)

    async def _relay(
        self, task: asyncio.Task[None], member: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        host, _, port = self._backend.rpartition(":")
        server_reader, server_writer = await asyncio.open_connection(host, int(port))
        with closing(server_writer):
            while True:
                request = await receive(reader)
                await self._going.wait()
                if task in self._lost:
                    continue

                async def ask(request: Message = request) -> Document:
                    body = {name: value for name, value in request.body.items() if name not in _FOR_A_SET}
                    server_writer.write(encode(request._replace(body=body)))
                    return (await receive(server_reader)).body

                with suppress(_Swallowed):
                    body = await self._execute(member, request, ask)
                    await self._going.wait()
                    if task not in self._lost:
                        writer.write(answer(request, body))
                        await writer.drain()

    async def _execute(self, member: int, request: Message, ask: Ask) -> Document:
        command = request.command
        if command in _HELLO:
            return self._of_the_set(member, await ask())
        if command == "endSessions":
            return {"ok": 1.0}
        if command in WRITES | READS and member != self._primary:
            return _refusal(request, NOT_WRITABLE_PRIMARY if command in WRITES else NOT_PRIMARY_NO_SECONDARY_OK)
        fault = next((fault for fault in self._faults if fault.strikes(command)), None)
        match fault.kind if fault else None:
            case "refuse":
                assert fault is not None
                return _refusal(request, fault.code)
            case "cut_before":
                raise _Cut
            case "swallow":
                raise _Swallowed
        done = await self._once(request, ask)
        match fault.kind if fault else None:
            case "cut_after":
                raise _Cut
            case "write_concern":
                assert fault is not None
                return {**done, "writeConcernError": _error(fault.code)}
        return done

    async def _once(self, request: Message, ask: Ask) -> Document:
        if "txnNumber" not in request.body:
            return await ask()
        key = (bytes(request.body["lsid"]["id"]), int(request.body["txnNumber"]))
        if key not in self._done:
            self._done[key] = asyncio.ensure_future(ask())
        return await asyncio.shield(self._done[key])

    def _of_the_set(self, member: int, hello: Document) -> Document:
        primary = self._primary
        # Without a topologyVersion, drivers ask every now and then instead of waiting for what changes.
        body = {name: value for name, value in hello.items() if name not in ("topologyVersion", "msg")}
        body |= {
            "setName": "set",
            "setVersion": 1,
            "hosts": self._addresses,
            "me": self._addresses[member],
            "ismaster": member == primary,
            "isWritablePrimary": member == primary,
            "secondary": member != primary,
            "logicalSessionTimeoutMinutes": 30,
        }
        if primary is not None:
            body["primary"] = self._addresses[primary]
        if member == primary:
            body["electionId"] = ObjectId(f"{self._term:024x}")
        return body


def _error(code: int) -> Document:
    return {"code": code, "codeName": _NAMES[code], "errmsg": f"{_NAMES[code]}, says the test"}


def _refusal(request: Message, code: int) -> Document:
    labels = {"errorLabels": ["RetryableWriteError"]} if "txnNumber" in request.body else {}
    return {"ok": 0.0, **_error(code), **labels}


@asynccontextmanager
async def mongo_set(uri: str) -> AsyncIterator[MongoSet]:
    """Before the server at mongodb://HOST:PORT."""
    database = MongoSet(uri.removeprefix("mongodb://").partition("/")[0])
    await database.start()
    try:
        yield database
    finally:
        await database.stop()
