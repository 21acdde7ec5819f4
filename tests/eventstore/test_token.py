"""Tokens: one opaque string for "all of the log up to here", in this store and in every copy of it."""

from __future__ import annotations

import base64
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbank.eventstore.port import BEGINNING, NO_STREAM, LogPosition
from openbank.eventstore.token import InvalidToken, Tokens
from tests.eventstore.memory import MemoryStore, new_events

# Never change it: clients keep tokens for as long as they like.
GOLDEN = (
    "AbCwsLCwsLCwsLCwsLCwsLBQUFBQUFBQUFBQUFBQUFBQAAAAAAAS1ocAAAAAAAAAEWFjY291bnQt"
    "NmYxYzFmNmUtNWQwYy00YTUzLTlmM2ItMGQzZjdmMWMyYjNhZ9NLFg"
)
PLACE = LogPosition(1_234_567, "account-6f1c1f6e-5d0c-4a53-9f3b-0d3f7f1c2b3a", 17)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def test_a_token_is_what_it_always_was(store: MemoryStore) -> None:
    assert Tokens(store).encode(PLACE) == GOLDEN


async def test_a_token_means_what_it_always_meant(store: MemoryStore) -> None:
    assert await Tokens(store).decode(GOLDEN) == PLACE


@given(st.integers(0, 2**63 - 1), st.text("ABCxyz019_-", max_size=80), st.integers(0, 2**63 - 1))
async def test_a_token_is_its_place_and_back(position: int, stream: str, revision: int) -> None:
    tokens = Tokens(MemoryStore())
    token = tokens.encode(LogPosition(position, stream, revision))
    assert token.isascii()
    assert token.replace("-", "").replace("_", "").isalnum()
    assert await tokens.decode(token) == LogPosition(position, stream, revision)


async def refusal(store: MemoryStore, token: str) -> str:
    with pytest.raises(InvalidToken) as refused:
        await Tokens(store).decode(token)
    return refused.value.reason


async def test_a_token_of_another_bank_is_refused(store: MemoryStore) -> None:
    other = MemoryStore()
    other.bank_id = "ba" * 16
    assert await refusal(store, Tokens(other).encode(PLACE)) == "TOKEN_OF_ANOTHER_BANK"


async def test_a_token_of_a_copy_is_the_same_event_at_its_place_here(store: MemoryStore) -> None:
    copy = MemoryStore(step=10)
    copy.store_id = "c0" * 16
    await store.append("account-0", NO_STREAM, new_events(3))
    for stream in ("account-1", "account-2"):
        events = new_events()
        await store.append(stream, NO_STREAM, events)
        await copy.append(stream, NO_STREAM, events)
    theirs = await copy.head()
    here = await Tokens(store).decode(Tokens(copy).encode(theirs))
    assert here == await store.head()
    assert here.position != theirs.position


async def test_a_token_of_a_copy_that_has_more_is_refused(store: MemoryStore) -> None:
    copy = MemoryStore()
    copy.store_id = "c0" * 16
    assert await refusal(store, Tokens(copy).encode(PLACE)) == "TOKEN_OF_ANOTHER_STORE"


async def test_the_beginning_is_the_same_in_every_copy(store: MemoryStore) -> None:
    copy = MemoryStore()
    copy.store_id = "c0" * 16
    assert await Tokens(store).decode(Tokens(copy).encode(BEGINNING)) == BEGINNING


@pytest.mark.parametrize(
    "token",
    ["", "x", "....", GOLDEN[:3], "ä", "=", "A" * 100, "\0", " " * 80, "A" * 10_000],
)
async def test_what_is_no_token_is_refused(store: MemoryStore, token: str) -> None:
    assert await refusal(store, token) == "INVALID_TOKEN"


@given(st.text(max_size=200))
async def test_no_text_is_a_token_by_chance(text: str) -> None:
    assert await refusal(MemoryStore(), text) == "INVALID_TOKEN"


@given(st.integers(0, len(GOLDEN) - 2), st.characters(codec="ascii"))
async def test_a_token_changed_by_mistake_is_refused(at: int, character: str) -> None:
    changed = GOLDEN[:at] + character + GOLDEN[at + 1 :]
    if changed != GOLDEN and changed.translate(str.maketrans("+/", "-_")) != GOLDEN:
        assert await refusal(MemoryStore(), changed) == "INVALID_TOKEN"


@given(st.integers(1, len(GOLDEN)))
async def test_a_token_cut_short_is_refused(length: int) -> None:
    assert await refusal(MemoryStore(), GOLDEN[:-length]) == "INVALID_TOKEN"


@pytest.mark.parametrize(
    ("version", "position", "revision", "stream"),
    [(2, 1, 1, b"account-1"), (1, -1, 1, b"account-1"), (1, 1, -1, b"account-1"), (1, 1, 1, b"account-\xff")],
    ids=["of a newer version", "before the beginning", "of no revision", "of no text"],
)
async def test_a_token_made_by_hand_gets_no_further(
    store: MemoryStore, version: int, position: int, revision: int, stream: bytes
) -> None:
    bank, here = bytes.fromhex(store.bank_id), bytes.fromhex(store.store_id)
    head = struct.pack(">B16s16sqq", version, bank, here, position, revision) + stream
    token = base64.urlsafe_b64encode(head + struct.pack(">I", zlib.crc32(head))).rstrip(b"=").decode()
    assert await refusal(store, token) == "INVALID_TOKEN"
