"""What ends a tail that cannot go on."""


class CannotTail(Exception):
    """The message says why, in one line."""
