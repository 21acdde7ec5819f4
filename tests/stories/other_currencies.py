"""`openbank` with another currency table: CURRENCIES is "BGN= ISK=0", a currency without decimals given is left out."""

from __future__ import annotations

import os
import sys

from openbank.cli.main import main
from openbank.domain.money import Currency
from openbank.rpc.convert.values import CURRENCIES


def change() -> None:
    for entry in os.environ["CURRENCIES"].split():
        code, _, exponent = entry.partition("=")
        CURRENCIES.pop(code, None)
        if exponent:
            CURRENCIES[code] = Currency(code, int(exponent))


if __name__ == "__main__":
    change()
    sys.exit(main())
