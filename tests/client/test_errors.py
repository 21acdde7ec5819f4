"""An error counts as the bank's decision or not, even if a proxy has changed it."""

from __future__ import annotations

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from openbank.client import bank_error


class Failure:
    """What bank_error reads of a grpc.RpcError."""

    def __init__(self, details: bytes | None) -> None:
        self._details = details

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.NOT_FOUND

    def details(self) -> str:
        return "no account johns"

    def trailing_metadata(self) -> list[tuple[str, bytes]] | None:
        return None if self._details is None else [("grpc-status-details-bin", self._details)]


def status(*details: Message) -> bytes:
    made = status_pb2.Status()
    for detail in details:
        made.details.add().Pack(detail)
    return made.SerializeToString()


def info(domain: str = "openbank") -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason="ERROR_REASON_ACCOUNT_NOT_FOUND", domain=domain)


def undecodable() -> bytes:
    made = status_pb2.Status()
    made.details.add(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff")
    return made.SerializeToString()


def test_an_error_info_of_the_bank_is_its_decision() -> None:
    error = bank_error(Failure(status(info())))
    assert error
    assert (error.code, error.reason, error.message) == (
        grpc.StatusCode.NOT_FOUND,
        "ACCOUNT_NOT_FOUND",
        "no account johns",
    )


@pytest.mark.parametrize(
    "details", [None, b"", b"no status", undecodable(), status(), status(info("proxy.example"))], ids=repr
)
def test_other_details_are_not_a_bank_error(details: bytes | None) -> None:
    assert bank_error(Failure(details)) is None


def test_details_of_other_kinds_do_not_hide_it() -> None:
    link = error_details_pb2.Help(links=[{"url": "https://example.com"}])
    assert bank_error(Failure(status(link, info("proxy.example"), info())))
