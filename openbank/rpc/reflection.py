"""Server reflection, by which grpcurl and its like find their way: v1, and v1alpha for older clients.

grpcio-reflection has v1alpha only. v1 has the same messages under another name, so one servicer serves both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor import FileDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha import reflection_pb2 as messages
from grpc_reflection.v1alpha.reflection import aio

from openbank.common.v1 import errors_pb2
from openbank.integration.v1 import account_integration_events_pb2, person_integration_events_pb2
from openbank.rpc.calls import Calls
from openbank.rpc.streams import limited

REQUEST_BYTES_MAX = 16 << 10
"""Names of files and symbols are far shorter; an answer repeats its request."""

OTHERS = (
    errors_pb2,
    account_integration_events_pb2,
    person_integration_events_pb2,
    # The details of errors, which grpcurl asks for to show them.
    error_details_pb2,
    status_pb2,
)
"""What callers may know of though no service refers to it. What the bank stores is not among it."""

V1 = "grpc.reflection.v1.ServerReflection"
V1ALPHA = "grpc.reflection.v1alpha.ServerReflection"


def handlers(services: Sequence[ServiceDescriptor], streams: Calls) -> list[grpc.GenericRpcHandler]:
    """Handlers that describe `services` and reflection itself."""
    names = [*(service.full_name for service in services), V1, V1ALPHA]
    files = [*(service.file for service in services), *(module.DESCRIPTOR for module in (*OTHERS, messages)), _v1()]
    servicer = aio.ReflectionServicer(names, _Pool(files))
    method = grpc.stream_stream_rpc_method_handler(
        limited(servicer.ServerReflectionInfo, streams), _read, messages.ServerReflectionResponse.SerializeToString
    )
    return [grpc.method_handlers_generic_handler(name, {"ServerReflectionInfo": method}) for name in (V1, V1ALPHA)]


def _read(data: bytes) -> messages.ServerReflectionRequest:
    """What is no request becomes one that asks nothing, which is answered with INVALID_ARGUMENT."""
    request = messages.ServerReflectionRequest()
    if len(data) > REQUEST_BYTES_MAX:
        return request
    try:
        request.ParseFromString(data)
    except DecodeError:
        return messages.ServerReflectionRequest()
    # The answer has the whole request in it: groups as deep as may be read would be one too deep there.
    request.DiscardUnknownFields()  # type: ignore[attr-defined]
    return request


class _Pool:
    """The symbols of some files and of what they import, as reflection asks for them. KeyError for all others."""

    def __init__(self, files: Iterable[FileDescriptor | FileDescriptorProto]) -> None:
        self._pool: Any = descriptor_pool.DescriptorPool()
        added: set[str] = set()
        for file in files:
            self._add(file, added)
        self.FindFileByName = self._pool.FindFileByName
        self.FindMessageTypeByName = self._pool.FindMessageTypeByName
        self.FindExtensionByNumber = self._pool.FindExtensionByNumber
        self.FindAllExtensions = self._pool.FindAllExtensions

    def _add(self, file: Any, added: set[str]) -> None:
        if file.name in added:
            return
        added.add(file.name)
        if isinstance(file, FileDescriptor):
            for imported in file.dependencies:
                self._add(imported, added)
            self._pool.AddSerializedFile(file.serialized_pb)
        else:
            self._pool.AddSerializedFile(file.SerializeToString())

    def FindFileContainingSymbol(self, symbol: str) -> Any:
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            # The library knows no methods, which ghz asks for, and no values by the names of their enums.
            parent, _, name = symbol.rpartition(".")
            return self._holder(parent, name).file

    def _holder(self, parent: str, name: str) -> Any:
        """The service with this method, or the enum with this value."""
        try:
            service = self._pool.FindServiceByName(parent)
            service.methods_by_name[name]
            return service
        except KeyError:
            enum = self._pool.FindEnumTypeByName(parent)
            enum.values_by_name[name]
            return enum


def _v1() -> FileDescriptorProto:
    """The file of v1alpha under the other name."""
    v1alpha = FileDescriptorProto()
    messages.DESCRIPTOR.CopyToProto(v1alpha)
    text = text_format.MessageToString(v1alpha).replace("v1alpha", "v1")
    return text_format.Parse(text, FileDescriptorProto())
