"""The bank's rules: money, persons and accounts as immutable values and pure functions. Standard library only."""
