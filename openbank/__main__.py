"""`python -m openbank`, and the `openbank` command."""

import sys

from openbank.cli.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
