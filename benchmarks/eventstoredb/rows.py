"""All rows of the bank on EventStoreDB's stand-in, and those of filtered histories embedded."""

from benchmarks.eventstoredb import deposits, long_account, reading, watches

EXPERIMENTS = (
    reading.reading,
    deposits.beside_embedded,
    deposits.not_in_memory,
    long_account.first_calls,
    watches.on_eventstoredb,
    watches.embedded,
)
