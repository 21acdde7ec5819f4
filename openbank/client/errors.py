"""What ends a command that cannot go on."""


class CannotTail(Exception):
    """The message says why, in one line."""


class CannotAsk(Exception):
    """A bank that gives no answer, or refuses. The message says why, in one line."""
