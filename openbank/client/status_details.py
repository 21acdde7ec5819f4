"""The messages of google.rpc that an error carries in its trailing metadata, wire-compatible with the originals.

They are defined here so that the client needs only grpcio and protobuf. A descriptor pool of their own keeps them from
colliding with the originals.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import text_format
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_FILE = """
    name: "openbank/client/status_details.proto"
    package: "google.rpc"
    syntax: "proto3"
    message_type {
        name: "Status"
        field { name: "details" number: 3 label: LABEL_REPEATED type: TYPE_MESSAGE type_name: ".google.rpc.Detail" }
    }
    message_type {  # google.protobuf.Any
        name: "Detail"
        field { name: "type_url" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
        field { name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_BYTES }
    }
    message_type {
        name: "ErrorInfo"
        field { name: "reason" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
        field { name: "domain" number: 2 label: LABEL_OPTIONAL type: TYPE_STRING }
        field {
            name: "metadata" number: 3 label: LABEL_REPEATED type: TYPE_MESSAGE
            type_name: ".google.rpc.ErrorInfo.MetadataEntry"
        }
        nested_type {
            name: "MetadataEntry"
            field { name: "key" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
            field { name: "value" number: 2 label: LABEL_OPTIONAL type: TYPE_STRING }
            options { map_entry: true }
        }
    }
    message_type {
        name: "BadRequest"
        field {
            name: "field_violations" number: 1 label: LABEL_REPEATED type: TYPE_MESSAGE
            type_name: ".google.rpc.BadRequest.FieldViolation"
        }
        nested_type {
            name: "FieldViolation"
            field { name: "field" number: 1 label: LABEL_OPTIONAL type: TYPE_STRING }
            field { name: "description" number: 2 label: LABEL_OPTIONAL type: TYPE_STRING }
            field { name: "reason" number: 3 label: LABEL_OPTIONAL type: TYPE_STRING }
        }
    }
    message_type {
        name: "RetryInfo"
        field {
            name: "retry_delay" number: 1 label: LABEL_OPTIONAL type: TYPE_MESSAGE
            type_name: ".google.rpc.RetryInfo.Duration"
        }
        nested_type {  # google.protobuf.Duration
            name: "Duration"
            field { name: "seconds" number: 1 label: LABEL_OPTIONAL type: TYPE_INT64 }
            field { name: "nanos" number: 2 label: LABEL_OPTIONAL type: TYPE_INT32 }
        }
    }
"""
_POOL: Any = DescriptorPool()
_POOL.AddSerializedFile(text_format.Parse(_FILE, FileDescriptorProto()).SerializeToString())


def _message(name: str) -> Any:
    return GetMessageClass(_POOL.FindMessageTypeByName(f"google.rpc.{name}"))


Status, ErrorInfo, BadRequest, RetryInfo = map(_message, ("Status", "ErrorInfo", "BadRequest", "RetryInfo"))


def details(status: bytes, *messages: Any) -> list[Any]:
    """The details of an encoded google.rpc.Status that have one of these types. Raises DecodeError."""
    kinds = {message.DESCRIPTOR.full_name: message for message in messages}
    found = []
    for detail in Status.FromString(status).details:
        kind = kinds.get(detail.type_url.rpartition("/")[2])
        if kind is not None:
            found.append(kind.FromString(detail.value))
    return found
