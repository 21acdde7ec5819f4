"""python -m tests.disk.bank serve ...: a bank whose WAL is written to the database and restarts all the time."""

from openbank.cli import process
from openbank.eventstore.sqlite import commits, wal

if __name__ == "__main__":
    wal.FRAMES_MAX = 40
    commits.CHECKPOINT_EVENTS = 5
    process.main()
