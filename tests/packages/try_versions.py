"""Tries the client with every major version of protobuf, and the oldest and the newest grpcio, against a bank.

`python -m tests.packages.try_versions` asks the package index for the newest of each, so it is run by CI and not by the
tests.
"""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.packages import wheels
from tests.packages.wheels import Environment
from tests.servers import ServerProcess

VERSIONS = (
    ("protobuf==5.29.0", "grpcio==1.71.2"),
    ("protobuf>=5.29,<6", "grpcio"),
    ("protobuf>=6,<7", "grpcio"),
    ("protobuf>=7,<8", "grpcio"),
)
CALLER = Path(__file__).with_name("caller.py")
INSTALLED = "from importlib.metadata import version as v; print('protobuf', v('protobuf'), 'grpcio', v('grpcio'))"


async def main() -> None:
    with TemporaryDirectory() as scratch:
        directory = Path(scratch)
        wheel = wheels.build(directory / "wheels") / f"openbank_client-{version('openbank')}-py3-none-any.whl"
        bank = ServerProcess(directory / "data")
        await bank.start()
        try:
            for number, versions in enumerate(VERSIONS):
                made = Environment(directory / str(number))
                made.install(wheel, *versions)
                print(made.run("-c", INSTALLED).stdout.strip(), end=": ", flush=True)
                # A warning is a failure too: it says which version will refuse the generated code.
                called = await asyncio.to_thread(made.run, "-W", "error", CALLER, bank.address)
                if called.returncode:
                    raise SystemExit(f"fails\n{called.stderr}")
                print("works")
        finally:
            await bank.stop()


if __name__ == "__main__":
    asyncio.run(main())
