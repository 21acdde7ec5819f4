"""The synchronous watch, on grpcio-testing's channel: the test is the server, and says what no server would."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from queue import Queue
from typing import Any

import grpc
import grpc_testing  # type: ignore[import-untyped]
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.empty_pb2 import Empty
from google.rpc import error_details_pb2, status_pb2

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.accounts.v1.account_events_pb2 import AccountEvent
from openbank.client import Interruption, resumption, watch_sync
from openbank.client.errors import DETAILS_KEY
from openbank.common.v1 import feed_pb2

SERVICE = accounts.DESCRIPTOR.services_by_name["AccountsService"]
METHOD = SERVICE.methods_by_name["WatchAccountEvents"]
PATIENCE_SECONDS = 10
ENDED = object()


class Watching:
    """A client in a thread of its own, and the server's side of its channel."""

    def __init__(self) -> None:
        self.channel: Any = grpc_testing.channel([SERVICE], grpc_testing.strict_real_time())
        self.stop = threading.Event()
        self.interruptions: list[Interruption] = []
        self._taken: Queue[Any] = Queue()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self, request: accounts.WatchAccountEventsRequest) -> None:
        self._request = request
        self._thread.start()

    def call(self) -> Call:
        """The next call that the client makes."""
        _, request, rpc = self.channel.take_unary_stream(METHOD)
        rpc.send_initial_metadata(())
        return Call(request, rpc)

    def took(self) -> Any:
        """What the client was given next, or what it ended with."""
        return self._taken.get(timeout=PATIENCE_SECONDS)

    def join(self) -> None:
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            for response in watch_sync(self.channel, self._request, self.stop, self.interruptions.append):
                self._taken.put(response)
        except grpc.RpcError as error:
            self._taken.put(error)
        self._taken.put(ENDED)


class Call:
    def __init__(self, request: Any, rpc: Any) -> None:
        self.request = request
        self._rpc = rpc

    def confirm(self, token: str) -> None:
        self.send(token, signal=feed_pb2.FEED_SIGNAL_CONFIRMED)

    def send(
        self,
        token: str,
        revisions: Sequence[int] = (),
        signal: feed_pb2.FeedSignal.ValueType = feed_pb2.FEED_SIGNAL_EVENTS,
        caught_up: bool = False,
    ) -> None:
        events = [AccountEvent(account_id="a", revision=revision) for revision in revisions]
        self._rpc.send_response(
            accounts.WatchAccountEventsResponse(events=events, resume_token=token, signal=signal, caught_up=caught_up)
        )

    def serve(self, *tokens: str) -> None:
        for token in tokens:
            self.send(token)
        self.cancelled()

    def end(self, code: grpc.StatusCode, details: str = "", trailing: Sequence[tuple[str, bytes]] = ()) -> None:
        self._rpc.terminate(trailing, code, details)

    def cancelled(self) -> None:
        """Until the client has."""
        self._rpc.cancelled()


def said_by(domain: str) -> Sequence[tuple[str, bytes]]:
    status = status_pb2.Status()
    status.details.add().Pack(error_details_pb2.ErrorInfo(domain=domain, reason="ERROR_REASON_ANY"))
    return [(DETAILS_KEY, status.SerializeToString())]


@pytest.fixture
def watching() -> Iterator[Callable[..., Watching]]:
    made = Watching()

    def start(**request: Any) -> Watching:
        made.start(accounts.WatchAccountEventsRequest(**(request or {"beginning": Empty()})))
        return made

    yield start
    made.stop.set()
    made.join()


Start = Callable[..., Watching]


@pytest.mark.parametrize(
    "code",
    ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL", "UNKNOWN", "CANCELLED", "DEADLINE_EXCEEDED", "ABORTED"],
)
def test_a_watch_continues_from_its_last_token(watching: Start, code: str) -> None:
    watch = watching(beginning=Empty(), owner_ids=["ann"])
    first = watch.call()
    assert first.request.WhichOneof("start") == "beginning"
    first.confirm("t0")
    first.send("t2", [1, 2])
    taken = [watch.took(), watch.took()]
    first.end(grpc.StatusCode[code], "gone")
    second = watch.call()
    assert second.request.resume_token == "t2"
    assert second.request.owner_ids == ["ann"]
    second.confirm("t2")
    second.send("t3", [3])
    taken += [watch.took(), watch.took()]
    assert [event.revision for response in taken for event in response.events] == [1, 2, 3]
    assert [response.resume_token for response in taken] == ["t0", "t2", "t2", "t3"]
    assert [interruption.why for interruption in watch.interruptions] == [f"{code}: gone"]


def test_a_token_without_events_counts(watching: Start) -> None:
    watch = watching()
    first = watch.call()
    first.confirm("t0")
    first.send("t9", signal=feed_pb2.FEED_SIGNAL_HEARTBEAT)
    assert [watch.took().resume_token for _ in range(2)] == ["t0", "t9"]
    first.end(grpc.StatusCode.UNAVAILABLE)
    assert watch.call().request.resume_token == "t9"


def test_a_start_that_was_never_confirmed_is_asked_for_again(watching: Start) -> None:
    watch = watching(live=Empty())
    watch.call().end(grpc.StatusCode.UNAVAILABLE)
    assert watch.call().request.WhichOneof("start") == "live"


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "OUT_OF_RANGE", "UNAUTHENTICATED", "PERMISSION_DENIED"])
def test_a_permanent_refusal_is_raised(watching: Start, code: str) -> None:
    watch = watching()
    watch.call().end(grpc.StatusCode[code], "never", said_by("openbank"))
    error = watch.took()
    assert error.code() is grpc.StatusCode[code]
    assert watch.took() is ENDED


@pytest.mark.parametrize("trailing", [(), "another", "damaged"], ids=["no details", "another's", "damaged"])
@pytest.mark.parametrize(
    "code", ["INVALID_ARGUMENT", "OUT_OF_RANGE", "NOT_FOUND", "UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED"]
)
def test_the_same_status_from_a_proxy_does_not_end_the_watch(watching: Start, code: str, trailing: Any) -> None:
    said = {"another": said_by("proxy.example"), "damaged": [(DETAILS_KEY, b"\xff")]}.get(trailing, ())
    watch = watching()
    call = watch.call()
    call.confirm("t1")
    watch.took()
    call.end(grpc.StatusCode[code], "404", said)
    assert watch.call().request.resume_token == "t1"
    [interruption] = watch.interruptions
    assert interruption.why.startswith(f"{code}: 404 (not said by the bank")


def test_a_watch_ends_if_the_server_lacks_the_method(watching: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumption, "UNIMPLEMENTED_SECONDS_MAX", 0.05)
    watch = watching()
    watch.call().end(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
    call = watch.call()
    time.sleep(0.1)
    call.end(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
    assert watch.took().code() is grpc.StatusCode.UNIMPLEMENTED
    assert watch.took() is ENDED


def test_it_ends_where_the_request_says_so(watching: Start) -> None:
    watch = watching(beginning=Empty(), stop_when_caught_up=True)
    call = watch.call()
    call.confirm("t0")
    call.send("t1", [1], caught_up=True)
    call.end(grpc.StatusCode.OK)
    assert [watch.took().resume_token for _ in range(2)] == ["t0", "t1"]
    assert watch.took() is ENDED


def test_an_unrequested_end_does_not_end_the_watch(watching: Start) -> None:
    watch = watching()
    call = watch.call()
    call.send("t1", [1], caught_up=True)
    call.end(grpc.StatusCode.OK)
    assert watch.call().request.resume_token == "t1"


def test_a_silent_server_is_given_up(watching: Start) -> None:
    watch = watching(beginning=Empty(), heartbeat_interval=Duration(nanos=50_000_000))
    silent = watch.call()
    silent.confirm("t0")
    silent.cancelled()
    assert watch.call().request.resume_token == "t0"
    assert watch.interruptions[0].why == "no heartbeat for 0.15 s"


def test_a_server_that_sends_heartbeats_is_kept(watching: Start) -> None:
    watch = watching(beginning=Empty(), heartbeat_interval=Duration(nanos=100_000_000))
    call = watch.call()
    for number in range(10):
        call.send(f"t{number}", signal=feed_pb2.FEED_SIGNAL_HEARTBEAT)
        watch.took()
        watch.stop.wait(0.05)
    assert not watch.interruptions


def test_a_slow_caller_is_not_a_silent_server() -> None:
    watch = Watching()
    request = accounts.WatchAccountEventsRequest(beginning=Empty(), heartbeat_interval=Duration(nanos=30_000_000))
    responses = watch_sync(watch.channel, request, None, watch.interruptions.append)
    serving = threading.Thread(target=lambda: watch.call().serve("t1", "t2"))
    serving.start()
    assert next(responses).resume_token == "t1"
    time.sleep(0.3)
    assert next(responses).resume_token == "t2"
    assert not watch.interruptions
    responses.close()
    serving.join()


def test_heartbeats_are_asked_for_as_often_as_the_caller_wants(watching: Start) -> None:
    watch = watching(beginning=Empty(), heartbeat_interval=Duration(seconds=7))
    assert watch.call().request.heartbeat_interval.seconds == 7


def test_a_stop_ends_a_wait_for_a_response(watching: Start) -> None:
    watch = watching()
    call = watch.call()
    call.confirm("t0")
    watch.took()
    watch.stop.set()
    assert watch.took() is ENDED
    call.cancelled()


def test_a_stop_ends_a_wait_for_the_next_try(watching: Start) -> None:
    watch = watching()
    info = status_pb2.Status()
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromSeconds(3600)
    info.details.add().Pack(error_details_pb2.ErrorInfo(domain="openbank", reason="ERROR_REASON_SERVER_DRAINING"))
    info.details.add().Pack(retry)
    trailing = (("grpc-status-details-bin", info.SerializeToString()),)
    watch.call().end(grpc.StatusCode.UNAVAILABLE, "draining", trailing)
    while not watch.interruptions:
        watch.stop.wait(0.01)
    assert watch.interruptions[0].retry_seconds == 3600
    watch.stop.set()
    assert watch.took() is ENDED


def test_leaving_the_loop_leaves_no_call_behind() -> None:
    watch = Watching()
    leaving = watch_sync(watch.channel, accounts.WatchAccountEventsRequest(beginning=Empty()))
    taken = threading.Thread(target=lambda: next(leaving))
    taken.start()
    call = watch.call()
    call.confirm("t0")
    taken.join(PATIENCE_SECONDS)
    leaving.close()
    call.cancelled()
