"""Reflection, by both names: what grpcurl needs to be of use without a proto file."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from tests.callers import Caller

SERVICES = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "openbank.accounts.v1.AccountsService",
    "openbank.integration.v1.IntegrationEventsService",
    "openbank.operations.v1.SinksService",
    "openbank.persons.v1.PersonsService",
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


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_what_is_no_question_gets_an_error_for_an_answer(bank: Caller, version: str) -> None:
    call: Any = bank.channel.stream_stream(f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
    [answer] = [raw async for raw in call(iter([b"\xff"]))]
    assert ServerReflectionResponse.FromString(answer).error_response.error_code == 3


async def _ask(bank: Caller, version: str, questions: list[Any]) -> list[Any]:
    call = bank.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        ServerReflectionRequest.SerializeToString,
        ServerReflectionResponse.FromString,
    )
    return [answer async for answer in call(iter(questions))]
