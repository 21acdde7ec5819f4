"""A bank that is sent whatever comes to mind stands firm; and what looks whether it does finds one that does not."""

from __future__ import annotations

import re
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode
from grpc_reflection.v1alpha import reflection_pb2

from openbank.rpc.reflection import V1
from tests.callers import Caller
from tests.hostile.calls import OPTIONS, Calls
from tests.hostile.credentials import BAD, OPEN, Attempt, Credentials
from tests.hostile.frames import Connections, usual
from tests.hostile.messages import METHODS
from tests.hostile.run import run
from tests.hostile.values import UNICODE, Values
from tests.hostile.verdict import CORE, OTHERS, Broken, Told, judge
from tests.servers import ServerProcess

BY_CHANCE = {"CaptureHold", "CloseAccount", "CreateTransfer", "ReleaseHold", "UnfreezeAccount", "WatchCloudEvents"}
"""Methods that need a state which requests at random seldom meet: an open hold, an empty account. Those of operators
need a sink, or an aggregate that was set aside."""
INPUTS = 20_000
SEED = 7
BUSY = 300
"""Streams of a flood."""
PROBED = ("somebody else's is as if it were not there", "damaged token refused for it")
DOCS = Path(__file__).parents[2] / "docs/hostile-input.md"


@pytest.mark.timeout(600)
async def test_twenty_thousand_inputs_leave_no_mark(tmp_path: Path) -> None:
    figures = await run(INPUTS, SEED, tmp_path, print)
    assert figures.outcomes.total() >= INPUTS
    # A run that came no further than the first check of each call would prove little.
    for far in ("OK", "REVISION_MISMATCH", "ACCOUNT_ALREADY_EXISTS", "UNKNOWN_FIELD", "MALFORMED_REQUEST"):
        assert figures.outcomes[far] > 25, far
    # Nor would one to which nobody came who may not.
    for denied in ("TOKEN_INVALID", "TOKEN_MISSING", "TOKEN_EXPIRED", "PERMISSION_MISSING", *PROBED):
        assert figures.outcomes[denied] > 5, denied
    for method in METHODS:
        assert figures.done[method.path] or method.path.split("/")[-1] in BY_CHANCE or "operations" in method.path
    # Nor would one whose requests were all small say much of the memory that refused ones leave.
    assert figures.outcomes["REQUEST_TOO_LARGE"] > 50
    assert figures.large_bytes > 50 << 20


async def test_a_bank_continues_to_serve_after_floods_of_streams(process: ServerProcess) -> None:
    random = Random(SEED)
    floods = Connections(random, Values(random), streams=BUSY)
    for make in (floods.many_streams, floods.rapid_reset, floods.never_a_message):
        for _ in range(3):
            await floods.play(process.address, "flood", list(make()))
    async with Caller(process.address) as bank:
        assert (await bank.open()).account.revision == 1


async def test_metadata_that_is_not_text_is_not_logged(process: ServerProcess) -> None:
    random = Random(SEED)
    connections = Connections(random, Values(random))
    strange = connections.begin() + connections.headers(1, headers=[*usual(METHODS[0].path), ("x-name", b"J\xf6rg")])
    assert await connections.play(process.address, "strange", [strange + connections.message(1)])
    async with Caller(process.address) as bank:
        await bank.register()
    assert {line["level"] for line in process.lines} == {"info"}
    assert "rg" not in str([line for line in process.lines if line["message"] != "call"])


@pytest.mark.parametrize("text", ["ValueError: no such thing", "'NoneType' object has no attribute 'x'"])
async def test_the_check_finds_a_server_that_reveals_its_internals(text: str) -> None:
    async def serve(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        raise RuntimeError(text)

    class Anything(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> Any:
            return grpc.unary_unary_rpc_method_handler(serve)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Anything(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    calls = Calls(Random(SEED), Values(Random(SEED)))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS) as channel:
        asked = [call for call in (calls.make() for _ in range(50)) if call.one_each and call.deadline_seconds is None]
        with pytest.raises(Broken, match="UNKNOWN"):
            await calls.send(channel, asked[0])
    await server.stop(None)


@pytest.mark.parametrize(
    ("attempt", "ended"),
    [
        (Attempt("forged", reasons=BAD), "OK"),
        (Attempt("forged", reasons=BAD), "ACCOUNT_NOT_FOUND"),
        (Attempt("forged", reasons=BAD), "TOKEN_MISSING"),
        (Attempt("auditor", roles=("auditor",)), "OK"),
        (Attempt("auditor", roles=("auditor",)), "TOKEN_INVALID"),
        (Attempt("teller", roles=("teller",)), "PERMISSION_MISSING"),
        (OPEN, "TOKEN_MISSING"),
    ],
)
def test_an_answer_that_a_caller_must_not_get_is_found(attempt: Attempt, ended: str) -> None:
    with pytest.raises(Broken):
        attempt.check("/openbank.accounts.v1.AccountsService/Deposit", ended)


def test_a_secret_that_is_shown_is_found(tmp_path: Path) -> None:
    credentials = Credentials(tmp_path, Random(SEED))
    token = str(credentials.full().metadata[0][1])
    for shown in (credentials.key, f"line\n{token}\n", token.rpartition(".")[2].encode()):
        with pytest.raises(Broken, match="the log has"):
            credentials.check_for_secrets(shown, "the log")
    credentials.check_for_secrets("an ordinary line", "the log")


def _details(reason: str, message: str = "", domain: str = "openbank", code: int = 3) -> bytes:
    packed = AnyMessage()
    packed.Pack(error_details_pb2.ErrorInfo(reason=reason, domain=domain))
    return status_pb2.Status(code=code, message=message, details=[packed]).SerializeToString()


@pytest.mark.parametrize(
    "told",
    [
        Told(StatusCode.UNKNOWN, "Unexpected <class 'KeyError'>: 'a'"),
        Told(StatusCode.INTERNAL, "internal error 1234", _details("ERROR_REASON_INTERNAL", code=13)),
        Told(StatusCode.INVALID_ARGUMENT, "no details"),
        Told(StatusCode.INVALID_ARGUMENT, "not published", _details("ERROR_REASON_OF_MY_OWN")),
        Told(StatusCode.INVALID_ARGUMENT, "elsewhere", _details("ERROR_REASON_INVALID_ID", domain="bank")),
        Told(StatusCode.INVALID_ARGUMENT, "UnicodeDecodeError", _details("ERROR_REASON_INVALID_ID")),
        Told(StatusCode.INVALID_ARGUMENT, "", _details("ERROR_REASON_INVALID_ID", 'in File "x.py", line 3')),
        Told(StatusCode.INVALID_ARGUMENT, "another code", _details("ERROR_REASON_INVALID_ID", code=5)),
        Told(StatusCode.INVALID_ARGUMENT, "garbage", b"\xff"),
        Told(StatusCode.INVALID_ARGUMENT, "long", _details("ERROR_REASON_INVALID_ID", "x" * 5_000)),
    ],
)
def test_an_impossible_answer_is_found(told: Told) -> None:
    with pytest.raises(Broken):
        judge(told)


async def test_every_method_of_every_service_is_called(bank: Caller) -> None:
    channel: Any = bank.channel
    asked = reflection_pb2.ServerReflectionRequest(list_services="")
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    [raw] = [answer async for answer in channel.stream_stream(path)(iter([asked.SerializeToString()]))]
    services = reflection_pb2.ServerReflectionResponse.FromString(raw).list_services_response.service
    # Reflection has two names, and the same messages under both.
    assert {method.path.split("/")[1] for method in METHODS} == {one.name for one in services} - {V1}
    calls = Calls(Random(SEED), Values(Random(SEED)))
    assert {calls.make().method for _ in range(2_000)} == set(METHODS)


def test_every_class_of_characters_is_sent() -> None:
    assert len(UNICODE) == 29


def test_the_answers_of_grpc_itself_are_documented() -> None:
    rows = re.findall(r"^\| ([A-Z_]+) \| `(.*?)` \| (.*?) \|$", DOCS.read_text(), re.MULTILINE)
    assert rows == [(row.code.name, row.message, row.when) for row in CORE + OTHERS]
