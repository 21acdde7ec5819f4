"""What may stand in a field: values that are right, values at the edges of right, and values that nobody sends."""

from __future__ import annotations

import unicodedata
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Container, Mapping, Sequence
from hashlib import blake2b
from random import Random
from struct import pack
from typing import Any
from uuid import UUID
from zlib import crc32

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.duration_pb2 import Duration

from openbank.common.v1.money_pb2 import Money

KEPT = 200
"""How many ids and how many tokens are kept: enough to meet them again."""

INTEGERS = (0, 1, 2, -1, 50, 999_999_999, 10**9, 2**31 - 1, 2**31, -(2**31), 2**53 - 1, 2**53, 2**63 - 1, -(2**63))
LENGTHS = (1, 19, 20, 21, 33, 34, 35, 64, 65, 99, 100, 101, 128, 200, 201, 254, 255, 500, 501, 4_096, 70_000)
"""At the limits of fields, beside them, and beyond all."""

STRANGE_TEXTS = (
    " ", "\0", "a\0b", "\x1b[31mred", "line\x0aline", "\x0d\x0a\x0d\x0a", "\x7f", "\x85", "\u2028", "\u2029",
    "\ufeff", "\ufffe", "\U0010ffff", "\ue000", "\u0378", "e\u0301", "\u202eright to left", "\u2066isolated\u2069",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
    "\U0001d518\U0001d52b\U0001d526\U0001d520\U0001d52c\U0001d521\U0001d522", "\ufdfa", "\u03a9",
    "\uff46\uff55\uff4c\uff4c", "\u200b", "\u2800", "\u3164", "\u0301", "\U000e0041", "a\tb", "12\u00a034",
    "1-2\u202f3", str(UUID(int=0)), str(UUID(int=2**128 - 1)),
    "%s%n", "{0.__class__}", "'; DROP TABLE persons; --", "../../etc/passwd",
    "$where", "$set", "null", "NaN", "-0", "1e400", "<script>", "\0" * 64,
)  # fmt: skip
STRANGE_BYTES = (
    b"\xff",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\xf4\x90\x80\x80",
    b"ab\xc3",
    b"\x80",
    b"\xf8\x88\x80\x80\x80",
)
"""No UTF-8: a surrogate, overlong forms, beyond the last code point, cut short."""


def _classes() -> dict[str, str]:
    """Some characters of every general category that Unicode has, but for surrogates, which no text can hold."""
    found: dict[str, str] = {}
    for number in range(0x110000):
        category = unicodedata.category(chr(number))
        if category != "Cs" and (len(found.get(category, "")) < 300 or not number % 997):
            found[category] = found.get(category, "") + chr(number)
    return found


UNICODE = _classes()

CENT = Money(currency_code="USD", nanos=10_000_000).SerializeToString() + b"\x10\x00"
"""With its units, 0, written out: an amount that is there twice is merged, field by field."""


class Values:
    """Values for fields, from what the bank has told so far."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self.persons = ["nobody"]
        self.accounts = ["nobodys"]
        self.numbers = ["1"]
        self.holds = [str(UUID(int=7))]
        self.held: dict[str, str] = {}
        """The account of each hold."""
        self.moved: list[tuple[str, int]] = []
        """Accounts, and revisions at which money may have moved."""
        self.in_usd: list[str] = []
        """Accounts with money."""
        self.transfers = [str(UUID(int=7))]
        self.tokens = [""]
        self.page_tokens = [""]
        self.requests = [str(UUID(int=7))]
        self._bank = (bytes(16), bytes(16))

    def learn(self, answer: Any) -> None:
        """Ids and tokens of an answer, to be sent later."""
        kept = {"person": self.persons, "account": self.accounts, "hold": self.holds, "transfer": self.transfers}
        for name, ids in kept.items():
            if name in answer.DESCRIPTOR.fields_by_name:
                made = getattr(answer, name)
                self._keep(ids, getattr(made, f"{name}_id"))
                if name == "account":
                    self._keep(self.numbers, made.account_number)
        if "hold" in answer.DESCRIPTOR.fields_by_name and answer.hold.hold_id:
            self.held[answer.hold.hold_id] = answer.hold.account_id
        if "account" in answer.DESCRIPTOR.fields_by_name:
            account = answer.account
            if account.revision > 1:
                self.moved = [*self.moved[-20:], (account.account_id, account.revision)]
            if account.available_balance.currency_code == "USD" and account.available_balance.units > 0:
                self._keep(self.in_usd, account.account_id)
        for name in ("consistency_token", "resume_token"):
            if name in answer.DESCRIPTOR.fields_by_name:
                self._keep(self.tokens, getattr(answer, name))
        if "next_page_token" in answer.DESCRIPTOR.fields_by_name:
            self._keep(self.page_tokens, answer.next_page_token)

    def _keep(self, kept: list[str], value: str) -> None:
        if not value:
            return
        if value in kept:
            return
        if len(kept) >= KEPT:
            del kept[self._random.randrange(KEPT)]
        kept.append(value)

    def fitting(self, names: Container[str]) -> Mapping[str, str | bytes | int]:
        """Values that fit one another, for some of the fields with these names: a hold and its account, two accounts
        and money that one of them has, an account and its movement. Chosen one by one, they would hardly ever meet."""
        if "allow_overdraw" in names and "revision" in names and self.moved:
            account_id, revision = self._random.choice(self.moved)
            return {"account_id": account_id, "revision": revision, "description": ""}
        if "source_account_id" in names and len(self.in_usd) > 1:
            source, destination = self._random.sample(self.in_usd, 2)
            ends = {"source_account_id": source, "destination_account_id": destination}
            return {**ends, "amount": CENT, "hold_id": "", "description": ""}
        if "ttl" in names and self.in_usd:
            hour = Duration(seconds=3_600).SerializeToString()
            return {"account_id": self._random.choice(self.in_usd[-8:]), "amount": CENT, "ttl": hour}
        if "amount" in names and "account_id" in names and "hold_id" not in names and self.in_usd:
            return {"account_id": self._random.choice(self.in_usd[-8:]), "amount": CENT, "description": ""}
        empty = [account_id for account_id in self.accounts[-20:] if account_id not in self.in_usd]
        if "reason" in names and "state" not in names and empty:
            return {"account_id": self._random.choice(empty), "reason": ""}
        # Of the last ones, few have ended.
        hold_id = self._random.choice(self.holds[-4:])
        if "hold_id" in names and "account_id" in names and hold_id in self.held:
            return {"account_id": self.held[hold_id], "hold_id": hold_id}
        return {}

    def right(self, field: FieldDescriptor) -> Any:
        """A value that is likely to be taken; by the field's name, and by its type where the name says nothing."""
        known = self._known(field.name)
        if known is not None:
            return self._random.choice(known)
        if field.enum_type is not None:
            return self._random.choice([value.number for value in field.enum_type.values])
        if field.type == FieldDescriptor.TYPE_STRING:
            return self._random.choice(("", "John", "Springfield", "a text", "Zoë"))
        return self._random.choice((0, 1))

    def _known(self, name: str) -> Sequence[Any] | None:
        match name:
            case "person_id" | "person_ids":
                return [self._random.choice(self.persons), self._fresh(), ""]
            case "owner_id" | "owner_ids":
                return self.persons
            case "account_id":
                # Without one an account is opened. Of the last ones, few are closed yet.
                return [*self.accounts[-8:], self._random.choice(self.accounts), self._random.choice(self.accounts), ""]
            case "account_ids" | "source_account_id" | "destination_account_id":
                return self.accounts
            case "hold_id":
                return [self._random.choice(self.holds), ""]
            case "transfer_id":
                return self.transfers
            case "account_number" | "destination_account_number":
                return [self._random.choice(self.numbers), *(self._fresh() for _ in range(3))]
            case "request_id":
                return ["", self._random.choice(self.requests), self._new_request()]
            case "consistency_token" | "resume_token":
                return [self._random.choice(self.tokens), ""]
            case "page_token":
                return [self._random.choice(self.page_tokens), ""]
            case "currency_code":
                return ("USD", "USD", "USD", "JPY", "KWD", "")
        return _RIGHT.get(name)

    def _fresh(self) -> str:
        return f"n-{self._random.getrandbits(40):x}"

    def _new_request(self) -> str:
        made = str(UUID(int=self._random.getrandbits(128)))
        self._keep(self.requests, made)
        return made

    def wrong(self, field: FieldDescriptor) -> Any:
        """A value at an edge, or of another field, or that nobody sends: bytes, text or a whole number."""
        if field.type == FieldDescriptor.TYPE_STRING:
            return self._random.choice((self._strange, self._strange, self._long, self._of_a_class, self._forged))()
        return self._random.choice((*INTEGERS, self._random.getrandbits(64) - 2**63))

    def _strange(self) -> str | bytes:
        return self._random.choice(STRANGE_TEXTS + STRANGE_BYTES)

    def _long(self) -> str:
        character = self._random.choice(("x", "9", "é", "😀", " ", "\0", "-"))
        return character * self._random.choice(LENGTHS)

    def _of_a_class(self) -> str:
        characters = self._random.choice(list(UNICODE.values()))
        return "a" + "".join(self._random.choices(characters, k=self._random.randint(1, 30))) + "z"

    def _forged(self) -> str | bytes:
        """A token, or what looks like one: damaged, or made by somebody who has read how they are made."""
        known = self._random.choice(self.tokens + self.page_tokens)
        if known and self._random.random() < 0.3:
            at = self._random.randrange(len(known))
            return known[:at] + self._random.choice("AB_-=%\0") + known[at + self._random.randint(0, 1) :]
        if known and self._random.random() < 0.3:
            return known[: self._random.randrange(len(known))] * self._random.choice((1, 2))
        return self._random.choice((self._token, self._page_token))()

    def _token(self) -> str:
        """With a checksum that is right, and a place that may be anywhere."""
        bank, store = self._ids()
        stream = self._random.choice(
            (b"", b"account-", b"account-nobodys", b"person-\0", b"\xff", b"$all", b"x" * 9_000)
        )
        head = pack(">B16s16sqq", self._version(), bank, store, self._place(), self._place()) + stream
        known = self._random.choice(self.tokens)
        if known and self._random.random() < 0.5:
            # Of this bank, by what is not sealed in a token; the rest is not what it has sealed.
            head = _bytes(known)[:9] + self._random.randbytes(self._random.choice((0, 1, 15, 16, 17, 128, 9_000)))
        return _text(head + pack(">I", crc32(head)))

    def _page_token(self) -> str:
        """With a hash that is right, for a list that there may be."""
        bank, store = self._ids()
        name = self._random.choice(("persons", "accounts", "account events"))
        of = "" if name == "persons" else self._random.choice(self.persons if name == "accounts" else self.accounts)
        packed = pack(">Bqq", self._version(), self._place(), self._place())
        words = "\0".join((name, of, bank.hex(), store.hex())).encode()
        return _text(packed + blake2b(packed + words, digest_size=8).digest())

    def _ids(self) -> tuple[bytes, bytes]:
        """The ids of this bank and its store, from a token; now and then another's."""
        known = self._random.choice(self.tokens)
        raw = _bytes(known) if known else bytes(33)
        bank, store = raw[1:17], raw[17:33]
        return bank, self._random.choice((store, store, bytes(16)))

    def _version(self) -> int:
        return self._random.choice((1, 1, 1, 1, 0, 2, 255))

    def _place(self) -> int:
        """Seldom far ahead: a query waits for such a place, for seconds."""
        ahead = self._random.random() < 0.02
        return (
            self._random.choice((2**63 - 1, 2**62, 10**9)) if ahead else self._random.choice((0, 1, 2, 3, -1, -(2**63)))
        )


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


_RIGHT: dict[str, Sequence[Any]] = {
    "external_reference": ("order 7", "Zoë"),
    "key": ("shop", "till", "a.b-c_d", "0", *map(str, range(1, 20))),
    "validate_only": (0, 0, 0, 1),
    "first_name": ("John", "Zoë", "李"),
    "last_name": ("Doe", "O'Neill"),
    "street": ("1 Main Street",),
    "city": ("Springfield",),
    "country": ("US",),
    "gender": (1, 2, 3),
    "year": (1980, 2000),
    "month": (1, 12),
    "day": (1, 28),
    "units": (1, 1, 2, 2, 10, 100, 2**63 - 1),
    "state": (2, 4, 5),
    "time_zone": ("", "UTC", "Pacific/Auckland"),
    "nanos": (0, 0, 0, 500_000_000),
    "seconds": (1, 15, 1_700_000_000),
    "expected_revision": (1, 2),
    "revision": (1, 2, 3),
    "page_size": (0, 1, 2, 10),
    "event_types": (1, 2),
    "stop_when_caught_up": (1,),
    "service": ("", "openbank.accounts.v1.AccountsService", "grpc.health.v1.Health"),
    "file_containing_symbol": ("openbank.accounts.v1.AccountsService", "openbank.common.v1.Money"),
    "file_by_filename": ("openbank/accounts/v1/account.proto",),
}
