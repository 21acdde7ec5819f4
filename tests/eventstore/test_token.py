"""Tokens: one opaque string for "all of the log up to here", in this store and in every copy of it."""

from __future__ import annotations

import base64
import itertools
import random
import struct
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openbank.eventstore.port import BEGINNING, NO_STREAM, LogPosition
from openbank.eventstore.seal import TokenKey
from openbank.eventstore.token import InvalidToken, Tokens
from tests.eventstore.memory import MemoryStore, new_events
from tests.tokens import open_token

# Never change them: clients keep tokens for as long as they like.
GOLDEN_OPEN = (
    "AbCwsLCwsLCwsLCwsLCwsLBQUFBQUFBQUFBQUFBQUFBQAAAAAAAS1ocAAAAAAAAAEWFjY291bnQt"
    "NmYxYzFmNmUtNWQwYy00YTUzLTlmM2ItMGQzZjdmMWMyYjNhZ9NLFg"
)
GOLDEN = (
    "ApNGQ5Z9wq0O86VHXPWVMZOKIWqXcoH5ZCVhWdDXVMyQmFL5OSczCW4cx7zquWdSbD9bL4dIcsAK"
    "A4FBmUk3QLetw_46fn8n60GxuCyYnoUk6e3xsOX-9eVHYEdGhsWDvBrtTOLSXbix-M3TW6Ng-TWo"
    "sKJukhVjz4qv7RoX6KU8CDB48CtDp9VIQGZi"
)
PLACE = LogPosition(1_234_567, "account-6f1c1f6e-5d0c-4a53-9f3b-0d3f7f1c2b3a", 17)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def test_the_bytes_of_a_token_never_change(store: MemoryStore) -> None:
    assert Tokens(store).encode(PLACE) == GOLDEN


@pytest.mark.parametrize("token", [GOLDEN, GOLDEN_OPEN])
async def test_the_meaning_of_a_token_never_changes(store: MemoryStore, token: str) -> None:
    assert await Tokens(store).decode(token) == PLACE


async def test_a_caller_limited_to_sealed_tokens_cannot_use_another(store: MemoryStore) -> None:
    assert await Tokens(store).decode(GOLDEN, sealed_only=True) == PLACE
    with pytest.raises(InvalidToken) as refused:
        await Tokens(store).decode(GOLDEN_OPEN, sealed_only=True)
    assert refused.value.reason == "INVALID_TOKEN"


async def test_a_token_used_by_others_is_refused_to_a_caller_limited_to_sealed_tokens(
    store: MemoryStore,
) -> None:
    tokens = Tokens(store)
    assert await tokens.decode(GOLDEN_OPEN) == PLACE
    with pytest.raises(InvalidToken):
        await tokens.decode(GOLDEN_OPEN, sealed_only=True)


def test_a_token_shows_nothing_of_its_place(store: MemoryStore) -> None:
    tokens = Tokens(store)
    at = [
        LogPosition(1, "account-1", 1),
        LogPosition(2, "account-1", 2),
        LogPosition(2**40, "person-" + 64 * "p", 2**40),
        LogPosition(3, "number-" + 34 * "7", 1),
        BEGINNING,
    ]
    raws = [base64.urlsafe_b64decode(tokens.encode(place)) for place in at]
    # They have one length, and what is equal in two of them is what stands for the bank.
    assert {len(raw) for raw in raws} == {141}
    for one, other in itertools.combinations(raws, 2):
        assert one[:9] == other[:9]
        assert sum(a == b for a, b in zip(one[9:], other[9:], strict=True)) < 12
    for raw, place in zip(raws, at, strict=True):
        assert not any(part in raw for part in (b"account", b"person", b"number", bytes.fromhex(store.store_id)))
        assert not place.stream or place.stream.encode() not in raw


def test_a_token_shows_no_key_where_it_is_printed(store: MemoryStore) -> None:
    tokens = Tokens(store)
    # Once may be an address.
    assert "5e5e" not in f"{store.token_key} {store.token_key!r} {tokens!r} {tokens.seal!r} {vars(tokens)}"


async def test_a_bank_seals_once_no_older_instance_runs_beside_it(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1_000.0)
    store.token_key = store.token_key._replace(seal_from=1_060)
    tokens = Tokens(store)
    assert tokens.encode(PLACE) == GOLDEN_OPEN
    assert Tokens(store, seal_at_once=True).encode(PLACE) == GOLDEN
    assert await tokens.decode(GOLDEN) == PLACE
    monkeypatch.setattr(time, "time", lambda: 1_060.0)
    assert tokens.encode(PLACE) == GOLDEN


async def test_a_log_without_a_key_gives_open_tokens_and_reads_no_sealed_ones(store: MemoryStore) -> None:
    store.token_key = TokenKey()
    assert Tokens(store).encode(PLACE) == GOLDEN_OPEN
    assert await refusal(store, GOLDEN) == "INVALID_TOKEN"


async def test_no_flipped_bit_gives_another_error_or_another_place(store: MemoryStore) -> None:
    """Also with a checksum that is right, as somebody makes it who knows the format."""
    tokens, rng = Tokens(store), random.Random(7)
    for number in range(10_000):
        raw = bytearray(base64.urlsafe_b64decode(GOLDEN if number % 4 else GOLDEN_OPEN + "=="))
        for _ in range(rng.choice((1, 1, 2, 8))):
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
        if number % 2 and raw[0] != 1:
            raw[-4:] = struct.pack(">I", zlib.crc32(raw[:-4]))
        token = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
        if token == GOLDEN:
            continue
        with pytest.raises(InvalidToken) as refused:
            await tokens.decode(token)
        assert refused.value.reason in {"INVALID_TOKEN", "TOKEN_OF_ANOTHER_BANK"}


async def test_a_page_token_is_not_accepted_as_another_token(store: MemoryStore) -> None:
    tokens = Tokens(store)
    sealed = tokens.seal.seal(bytes(16), [b"persons"])
    raw = tokens._head + sealed
    token = base64.urlsafe_b64encode(raw + struct.pack(">I", zlib.crc32(raw))).rstrip(b"=").decode()
    assert await refusal(store, token) == "INVALID_TOKEN"


@given(st.integers(0, 2**63 - 1), st.text("ABCxyz019_-ä", max_size=160), st.integers(0, 2**63 - 1))
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
    assert await refusal(store, open_token(other.bank_id, other.store_id, PLACE)) == "TOKEN_OF_ANOTHER_BANK"


async def test_a_token_of_another_key_is_refused(store: MemoryStore) -> None:
    other = MemoryStore()
    other.token_key = TokenKey.new()
    assert await refusal(store, Tokens(other).encode(PLACE)) == "INVALID_TOKEN"


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
async def test_anything_but_a_token_is_refused(store: MemoryStore, token: str) -> None:
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
    [
        (3, 1, 1, b"account-1"),
        (1, -1, 1, b"account-1"),
        (1, 1, -1, b"account-1"),
        (1, 1, 1, b"account-\xff"),
    ],
    ids=["of a newer version", "before the beginning", "of no revision", "of no text"],
)
async def test_a_forged_open_token_is_refused(
    store: MemoryStore, version: int, position: int, revision: int, stream: bytes
) -> None:
    bank, here = bytes.fromhex(store.bank_id), bytes.fromhex(store.store_id)
    head = struct.pack(">B16s16sqq", version, bank, here, position, revision) + stream
    token = base64.urlsafe_b64encode(head + struct.pack(">I", zlib.crc32(head))).rstrip(b"=").decode()
    assert await refusal(store, token) == "INVALID_TOKEN"
