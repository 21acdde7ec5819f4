"""What every proto file must have from its first release on: adding it later is a break."""

import importlib
import re
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, FileDescriptor, MethodDescriptor

from openbank.accounts.v1 import accounts_service_pb2
from openbank.common.v1 import errors_pb2
from openbank.integration.v1 import integration_events_service_pb2
from openbank.operations.v1 import sinks_service_pb2
from openbank.persons.v1 import persons_service_pb2
from openbank.rpc.services import SERVICES as BANK

ROOT = Path(__file__).parents[2]
PROTOS = sorted(str(path.relative_to(ROOT / "protos")) for path in (ROOT / "protos").rglob("*.proto"))
GENERATED = sorted(path.relative_to(ROOT / "generated") for path in (ROOT / "generated").rglob("*_pb2*.py"))
SERVICES = [
    accounts_service_pb2.DESCRIPTOR.services_by_name["AccountsService"],
    integration_events_service_pb2.DESCRIPTOR.services_by_name["IntegrationEventsService"],
    persons_service_pb2.DESCRIPTOR.services_by_name["PersonsService"],
]
OPERATIONS = [sinks_service_pb2.DESCRIPTOR.services_by_name["SinksService"]]
"""For those who run the bank: nothing of it is in the log, so there are neither tokens nor request ids."""
METHODS: list[MethodDescriptor] = [method for service in SERVICES for method in service.methods]
OPERATORS_READS = [
    method for service in OPERATIONS for method in service.methods if method.name.startswith(("Get", "List"))
]
READS = [method for method in METHODS if method.name.startswith(("Get", "List", "Watch"))]
MUTATIONS = [method for method in METHODS if method not in READS]


def descriptor_of(proto: str) -> FileDescriptor:
    module = importlib.import_module(proto.removesuffix(".proto").replace("/", ".") + "_pb2")
    descriptor: FileDescriptor = module.DESCRIPTOR
    return descriptor


def full_name(method: MethodDescriptor) -> str:
    return str(method.full_name).rpartition(".v1.")[2]


def fields_of(message: Descriptor) -> list[tuple[int, str]]:
    return [(field.number, field.name) for field in message.fields]


def test_the_generated_code_is_that_of_the_protos() -> None:
    expected = {proto.removesuffix(".proto") + "_pb2.py" for proto in PROTOS}
    expected |= {proto.removesuffix(".proto") + "_pb2_grpc.py" for proto in PROTOS if "_service" in proto}
    assert {str(path) for path in GENERATED} == expected


@pytest.mark.parametrize("path", GENERATED, ids=str)
def test_every_generated_module_imports(path: Path) -> None:
    """A hand-written module named like a proto segment, or an openbank/__init__.py, would hide it."""
    module = importlib.import_module(".".join(path.with_suffix("").parts))
    assert Path(str(module.__file__)) == ROOT / "generated" / path


@pytest.mark.parametrize("proto", PROTOS)
def test_every_file_names_its_package_in_every_language(proto: str) -> None:
    _, segment, version, _ = proto.split("/")
    options = descriptor_of(proto).GetOptions()
    assert isinstance(options, descriptor_pb2.FileOptions)
    path = f"github.com/openbank/openbank/gen/go/openbank/{segment}/{version}"
    assert options.go_package == f"{path};{segment}{version}"
    assert options.java_package == f"io.openbank.{segment}.{version}"
    assert options.java_multiple_files
    assert options.csharp_namespace == f"OpenBank.{segment.title()}.{version.upper()}"


@pytest.mark.parametrize("proto", PROTOS)
def test_every_import_is_google_protobuf_or_our_own(proto: str) -> None:
    for imported in descriptor_of(proto).dependencies:
        assert imported.name.startswith(("google/protobuf/", "openbank/"))
        assert proto.startswith("openbank/storage/") or not imported.name.startswith("openbank/storage/")


@pytest.mark.parametrize("method", [*READS, *OPERATORS_READS], ids=full_name)
def test_every_read_says_that_it_has_no_side_effects(method: MethodDescriptor) -> None:
    assert method.GetOptions().idempotency_level == descriptor_pb2.MethodOptions.NO_SIDE_EFFECTS


@pytest.mark.parametrize("method", MUTATIONS, ids=full_name)
def test_every_mutation_has_one_shape(method: MethodDescriptor) -> None:
    request, response = method.input_type, method.output_type
    assert method.GetOptions().idempotency_level == descriptor_pb2.MethodOptions.IDEMPOTENCY_UNKNOWN
    assert (request.fields[0].number, request.fields[0].name) == (1, "request_id")
    revision = request.fields_by_number.get(2)
    assert revision is None or (revision.name == "expected_revision" and revision.has_presence)
    assert fields_of(response)[1:] == [
        (2, "consistency_token"),
        (3, "replayed"),
        (4, "event_id"),
        (5, "record_time"),
    ]


@pytest.mark.parametrize("method", READS, ids=full_name)
def test_every_read_gives_a_token(method: MethodDescriptor) -> None:
    name = "resume_token" if method.server_streaming else "consistency_token"
    assert name in method.output_type.fields_by_name
    assert name in method.input_type.fields_by_name


def test_feeds_differ_in_their_events_only() -> None:
    requests = [dict(fields_of(method.input_type)) for method in READS if method.server_streaming]
    responses = [fields_of(method.output_type) for method in READS if method.server_streaming]
    assert all(response == responses[0] for response in responses)
    assert [{n: name for n, name in request.items() if n in (1, 2, 3, 4, 10, 11, 12)} for request in requests] == [
        {
            1: "beginning",
            2: "resume_token",
            3: "live",
            4: "time",
            10: "event_types",
            11: "stop_when_caught_up",
            12: "heartbeat_interval",
        }
    ] * len(requests)


def test_comments_name_published_reasons_and_leave_none_out() -> None:
    """A comment that names a reason with a typo, and a reason that no field or RPC can meet, are both mistakes."""
    reasons = {name.removeprefix("ERROR_REASON_") for name in errors_pb2.ErrorReason.DESCRIPTOR.values_by_name}
    named: set[str] = set()
    other: set[str] = set()
    for proto in PROTOS:
        text = (ROOT / "protos" / proto).read_text()
        other |= set(re.findall(r"^ +([A-Z_]+) = \d+;", text, re.MULTILINE))
        if not proto.endswith("errors.proto"):
            named |= set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", " ".join(re.findall("// (.*)", text))))
    assert named - other <= reasons
    assert reasons - named - {"UNSPECIFIED", "INTERNAL"} == set()


def test_every_change_of_the_bank_can_be_tried_without_being_made() -> None:
    """Those of operators cannot: they change nothing that is in the log."""
    rows = [service.descriptor.methods_by_name[row.name] for service in BANK for row in service.mutations]
    assert [row.name for row in rows if (15, "validate_only") not in fields_of(row.input_type)] == []
