"""Server reflection, by which grpcurl and its like find their way: v1, and v1alpha for older clients.

grpcio-reflection has v1alpha only. v1 has the same messages under another name, so one servicer serves both.
"""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from google.protobuf import descriptor_pool, text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection_pb2 as messages
from grpc_reflection.v1alpha.reflection import aio

from openbank.rpc.calls import Calls
from openbank.rpc.streams import limited

REQUEST_BYTES_MAX = 16 << 10
"""Names of files and symbols are far shorter; an answer repeats its request."""

V1 = "grpc.reflection.v1.ServerReflection"
V1ALPHA = "grpc.reflection.v1alpha.ServerReflection"


def handlers(services: Iterable[str], streams: Calls) -> list[grpc.GenericRpcHandler]:
    """Handlers that tell of `services` and of reflection itself."""
    servicer = aio.ReflectionServicer([*services, V1, V1ALPHA])
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


def _describe_v1() -> None:
    """Makes v1 known to reflection itself: the file of v1alpha under the other name."""
    v1alpha = FileDescriptorProto()
    messages.DESCRIPTOR.CopyToProto(v1alpha)
    text = text_format.MessageToString(v1alpha).replace("v1alpha", "v1")
    descriptor_pool.Default().Add(text_format.Parse(text, FileDescriptorProto()))  # type: ignore[no-untyped-call]


_describe_v1()
