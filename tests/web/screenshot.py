"""docs/web.png, of a bank with a day's payments: python -m tests.web.screenshot FILE"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.app import serving
from openbank.config import Settings
from openbank.holds.v1 import holds_service_pb2 as holds
from openbank.transfers.v1 import transfers_service_pb2 as transfers
from tests.callers import Caller, usd
from tests.web.browser import browser, new_tab
from tests.web.test_bridge import page_of

PAID = (("Salary", "3200"), ("Groceries", "-84.15"), ("Rent", "-1150"), ("Refund", "39.90"), ("Train", "-61.20"))


async def main(file: Path, directory: Path, devtools: str) -> None:
    async with (
        serving(Settings(data=directory / "data", listen="127.0.0.1:0")) as server,
        Caller(server.address) as bank,
        page_of(server.address) as page,
        new_tab(devtools) as tab,
    ):
        owner_id = await _customer(bank)
        await tab.open(page.url, 900, 1180)
        await tab.value("document.getElementById('owner').focus()")
        await tab.type(owner_id)
        await tab.press("Enter")
        await tab.until("document.querySelector('#accounts button') !== null")
        await tab.value("document.querySelector('#accounts button').click()")
        await tab.until("document.querySelector('#holds').textContent.includes('Hotel')")
        file.write_bytes(await tab.screenshot())  # noqa: ASYNC240 - nothing else runs here


async def _customer(bank: Caller) -> str:
    owner_id = (await bank.register(person_id="jane-doe")).person.person_id
    daily = (await bank.open(owner_id, account_number="DE 1001", initial_deposit=usd("512.40"))).account.account_id
    savings = (await bank.open(owner_id, account_number="DE 1002", initial_deposit=usd("9000"))).account.account_id
    for description, amount in PAID:
        moved: dict[str, Any] = {"account_id": daily, "amount": usd(amount.lstrip("-")), "description": description}
        if amount.startswith("-"):
            await bank.accounts.Withdraw(accounts.WithdrawRequest(**moved))
        else:
            await bank.accounts.Deposit(accounts.DepositRequest(**moved))
    saved = transfers.CreateTransferRequest(
        source_account_id=daily, destination_account_id=savings, amount=usd("400"), description="Savings"
    )
    await bank.transfers.CreateTransfer(saved)
    await bank.holds.PlaceHold(holds.PlaceHoldRequest(account_id=daily, amount=usd("120"), description="Hotel"))
    return owner_id


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch,
        browser(Path(scratch, "profile")) as address,
    ):
        asyncio.run(main(Path(sys.argv[1]), Path(scratch), address))
