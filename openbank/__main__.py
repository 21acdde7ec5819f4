"""`python -m openbank`, and the `openbank` command."""

from __future__ import annotations

from openbank.cli import signals

# While the rest is imported there is nothing to clean up, and an exception would be a traceback.
signals.end_at_once()


def main() -> None:
    """Does not return."""
    from openbank.cli import process

    process.main()


if __name__ == "__main__":
    main()
