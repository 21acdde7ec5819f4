"""FerretDB, as a MongoDB for tests."""

from pathlib import Path

from tests.go_programs import BuildFailed, GoMissing, GoProgram, go

__all__ = ["GoMissing", "binary", "build", "go"]

_FERRETDB = GoProgram("ferretdb", Path(__file__).resolve().parent / "ferretdb", "FerretDB, the stand-in for MongoDB,")
build = _FERRETDB.build
binary = _FERRETDB.binary

if __name__ == "__main__":
    try:
        print(build())
    except (GoMissing, BuildFailed) as error:
        raise SystemExit(str(error)) from None
