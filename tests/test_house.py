"""The directions of imports between the rooms, checked by reading the imports of every module."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from openbank.extras import MODULES as MODULES_OF_EXTRAS

ROOT = Path(__file__).parents[1]
HOUSE = ROOT / "openbank"

# A room of the house (a package, or a module at its top) -> what it may import of the others. A package stands for all
# its modules but adapters, a module for itself. The longest name that covers a module counts: `eventstore.eventstoredb`
# has directions of its own, and not those of `eventstore`.
MAY_IMPORT: dict[str, set[str]] = {
    # What any room may need: standard library only.
    "address": set(),
    "background": set(),
    "disk": set(),
    "extras": set(),
    "instruments": set(),
    "pause": set(),
    "unfinished": set(),
    "progress": set(),
    "sqlite_file": set(),
    "sqlite_wal": set(),
    "tracebacks": set(),
    # From the rules outwards.
    "domain": set(),
    "eventstore": {"domain", "disk", "instruments", "pause", "progress", "sqlite_file", "sqlite_wal"},
    "codec": {"domain", "eventstore"},
    "eventstore.eventstoredb": {"address", "codec", "eventstore", "instruments"},
    "integrity": {"domain", "codec", "eventstore"},
    "aggregates": {"domain", "codec", "eventstore", "integrity", "pause", "tracing.span"},
    "following": {"codec", "eventstore", "integrity", "pause"},
    "mongodb": {"address", "following"},
    "commands": {"domain", "aggregates", "eventstore", "integrity", "unfinished"},
    "views": {
        "domain",
        "codec",
        "disk",
        "eventstore",
        "following",
        "integrity",
        "mongodb",
        "pause",
        "sqlite_file",
        "sqlite_wal",
        "unfinished",
    },
    "sweeper": {"domain", "commands", "eventstore", "pause", "views.port"},
    "access": {"domain", "extras", "reloading"},
    "queries": {"domain", "eventstore", "views.port"},
    "courier": {"domain", "commands", "eventstore", "pause", "views.port"},
    "feeds": {"domain", "eventstore", "following"},
    "publishing": {"domain", "codec", "eventstore"},
    "sinks": {
        "domain",
        "address",
        "codec",
        "disk",
        "eventstore",
        "following",
        "integrity",
        "pause",
        "publishing",
        "sqlite_file",
        "sqlite_wal",
    },
    "sinks.mongo": {"eventstore", "mongodb", "sinks"},
    "metrics": {
        "access",
        "ports",
        "reloading",
        "tls",
        "codec",
        "commands",
        "domain",
        "eventstore",
        "feeds",
        "following",
        "instruments",
        "integrity",
        "rpc",
        "sinks.desk",
        "sinks.port",
        "sinks.sender",
        "sinks.transport",
        "views.port",
        "views.progress",
        "views.rebuild",
    },
    "tracing.span": set(),
    "tracing": {"extras", "publishing", "sinks.transport"},
    "rpc": {
        "logs",
        "instruments",
        "access",
        "tracing.span",
        "domain",
        "aggregates",
        "commands",
        "queries",
        "feeds",
        "following",
        "integrity",
        "publishing",
        "sinks.address",
        "sinks.desk",
        "sinks.port",
        "eventstore",
        "views.port",
        "views.rebuild",
    },
    # The process.
    "setting_types": {"address", "sinks.address"},
    "config": {"address", "setting_types", "sinks.address"},
    "datadir": {"disk"},
    "log_writer": set(),
    "logs": {"log_writer", "tracebacks"},
    "reloading": set(),
    "tls": {"config", "reloading"},
    "ports": {"config", "reloading", "setting_types", "tls"},
    "server": {"access", "config", "ports", "reloading", "rpc", "tls"},
    "back_ends": {"config", "datadir", "eventstore", "extras", "following", "sinks", "views"},
    "upkeep": {
        "progress",
        "config",
        "datadir",
        "domain",
        "codec",
        "eventstore",
        "extras",
        "integrity",
        "views",
        "sinks",
        "sqlite_file",
        "mongodb",
    },
    "optional": {"config", "extras", "metrics", "sinks", "tracing"},
    "parts": {"eventstore", "following", "integrity", "rpc", "views"},
    "app": {
        "access",
        "background",
        "optional",
        "parts",
        "ports",
        "reloading",
        "tls",
        "back_ends",
        "config",
        "datadir",
        "pause",
        "domain",
        "eventstore",
        "extras",
        "instruments",
        "integrity",
        "following",
        "metrics",
        "views",
        "commands",
        "courier",
        "queries",
        "feeds",
        "sinks",
        "sweeper",
        "rpc",
        "server",
        "upkeep",
    },
    # What people and programs start.
    "client": set(),
    "web": set(),
    "cli": {
        "web",
        "ports",
        "access",
        "progress",
        "rpc.permissions",
        "address",
        "config",
        "setting_types",
        "extras",
        "logs",
        "disk",
        "app",
        "upkeep",
        "rpc.probe",
        "client",
    },
    "__main__": {"cli"},
}

ADAPTERS = {
    "eventstore.sqlite",
    "eventstore.eventstoredb",
    "views.sqlite",
    "views.mongo",
    "sinks.sqlite",
    "sinks.mongo",
    "sinks.http",
    "sinks.nats",
}
SEES_ADAPTERS = {"app", "back_ends", "optional", "upkeep"}

# Rooms and modules that may import generated code, and whose.
MAY_IMPORT_PB2: dict[str, tuple[str, ...]] = {
    "rpc": ("openbank.", "google.", "grpc_health.", "grpc_reflection."),
    "client": ("openbank.", "google.protobuf."),
    "cli": ("openbank.", "google."),
    "publishing": ("openbank.", "google.protobuf."),
    "codec": ("openbank.", "google.protobuf."),
    "aggregates.snapshots": ("openbank.", "google.protobuf."),
    "eventstore.eventstoredb": ("esdbclient.", "google.protobuf.", "google.rpc."),
}

PROTO_SEGMENTS = {path.name for path in (ROOT / "protos/openbank").iterdir()}
COMING_SEGMENTS = {"transfers", "holds", "batches", "statements"}
"""Proto packages that are going to be."""

MODULES = sorted(HOUSE.rglob("*.py"))


def name_of(path: Path) -> str:
    """`openbank/eventstore/port.py` -> `eventstore.port`."""
    parts = path.relative_to(HOUSE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


HOUSE_NAMES = {name_of(path) for path in MODULES}


def imports_of(path: Path) -> set[str]:
    """Full names of all modules imported anywhere in a file, also inside functions and under TYPE_CHECKING."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = ("openbank", *path.relative_to(HOUSE).parts)
            base = ".".join(package[: len(package) - node.level]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                full = f"{module}.{alias.name}"
                is_module = full.removeprefix("openbank.") in HOUSE_NAMES or is_generated(full)
                found.add(full if is_module else module)
    return found


def is_generated(module: str) -> bool:
    return module.endswith(("_pb2", "_pb2_grpc")) or module.startswith(
        tuple(f"openbank.{segment}." for segment in PROTO_SEGMENTS)
    )


def allowed(module: str, grants: set[str]) -> bool:
    """Whether one of the grants names the module or a package that holds it."""
    return any(module == grant or module.startswith(f"{grant}.") for grant in grants)


def row_of(module: str) -> str:
    """The row of MAY_IMPORT that a module has to keep."""
    return max((row for row in MAY_IMPORT if allowed(module, {row})), key=len)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_in_the_house_directions(path: Path) -> None:
    importer = name_of(path)
    room = importer.partition(".")[0]
    assert room in MAY_IMPORT, f"{room} is a new room: give it its directions"
    directions = MAY_IMPORT[row_of(importer)]
    for full in imports_of(path):
        module = full.removeprefix("openbank.")
        if not full.startswith("openbank.") or is_generated(full):
            continue
        assert room in SEES_ADAPTERS or module not in ADAPTERS, f"{importer} sees the adapter {module}"
        assert allowed(module, directions | {room}), f"{importer} may not import {module}"


@pytest.mark.parametrize("row", MAY_IMPORT)
def test_every_permission_of_a_row_is_used(row: str) -> None:
    imported = {
        full.removeprefix("openbank.") for path in MODULES if row_of(name_of(path)) == row for full in imports_of(path)
    }
    assert {grant for grant in MAY_IMPORT[row] if not any(allowed(module, {grant}) for module in imported)} == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_generated_code_is_imported_at_the_edges_only(path: Path) -> None:
    importer = name_of(path)
    generated = {module for module in imports_of(path) if is_generated(module)}
    whose = tuple(
        prefix for edge, prefixes in MAY_IMPORT_PB2.items() if allowed(importer, {edge}) for prefix in prefixes
    )
    assert {module for module in generated if not module.startswith(whose)} == set()


@pytest.mark.parametrize("path", sorted((HOUSE / "domain").rglob("*.py")), ids=name_of)
def test_the_domain_needs_the_standard_library_only(path: Path) -> None:
    others = {module.partition(".")[0] for module in imports_of(path)}
    assert others <= sys.stdlib_module_names | {"openbank"}


@pytest.mark.parametrize("half", [HOUSE, ROOT / "generated/openbank"], ids=["ours", "generated"])
def test_openbank_is_a_namespace_of_two_halves(half: Path) -> None:
    assert half.is_dir()
    assert not (half / "__init__.py").exists()


LINES_MAX = 300


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_is_not_too_long_to_read(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LINES_MAX, "cut it along a seam"


MAY_SHARE_A_NAME = {
    # The client is a wheel of its own, which has nothing of the server.
    "Violation": {"client.errors", "domain.errors"},
    # One thing in the adapters of several stores.
    "Row": {"eventstore.sqlite", "views.sqlite"},
    "Snapshots": {"eventstore.sqlite", "eventstore.eventstoredb"},
}


def public_names(path: Path) -> set[str]:
    """The classes and type aliases of a module, but for type variables."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign) and not is_type_variable(node.value):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if name[0].isupper() and not name.isupper()}


def is_type_variable(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and ast.unparse(value.func) in ("TypeVar", "ParamSpec")


def test_no_public_name_has_two_meanings() -> None:
    owners: dict[str, list[str]] = {}
    for path in MODULES:
        module = name_of(path)
        owner = next((adapter for adapter in ADAPTERS if allowed(module, {adapter})), module)
        for name in public_names(path):
            owners.setdefault(name, []).append(owner)
    shared = {name: sorted(places) for name, places in owners.items() if len(places) > 1}
    assert shared == {name: sorted(places) for name, places in MAY_SHARE_A_NAME.items()}


def test_nothing_hand_written_has_the_name_of_a_proto_segment() -> None:
    assert {path.stem for path in HOUSE.iterdir()} & (PROTO_SEGMENTS | COMING_SEGMENTS) == set()


def test_an_embedded_bank_loads_nothing_of_an_extra() -> None:
    look = "import sys; from openbank import app; print(*sys.modules)"
    loaded = subprocess.check_output([sys.executable, "-c", look], text=True).split()
    assert "openbank.app" in loaded
    assert {module for modules in MODULES_OF_EXTRAS.values() for module in modules}.isdisjoint(loaded)
