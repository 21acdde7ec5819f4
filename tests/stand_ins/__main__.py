"""python -m tests.stand_ins: EventStoreDB and MongoDB for trying the server back ends by hand, both empty.

STANDIN_EVENTSTOREDB and STANDIN_MONGODB name their addresses. Ctrl-C stops both.
"""

import contextlib
import os
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

from tests.stand_ins import ferret
from tests.stand_ins.process import EventStoreDBProcess, FerretDBProcess


def stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    with contextlib.suppress(KeyboardInterrupt), contextlib.ExitStack() as running:
        address = os.environ.get("STANDIN_EVENTSTOREDB", "127.0.0.1:2113")
        events = running.enter_context(EventStoreDBProcess(listen=address))
        say(f"EventStoreDB   {events.uri}")
        try:
            if not ferret.binary().exists():
                ferret.go("FerretDB, the stand-in for MongoDB,")
                say("building FerretDB, once; this takes a minute or two")
            directory = running.enter_context(tempfile.TemporaryDirectory(prefix="ferretdb-"))
            address = os.environ.get("STANDIN_MONGODB", "127.0.0.1:27017")
            database = running.enter_context(FerretDBProcess(Path(directory), listen=address))
            say(f"MongoDB        {database.uri}   (FerretDB)")
        except ferret.GoMissing as missing:
            say(f"MongoDB        not running: {missing}")
        say("Ctrl-C stops them.")
        signal.pause()


if __name__ == "__main__":
    main()
