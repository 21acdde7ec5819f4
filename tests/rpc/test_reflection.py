"""Reflection, by both names: what grpcurl needs to be of use without a proto file."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha.reflection_pb2 import ExtensionRequest, ServerReflectionRequest, ServerReflectionResponse

from openbank.server import Server
from tests.callers import Caller

PROTOS = Path(__file__).parents[2] / "protos"
GRPCURL = Path(__file__).parents[2] / ".cache/bin"
NOT_FOUND = 5
SERVICES = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "openbank.accounts.v1.AccountsService",
    "openbank.batches.v1.BatchesService",
    "openbank.holds.v1.HoldsService",
    "openbank.integration.v1.IntegrationEventsService",
    "openbank.operations.v1.QuarantineService",
    "openbank.operations.v1.SinksService",
    "openbank.operations.v1.ViewsService",
    "openbank.persons.v1.PersonsService",
    "openbank.transfers.v1.TransfersService",
]


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_it_lists_every_service_and_describes_each(bank: Caller, version: str) -> None:
    asked = [ServerReflectionRequest(list_services="*")]
    asked += [ServerReflectionRequest(file_containing_symbol=name) for name in SERVICES]
    listed, *described = await _ask(bank, version, asked)

    assert [service.name for service in listed.list_services_response.service] == SERVICES
    for name, answer in zip(SERVICES, described, strict=True):
        files = [FileDescriptorProto.FromString(file) for file in answer.file_descriptor_response.file_descriptor_proto]
        assert any(name == f"{file.package}.{service.name}" for file in files for service in file.service)


PUBLISHED = sorted(
    str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto") if "storage" not in path.relative_to(PROTOS).parts
)
SYMBOLS = {
    # Nothing in a service refers to it: it is in the details of errors.
    "openbank.common.v1.ErrorReason": "openbank/common/v1/errors.proto",
    "openbank.common.v1.ERROR_REASON_INSUFFICIENT_FUNDS": "openbank/common/v1/errors.proto",
    "openbank.common.v1.ErrorReason.ERROR_REASON_INSUFFICIENT_FUNDS": "openbank/common/v1/errors.proto",
    # What ghz asks for.
    "openbank.accounts.v1.AccountsService.Deposit": "openbank/accounts/v1/accounts_service.proto",
    "openbank.persons.v1.PersonsService.WatchPersonEvents": "openbank/persons/v1/persons_service.proto",
    "grpc.health.v1.Health.Check": "grpc_health/v1/health.proto",
    "openbank.accounts.v1.DepositRequest.amount": "openbank/accounts/v1/accounts_service.proto",
    "openbank.accounts.v1.AccountEvent.payload": "openbank/accounts/v1/account_events.proto",
    "openbank.integration.v1.CloudEvent.AttributesEntry": "openbank/integration/v1/cloud_event.proto",
    "openbank.integration.v1.CloudEvent.AttributesEntry.key": "openbank/integration/v1/cloud_event.proto",
    "openbank.integration.v1.PersonRegistered": "openbank/integration/v1/person_integration_events.proto",
    "google.rpc.ErrorInfo": "google/rpc/error_details.proto",
    "google.rpc.RetryInfo": "google/rpc/error_details.proto",
    "google.protobuf.Timestamp": "google/protobuf/timestamp.proto",
}
UNKNOWN = [
    "",
    ".",
    "..",
    "openbank",
    "openbank.accounts.v1",
    "openbank.accounts.v1.Nothing",
    "openbank.accounts.v1.AccountsService.Nothing",
    "openbank.accounts.v1.AccountsService.Deposit.Deeper",
    "openbank.common.v1.ErrorReason.NOTHING",
    "openbank.accounts.v1.DepositRequest.nothing",
    "openbank.storage.v1.RequestClaimed",
    "openbank.storage.v1.RequestClaimed.request_id",
    "esdbclient.Nothing",
    "\0",
    "ö.ä",
    "x" * 5000,
    "." * 5000,
]


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_every_file_of_the_contract_is_found_and_no_other_of_ours(bank: Caller, version: str) -> None:
    asked = [ServerReflectionRequest(file_by_filename=name) for name in PUBLISHED]
    asked.append(ServerReflectionRequest(file_by_filename="openbank/storage/v1/request.proto"))
    *answers, stored = await _ask(bank, version, asked)
    assert [_files(answer)[0] for answer in answers] == PUBLISHED
    assert not any("storage" in file for answer in answers for file in _files(answer))
    assert stored.error_response.error_code == NOT_FOUND


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_every_kind_of_symbol_is_found(bank: Caller, version: str) -> None:
    answers = await _ask(bank, version, [ServerReflectionRequest(file_containing_symbol=name) for name in SYMBOLS])
    found = {name: _files(answer)[0] for name, answer in zip(SYMBOLS, answers, strict=True)}
    assert found == SYMBOLS


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_an_unknown_name_is_not_found_and_the_stream_continues(bank: Caller, version: str) -> None:
    asked = [ServerReflectionRequest(file_containing_symbol=name) for name in UNKNOWN]
    asked += [ServerReflectionRequest(file_by_filename=name) for name in UNKNOWN]
    asked += [ServerReflectionRequest(all_extension_numbers_of_type=name) for name in UNKNOWN]
    for number in (-(2**31), -1, 0, 1, 2**31 - 1):
        extension = ExtensionRequest(containing_type="openbank.accounts.v1.Account", extension_number=number)
        asked.append(ServerReflectionRequest(file_containing_extension=extension))
    answers = await _ask(bank, version, [*asked, ServerReflectionRequest(list_services="*")])
    assert {answer.error_response.error_code for answer in answers[:-1]} == {NOT_FOUND}
    assert answers[-1].list_services_response.service


async def test_ghz_and_grpcurl_find_an_enum_and_a_method(server: Server) -> None:
    grpcurl = shutil.which("grpcurl", path=f"{GRPCURL}{os.pathsep}{os.environ['PATH']}")
    if grpcurl is None:
        pytest.skip("grpcurl is not here")
    for symbol, shown in (
        ("openbank.common.v1.ErrorReason", "ERROR_REASON_INSUFFICIENT_FUNDS"),
        ("openbank.accounts.v1.AccountsService.Deposit", "rpc Deposit"),
    ):
        process = await asyncio.create_subprocess_exec(
            grpcurl, "-plaintext", server.address, "describe", symbol, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        assert shown in out.decode()


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_a_malformed_question_gets_an_error(bank: Caller, version: str) -> None:
    call: Any = bank.channel.stream_stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
    [answer] = [raw async for raw in call(iter([b"\xff"]))]
    assert ServerReflectionResponse.FromString(answer).error_response.error_code == 3


def _files(answer: Any) -> list[str]:
    """The names of the files in an answer, the one that was asked for first."""
    return [FileDescriptorProto.FromString(file).name for file in answer.file_descriptor_response.file_descriptor_proto]


async def _ask(bank: Caller, version: str, questions: list[Any]) -> list[Any]:
    call = bank.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        ServerReflectionRequest.SerializeToString,
        ServerReflectionResponse.FromString,
    )
    return [answer async for answer in call(iter(questions))]
