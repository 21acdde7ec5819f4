"""The `openbank` command: one module per subcommand.

Each has `add`, which registers its parser, and `run`, which takes the settings and the parsed flags and returns the
exit code. `run` imports what it needs, so that no command waits for another's imports.
"""
