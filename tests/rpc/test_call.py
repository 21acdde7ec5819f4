"""What a call's line in the log names follows from the contract, so that a new method needs nothing of its own."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.text_format import Parse

from openbank.rpc.call import Method

TRANSFERS = """
name: "transfers.proto" package: "transfers" syntax: "proto3"
message_type {
  name: "SendRequest"
  field { name: "request_id" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "source_account_id" number: 2 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "hold_id" number: 3 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "label_id" number: 4 type: TYPE_STRING label: LABEL_REPEATED }
  field { name: "description" number: 5 type: TYPE_STRING label: LABEL_OPTIONAL }
  field { name: "validate_only" number: 15 type: TYPE_BOOL label: LABEL_OPTIONAL }
}
message_type {
  name: "Transfer"
  field { name: "transfer_id" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
}
message_type {
  name: "Account"
  field { name: "account_id" number: 1 type: TYPE_STRING label: LABEL_OPTIONAL }
}
message_type {
  name: "SendResponse"
  field { name: "transfer" number: 1 type: TYPE_MESSAGE type_name: ".transfers.Transfer" label: LABEL_OPTIONAL }
  field { name: "account" number: 2 type: TYPE_MESSAGE type_name: ".transfers.Account" label: LABEL_OPTIONAL }
}
service {
  name: "Transfers"
  method { name: "Send" input_type: ".transfers.SendRequest" output_type: ".transfers.SendResponse" }
}
"""


def test_every_id_of_a_request_and_of_the_resources_in_its_response_is_logged() -> None:
    pool: Any = DescriptorPool()
    pool.Add(Parse(TRANSFERS, FileDescriptorProto()))
    descriptor = pool.FindServiceByName("transfers.Transfers").methods_by_name["Send"]
    request = GetMessageClass(descriptor.input_type)(
        request_id="r-1", source_account_id="a-1", hold_id="not an id", label_id=["l-1"], description="for the surgery"
    )
    response = GetMessageClass(descriptor.output_type)(transfer={"transfer_id": "t-1"}, account={"account_id": "a-1"})

    values: dict[str, object] = {}
    Method(descriptor, lambda: 0).add_ids(values, request, response)
    assert values == {"request_id": "r-1", "source_account_id": "a-1", "transfer_id": "t-1", "account_id": "a-1"}


def test_a_dry_run_is_distinguished_from_a_change() -> None:
    pool: Any = DescriptorPool()
    pool.Add(Parse(TRANSFERS, FileDescriptorProto()))
    descriptor = pool.FindServiceByName("transfers.Transfers").methods_by_name["Send"]
    values: dict[str, object] = {}
    Method(descriptor, lambda: 0).add_ids(values, GetMessageClass(descriptor.input_type)(validate_only=True), None)
    assert values == {"validate_only": True}
