"""The page, in a real browser beside a bank."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from openbank.accounts.v1 import accounts_service_pb2 as accounts
from openbank.holds.v1 import holds_service_pb2 as holds
from openbank.server import Server
from openbank.transfers.v1 import transfers_service_pb2 as transfers
from tests.callers import Caller, usd
from tests.web import browser, schema
from tests.web.browser import Tab
from tests.web.test_bridge import page_of

HOSTILE = "<img src=x onerror=document.title='run'>"
PHONE = 360


@pytest.fixture(scope="module")
def devtools(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a browser's, which the tests share: its start takes longer than any of them."""
    if not browser.is_there():
        pytest.skip("Chromium is not installed: apt install chromium")
    with browser.browser(tmp_path_factory.mktemp("browser") / "profile") as address:
        yield address


@pytest.fixture
async def tab(devtools: str) -> AsyncIterator[Tab]:
    async with browser.new_tab(devtools) as tab:
        yield tab


@pytest.fixture
async def url(server: Server) -> AsyncIterator[str]:
    async with page_of(server.address) as page:
        yield page.url


async def shown(tab: Tab, url: str, bank: Caller) -> tuple[str, str, str]:
    """The page with two accounts of one owner: ids of the owner and of both."""
    owner_id = (await bank.register()).person.person_id
    one = (await bank.open(owner_id, account_number="DE 1", initial_deposit=usd("1234567.89"))).account.account_id
    two = (await bank.open(owner_id, account_number="DE 2", initial_deposit=usd("5"))).account.account_id
    await tab.open(url)
    await tab.value("document.getElementById('owner').focus()")
    await tab.type(owner_id)
    await tab.press("Enter")
    await tab.until("document.getElementById('status').textContent === 'Live'")
    return owner_id, one, two


async def test_balances_are_exact_and_live(tab: Tab, url: str, bank: Caller) -> None:
    _, one, _ = await shown(tab, url, bank)
    assert await tab.value("document.querySelector('#accounts .number + .number, #accounts tbody .number').textContent")
    text = await tab.value("document.getElementById('accounts').textContent")
    assert "1,234,567.89 USD" in text
    await bank.deposit(one, "0.02")
    await tab.until("document.getElementById('accounts').textContent.includes('1,234,567.91 USD')")
    assert tab.complaints == []


async def test_an_account_that_is_opened_meanwhile_appears(tab: Tab, url: str, bank: Caller) -> None:
    owner_id, _, _ = await shown(tab, url, bank)
    await bank.open(owner_id, account_number="DE 3")
    await tab.until("document.getElementById('accounts').textContent.includes('DE 3')")


async def test_one_account_shows_what_happens_to_it(tab: Tab, url: str, bank: Caller) -> None:
    _, one, two = await shown(tab, url, bank)
    await tab.value("document.querySelector('#accounts button').click()")
    await tab.until("!document.getElementById('account').hidden")
    await bank.accounts.Withdraw(accounts.WithdrawRequest(account_id=one, amount=usd("3"), description=HOSTILE))
    await bank.holds.PlaceHold(holds.PlaceHoldRequest(account_id=one, amount=usd("7"), description="Hotel"))
    await bank.transfers.CreateTransfer(
        transfers.CreateTransferRequest(
            source_account_id=one, destination_account_id=two, amount=usd("11"), description="Rent"
        )
    )
    await tab.until("document.getElementById('transfers').textContent.includes('Rent')")
    await tab.until("document.getElementById('holds').textContent.includes('Hotel')")
    await tab.until("document.querySelectorAll('#movements tbody tr').length === 4")
    movements = await tab.value("document.getElementById('movements').textContent")
    assert "money withdrawn" in movements
    assert HOSTILE in movements
    assert await tab.value("document.title") == "OpenBank"
    assert await tab.value("document.querySelectorAll('#plot .line')[0].getAttribute('points').split(' ').length") > 4
    assert "1,234,553.89 USD" in await tab.value("document.getElementById('plot').getAttribute('aria-label')")
    await tab.until("document.getElementById('accounts').textContent.includes('1,234,546.89 USD')")
    assert tab.complaints == []


async def test_the_keyboard_reaches_everything(tab: Tab, url: str, bank: Caller) -> None:
    await shown(tab, url, bank)
    await tab.value("document.getElementById('owner').focus()")
    reached = []
    for _ in range(5):
        await tab.press("Tab")
        reached.append(await tab.value("document.activeElement.id || document.activeElement.textContent"))
    assert reached == ["token", "Show", "DE 1", "DE 2", "operations-refresh"]
    await tab.value("document.querySelector('#accounts button').focus()")
    await tab.press("Enter")
    await tab.until("document.activeElement.id === 'account-heading'")
    unlabelled = "[...document.querySelectorAll('input')].filter((one) => !one.labels.length).length"
    assert await tab.value(unlabelled) == 0


async def test_it_fits_a_phone(tab: Tab, url: str, bank: Caller) -> None:
    _, one, _ = await shown(tab, url, bank)
    await tab.resize(PHONE, 740)
    await bank.accounts.Withdraw(accounts.WithdrawRequest(account_id=one, amount=usd("3"), description="x" * 100))
    await tab.value("document.querySelector('#accounts button').click()")
    await tab.until("document.querySelectorAll('#movements tbody tr').length === 2")
    assert await tab.value("document.documentElement.scrollWidth") <= PHONE


async def test_a_token_is_kept_nowhere(tab: Tab, url: str, bank: Caller) -> None:
    owner_id = (await bank.register()).person.person_id
    await tab.open(url)
    await tab.value("document.getElementById('owner').focus()")
    await tab.type(owner_id)
    await tab.press("Tab")
    await tab.type("obk_secret")
    await tab.press("Enter")
    await tab.until("document.getElementById('status').textContent === 'Live'")
    kept = await tab.value(
        "JSON.stringify([localStorage.length, sessionStorage.length, document.cookie, location.href])"
    )
    assert kept == f'[0,0,"","{url}/"]'


async def test_a_screen_reader_reads_a_refusal(tab: Tab, url: str) -> None:
    await tab.open(url)
    await tab.value("document.getElementById('owner').focus()")
    await tab.type("no body")
    await tab.press("Enter")
    await tab.until("!document.getElementById('trouble').hidden")
    assert "INVALID_ID" in await tab.value("document.querySelector('[role=alert]').textContent")


def test_the_page_knows_the_contract() -> None:
    assert schema.FILE.read_text() == schema.schema(), "run: python -m tests.web.schema"
