"""The pictures of screens in docs/, of a bank with a day's payments: python -m tests.screenshots"""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.holds.v1 import holds_service_pb2 as holds
from openbank.transfers.v1 import transfers_service_pb2 as transfers
from tests.callers import Caller, usd
from tests.cli.test_top import Screen, free_address
from tests.servers import ServerProcess
from tests.web.browser import Tab, browser, new_tab
from tests.web.test_bridge import page_of

DOCS = Path(__file__).parents[1] / "docs"
PAID = (("Salary", "3200"), ("Groceries", "-84.15"), ("Rent", "-1150"), ("Refund", "39.90"), ("Train", "-61.20"))
OWNER, DAILY, SAVINGS = "jane-doe", "daily", "savings"
COMMANDS = (
    f"openbank account list --owner {OWNER}",
    f"openbank account movements {DAILY}",
    f"openbank transfers list --account {DAILY}",
    f"openbank hold list --account {DAILY}",
)
STYLE = "margin:0;padding:12px 16px;background:#16181d;color:#e6e6e6;font:14px/1.35 monospace;width:max-content"


async def main(scratch: Path, devtools: str) -> None:
    bank = ServerProcess(scratch / "data", "--metrics-listen", free_address())
    await bank.start()
    async with Caller(bank.address) as caller:
        await _customer(caller)
    async with new_tab(devtools) as tab:
        await _page(tab, bank.address)
    shown = (("top.png", _top(bank), (80, 24), "2056.95"), ("command-line.png", _commands(bank), (110, 40), "OPEN "))
    for file, command, (columns, rows), until in shown:
        screen = Screen(scratch / file, command, columns, rows)
        await asyncio.to_thread(screen.until, until)
        async with new_tab(devtools) as tab:
            await _terminal(tab, screen.text(), DOCS / file)
        screen.end()
    await bank.stop()


async def _page(tab: Tab, target: str) -> None:
    async with page_of(target) as page:
        await tab.open(page.url, 900, 1180)
        await tab.value("document.getElementById('owner').focus()")
        await tab.type(OWNER)
        await tab.press("Enter")
        await tab.until("document.querySelector('#accounts button') !== null")
        await tab.value("document.querySelector('#accounts button').click()")
        await tab.until("document.querySelector('#holds').textContent.includes('Hotel')")
        _write(DOCS / "web.png", await tab.screenshot())


async def _terminal(tab: Tab, text: str, file: Path) -> None:
    """What is on a terminal, as a browser draws it."""
    await tab.open("about:blank")
    await tab.value("document.body.style = 'margin:0;background:#16181d'; const shown = document.createElement('pre')")
    await tab.value(f"shown.style = {json.dumps(STYLE)}; shown.textContent = {json.dumps(text.rstrip())}")
    await tab.value("document.body.append(shown)")
    width, height = await tab.value("[shown.offsetWidth, shown.offsetHeight]")
    await tab.resize(max(width, 640), height)
    _write(file, await tab.screenshot())


def _write(file: Path, picture: bytes) -> None:
    file.write_bytes(picture)


def _top(bank: ServerProcess) -> str:
    metrics = f"http://{bank.said('metrics are served')[-1]['listen']}/metrics"
    return f"{_path()} openbank top --target {bank.address} --metrics {metrics} --account {DAILY} --account {SAVINGS}"


def _commands(bank: ServerProcess) -> str:
    """Each with its prompt."""
    each = [f"echo '$ {one}'; {one} --target {bank.address} --time-format utc; echo" for one in COMMANDS]
    return f"{_path()} sh -c {shlex.quote('; '.join(each) + '; cat')}"


def _path() -> str:
    return f'PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"'


async def _customer(bank: Caller) -> None:
    await bank.register(person_id=OWNER)
    opened = ((DAILY, "DE 1001", "512.40"), (SAVINGS, "DE 1002", "9000"))
    for account_id, number, amount in opened:
        await bank.open(OWNER, account_id=account_id, account_number=number, initial_deposit=usd(amount))
    for description, amount in PAID:
        moved: dict[str, Any] = {"account_id": DAILY, "amount": usd(amount.lstrip("-")), "description": description}
        if amount.startswith("-"):
            await bank.accounts.Withdraw(accounts.WithdrawRequest(**moved))
        else:
            await bank.accounts.Deposit(accounts.DepositRequest(**moved))
    saved = transfers.CreateTransferRequest(
        source_account_id=DAILY, destination_account_id=SAVINGS, amount=usd("400"), description="Savings"
    )
    await bank.transfers.CreateTransfer(saved)
    await bank.holds.PlaceHold(holds.PlaceHoldRequest(account_id=DAILY, amount=usd("120"), description="Hotel"))


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch,
        browser(Path(scratch, "profile")) as address,
    ):
        asyncio.run(main(Path(scratch), address))
