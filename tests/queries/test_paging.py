"""Lists come in pages that do not change while the bank continues to write."""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openbank.domain.errors import InvalidFields
from openbank.domain.fields import Fields
from openbank.eventstore.seal import NO_SEAL, Seal, TokenKey
from openbank.queries import accounts, persons
from openbank.queries.paging import (
    PAGE_SIZE_DEFAULT,
    PAGE_SIZE_MAX,
    SLICE,
    Listing,
    ListPage,
    PageRequest,
    in_slices,
    read_page_request,
)
from openbank.queries.reader import Reader, ViewBehind
from openbank.views.port import LogId
from openbank.views.sqlite import SqliteViews
from tests.eventstore.memory import MemoryStore
from tests.views.histories import LOG, History, project_events, project_log


class Asked(NamedTuple):
    """As the caller sends it."""

    size: int = 0
    token: str = ""


GetPage = Callable[[Asked], Awaitable[ListPage[Any]]]


async def list_persons(reader: Reader, asked: Asked) -> ListPage[Any]:
    return await persons.list_persons(reader, read(persons.persons_listing(reader), asked))


async def list_accounts_by_owner(reader: Reader, owner_id: str, asked: Asked) -> ListPage[Any]:
    page = read(accounts.accounts_listing(reader, owner_id), asked)
    return await accounts.list_accounts_by_owner(reader, owner_id, page)


async def list_account_events(reader: Reader, account_id: str, asked: Asked) -> ListPage[Any]:
    page = read(accounts.account_events_listing(reader, account_id), asked)
    return await accounts.list_account_events(reader, account_id, page)


def read(listing: Listing, asked: Asked) -> PageRequest:
    fields = Fields()
    page = read_page_request(fields, listing, asked.size, asked.token)
    fields.check()
    return page


@pytest.fixture
def history() -> History:
    return History(MemoryStore())


@pytest.fixture
async def views(tmp_path: Path) -> AsyncIterator[SqliteViews]:
    views = SqliteViews(tmp_path)
    await views.clear(LOG)
    yield views
    await views.close()


@pytest.fixture(params=["sealed", "open"])
def seal(request: pytest.FixtureRequest) -> Seal:
    return Seal(TokenKey.new()) if request.param == "sealed" else NO_SEAL


@pytest.fixture
async def reader(views: SqliteViews, history: History, seal: Seal) -> Reader:
    """Ann has 130 accounts, bob has one; the account "0" has 130 events."""
    await history.register("ann")
    await history.register("bob")
    for number in range(130):
        await history.open(str(number), "ann")
    await history.open("bobs", "bob")
    for _ in range(129):
        await history.deposit("0")
    await project_log(views, history)
    return Reader(views, history.store.head, wait_seconds=5, seal=seal)


async def all_pages(get: GetPage, size: int) -> list[ListPage[Any]]:
    pages = [await get(Asked(size))]
    while pages[-1].next_page_token:
        pages.append(await get(Asked(size, pages[-1].next_page_token)))
    return pages


@pytest.mark.parametrize(("size", "sizes"), [(0, [50, 50, 30]), (65, [65, 65]), (129, [129, 1]), (1000, [130])])
async def test_pages_follow_one_another_to_the_end(
    reader: Reader, history: History, size: int, sizes: list[int]
) -> None:
    pages = await all_pages(lambda page: list_accounts_by_owner(reader, "ann", page), size)
    assert [len(page.items) for page in pages] == sizes
    ids = [row.resource.state.account_id for page in pages for row in page.items]
    assert ids == [str(number) for number in range(130)]
    pages = await all_pages(lambda page: list_account_events(reader, "0", page), size)
    assert [len(page.items) for page in pages] == sizes
    assert [event.revision for page in pages for event in page.items] == list(range(130, 0, -1))


async def test_a_size_is_fifty_by_default_and_a_thousand_at_most(views: SqliteViews, history: History) -> None:
    for number in range(PAGE_SIZE_MAX + 1):
        await history.register(f"p{number}")
    await project_log(views, history)
    reader = Reader(views, history.store.head, wait_seconds=5)
    assert len((await list_persons(reader, Asked())).items) == PAGE_SIZE_DEFAULT
    page = await list_persons(reader, Asked(PAGE_SIZE_MAX + 1))
    assert len(page.items) == PAGE_SIZE_MAX
    assert page.next_page_token


async def test_a_list_is_the_same_however_it_is_paged(reader: Reader) -> None:
    small, large = Asked(3), Asked(7)
    first = await list_accounts_by_owner(reader, "ann", small)
    second = await list_accounts_by_owner(reader, "ann", large._replace(token=first.next_page_token))
    ids = [row.resource.state.account_id for page in (first, second) for row in page.items]
    assert ids == [str(number) for number in range(10)]


async def test_rows_that_are_added_neither_shift_nor_repeat_any(
    reader: Reader, views: SqliteViews, history: History
) -> None:
    opened = await list_accounts_by_owner(reader, "ann", Asked(100))
    events = await list_account_events(reader, "0", Asked(100))
    await history.open("new", "ann")
    await history.deposit("0")
    await project_log(views, history)
    rest = await list_accounts_by_owner(reader, "ann", Asked(100, opened.next_page_token))
    assert [row.resource.state.account_id for row in rest.items] == [*(str(n) for n in range(100, 130)), "new"]
    older = await list_account_events(reader, "0", Asked(100, events.next_page_token))
    assert [event.revision for event in older.items] == list(range(30, 0, -1))


async def test_a_page_is_never_older_than_the_one_before_it(
    reader: Reader, views: SqliteViews, history: History, tmp_path: Path
) -> None:
    """It may come from another instance, whose views are behind."""
    first = await list_accounts_by_owner(reader, "ann", Asked(100))
    (tmp_path / "other").mkdir()
    behind = SqliteViews(tmp_path / "other")
    await behind.clear(LOG)
    other = Reader(behind, history.store.head, wait_seconds=0.01, seal=reader.seal)
    second = Asked(100, first.next_page_token)
    events = await history.events()
    await project_events(behind, events[:120])
    assert len((await list_accounts_by_owner(other, "ann", Asked(1000))).items) == 118
    with pytest.raises(ViewBehind):
        await list_accounts_by_owner(other, "ann", second)
    asking = asyncio.create_task(list_accounts_by_owner(other._replace(wait_seconds=5), "ann", second))
    await project_log(behind, history)
    page = await asking
    assert len(page.items) == 30
    assert page.place == first.place
    await behind.close()


async def test_a_page_has_the_place_of_the_views(reader: Reader, history: History) -> None:
    page = await list_persons(reader, Asked(1))
    assert page.place == await history.store.head()


async def test_a_negative_size_is_refused(reader: Reader) -> None:
    with pytest.raises(InvalidFields) as refused:
        await list_persons(reader, Asked(-1))
    assert [(v.field, v.reason) for v in refused.value.violations] == [("page_size", "INVALID_PAGE_SIZE")]


async def test_all_faults_are_reported_at_once(reader: Reader) -> None:
    with pytest.raises(InvalidFields) as refused:
        await list_persons(reader, Asked(-1, "nonsense"))
    assert [v.reason for v in refused.value.violations] == ["INVALID_PAGE_SIZE", "INVALID_PAGE_TOKEN"]


async def test_a_token_is_of_its_own_list_only(reader: Reader, views: SqliteViews, history: History) -> None:
    anns = (await list_accounts_by_owner(reader, "ann", Asked(1))).next_page_token
    registered = (await list_persons(reader, Asked(1))).next_page_token
    events = (await list_account_events(reader, "0", Asked(1))).next_page_token
    await refuses(list_accounts_by_owner(reader, "bob", Asked(1, anns)))
    await refuses(list_accounts_by_owner(reader, "ann", Asked(1, registered)))
    await refuses(list_account_events(reader, "1", Asked(1, events)))
    await refuses(list_persons(reader, Asked(1, anns)))
    await refuses(list_persons(reader, Asked(1, events)))


async def test_a_token_is_of_its_own_log_only(reader: Reader, views: SqliteViews, history: History) -> None:
    token = (await list_persons(reader, Asked(1))).next_page_token
    await views.clear(LogId(LOG.bank_id, "ff" * 16))
    await project_log(views, history)
    await refuses(list_persons(reader, Asked(1, token)))


async def test_a_token_from_before_tokens_were_sealed_still_leads_to_the_next_page(reader: Reader) -> None:
    sealing = reader._replace(seal=Seal(TokenKey.new()))
    first = await list_persons(reader._replace(seal=NO_SEAL), Asked(1))
    asked = Asked(1, first.next_page_token)
    second = await list_persons(sealing, asked)
    assert [person.state.person_id for page in (first, second) for person in page.items] == ["ann", "bob"]
    # A caller who must have a sealed token cannot use it.
    fields = Fields()
    strict = sealing._replace(seal=sealing.seal.only())
    read_page_request(fields, persons.persons_listing(strict), 1, asked.token)
    with pytest.raises(InvalidFields, match="is not a next_page_token"):
        fields.check()


async def test_no_flipped_bit_of_a_sealed_token_is_another_place(reader: Reader) -> None:
    listing = persons.persons_listing(reader._replace(seal=Seal(TokenKey.new())))
    token = (await list_persons(reader._replace(seal=listing.seal), Asked(1))).next_page_token
    rng = random.Random(7)
    for _ in range(10_000):
        raw = bytearray(base64.urlsafe_b64decode(token))
        raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        fields = Fields()
        page = read_page_request(fields, listing, 1, base64.urlsafe_b64encode(raw).decode())
        assert page.after is None
        with pytest.raises(InvalidFields):
            fields.check()


async def test_a_sealed_token_of_another_bank_is_refused(reader: Reader) -> None:
    one, other = (reader._replace(seal=Seal(TokenKey.new())) for _ in range(2))
    token = (await list_persons(one, Asked(1))).next_page_token
    await refuses(list_persons(other, Asked(1, token)))


@given(data=st.data())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_token_that_was_changed_or_cut_is_refused(reader: Reader, data: st.DataObject) -> None:
    token = (await list_persons(reader, Asked(1))).next_page_token
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    if data.draw(st.booleans(), label="cut"):
        changed = token[: data.draw(st.integers(1, len(token) - 1))]
    else:
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
        changed = base64.urlsafe_b64encode(bytes(raw)).rstrip(b"=").decode()
    await refuses(list_persons(reader, Asked(1, changed)))


@given(token=st.text(min_size=1))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_anything_but_a_token_is_refused(reader: Reader, token: str) -> None:
    await refuses(list_persons(reader, Asked(1, token)))


async def refuses(query: Awaitable[ListPage[Any]]) -> None:
    with pytest.raises(InvalidFields) as refused:
        await query
    assert [v.reason for v in refused.value.violations] == ["INVALID_PAGE_TOKEN"]


async def test_a_long_page_is_read_slice_by_slice_so_that_others_have_their_turn(reader: Reader) -> None:
    turns = 0

    async def turn() -> None:
        nonlocal turns
        turns += 1

    reader = reader._replace(turn=turn)
    short = await list_accounts_by_owner(reader, "ann", Asked(50))
    assert (len(short.items), turns) == (50, 0)
    long = await list_accounts_by_owner(reader, "ann", Asked(PAGE_SIZE_MAX))
    assert (len(long.items), turns) == (130, 2)
    pieces = [some async for some in in_slices(reader, long.items)]
    assert ([len(some) for some in pieces], turns) == ([100, 30], 3)


@pytest.mark.parametrize("size", [SLICE - 1, SLICE, SLICE + 1, 129, 130, 131])
async def test_pages_around_the_size_of_a_slice_hold_every_item_once(reader: Reader, size: int) -> None:
    opened = await all_pages(lambda page: list_accounts_by_owner(reader, "ann", page), size)
    assert [row.resource.state.account_id for page in opened for row in page.items] == [str(n) for n in range(130)]
    events = await all_pages(lambda page: list_account_events(reader, "0", page), size)
    assert [event.revision for page in events for event in page.items] == list(range(130, 0, -1))
