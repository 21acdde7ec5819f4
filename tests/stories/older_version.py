"""`openbank` as it was before accounts could be withdrawn from: the type of that event is unknown to it."""

from __future__ import annotations

import sys

from openbank.cli.main import main
from openbank.codec import events

UNKNOWN = "openbank.accounts.v1.MoneyWithdrawn"

if __name__ == "__main__":
    events.ROWS = {name: row for name, row in events.ROWS.items() if name != UNKNOWN}
    sys.exit(main())
