"""What programs in other languages get: proto files that stand alone, a descriptor set, a licence, types."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

ROOT = Path(__file__).parents[2]
PUBLISHED = sorted(
    str(path.relative_to(ROOT / "protos"))
    for path in (ROOT / "protos").rglob("*.proto")
    if "storage" not in path.parts[len(ROOT.parts) :]
)


def test_the_changelog_names_every_rpc_and_event_that_is_newer_than_the_release() -> None:
    """The name of a new service stands for its RPCs."""
    released = FileDescriptorSet.FromString((ROOT / "protos/released.binpb").read_bytes())
    known = set(_rpcs_and_events(released.file))
    now = [FileDescriptorProto.FromString(_descriptor(proto).serialized_pb) for proto in PUBLISHED]
    changelog = (ROOT / "CHANGELOG.md").read_text()
    new = [name for name in _rpcs_and_events(now) if name not in known]
    to_be_named = [name.rpartition(".")[2] for name in new if name.rpartition(".")[0] not in new]
    assert [name for name in to_be_named if name not in changelog] == []


def _rpcs_and_events(files: Iterable[FileDescriptorProto]) -> Iterator[str]:
    """Services, their RPCs as Service.Method, and the messages of stored events."""
    for file in files:
        for service in file.service:
            yield service.name
            yield from (f"{service.name}.{method.name}" for method in service.method)
        if file.name.endswith(("account_events.proto", "person_events.proto")):
            yield from (message.name for message in file.message_type)


def _descriptor(proto: str) -> FileDescriptor:
    module = importlib.import_module(proto.removesuffix(".proto").replace("/", ".") + "_pb2")
    descriptor: FileDescriptor = module.DESCRIPTOR
    return descriptor


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dist")
    # The user who runs the tests decides what is installed.
    command = ["make", "--assume-old=.venv/.dev", "protos", f"DIST={directory}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    return directory


def test_the_bundle_has_the_contract_and_nothing_internal(dist: Path) -> None:
    bundle = dist / "openbank-protos"
    assert sorted(str(path.relative_to(bundle)) for path in bundle.rglob("*.proto")) == PUBLISHED
    with tarfile.open(dist / "openbank-protos.tar.gz") as archive:
        names = [name.removeprefix("openbank-protos/") for name in archive.getnames()]
    assert sorted(name for name in names if name.endswith(".proto")) == PUBLISHED
    assert "LICENSE" in names


def test_the_bundle_compiles_by_itself(dist: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "grpc_tools.protoc", "--proto_path=.", f"--python_out={tmp_path}", *PUBLISHED]
    subprocess.run(command, cwd=dist / "openbank-protos", check=True, timeout=60)
    assert len(list(tmp_path.rglob("*_pb2.py"))) == len(PUBLISHED)


def test_the_descriptor_set_has_the_same_files_and_their_imports(dist: Path) -> None:
    files = FileDescriptorSet.FromString((dist / "openbank.binpb").read_bytes()).file
    names = [file.name for file in files]
    assert sorted(name for name in names if name.startswith("openbank/")) == PUBLISHED
    assert {imported for file in files for imported in file.dependency} <= set(names)


def test_no_two_files_have_the_same_name() -> None:
    """protoc names C# files after proto files, without their directories."""
    names = [Path(file).name for file in PUBLISHED]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("half", ["openbank", "generated/openbank"])
def test_every_package_is_marked_as_typed(half: str) -> None:
    packages = {path.parent for path in (ROOT / half).glob("*/__init__.py")}
    assert packages
    assert {package for package in packages if not (package / "py.typed").exists()} == set()


def test_the_licence_is_apache_2() -> None:
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text()
