"""`openbank access`: keys for callers, and what an access file lets them do."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from openbank.access.file import load
from tests.servers import run_openbank

JWT = """
[[jwt]]
issuer = "https://id.example"
audience = "openbank"
jwks = "https://id.example/keys"
algorithms = ["RS256"]
roles_claim = "roles"
owner_claim = "person"
role_map = { client = "customer" }
"""
FILE = f"""
version = 1
[[key]]
name = "web"
id = "a1"
sha256 = "{"ab" * 32}"
roles = ["teller"]
[[key]]
name = "old"
id = "a2"
sha256 = "{"ab" * 32}"
roles = ["customer"]
expires = 2020-01-01T00:00:00Z
[[key]]
name = "app"
id = "a3"
sha256 = "{"ab" * 32}"
roles = ["customer"]
owner = "john"
[[certificate]]
dns = "*.internal.example"
roles = ["operator"]
{JWT}"""


def mode_of(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def content_of(file: Path) -> str:
    return file.read_text()


def write(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


@pytest.fixture
def access(tmp_path: Path) -> Path:
    return write(tmp_path / "access.toml", FILE)


async def test_a_new_key_is_printed_once_and_its_entry_is_that_of_a_file(tmp_path: Path) -> None:
    flags = ("--role", "customer", "--owner", "john", "--expires", "2099-01-01T00:00:00Z")
    code, entry, said = await run_openbank("access", "new-key", "web", *flags)
    assert code == 0
    key = said.removeprefix("the key, which is shown once: ").strip()
    assert key not in entry
    policy = load(write(tmp_path / "access.toml", f"version = 1\n{entry}"))
    [stored] = policy.keys.values()
    assert key.startswith(f"obk_{next(iter(policy.keys))}_")
    assert (stored.caller.name, stored.caller.roles, stored.caller.owner) == ("key:web", ("customer",), "john")


async def test_a_key_can_be_written_to_a_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    file = tmp_path / "web.key"
    code, _, said = await run_openbank("access", "new-key", "web", "--role", "teller", "--key-file", str(file))
    assert (code, said) == (0, "")
    assert (mode_of(file), content_of(file)[:4]) == (0o600, "obk_")
    code, out, said = await run_openbank("access", "new-key", "web", "--role", "teller", "--key-file", str(file))
    assert (code, out, said) == (2, "", f"openbank: {file} cannot be written: File exists\n")


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("a b", "--role", "teller"), "NAME must be 1 to 64"),
        (('x"', "--role", "teller"), "NAME must be 1 to 64"),
        (("web", "--role", 'a"]'), "--role must be 1 to 64"),
        (("web", "--role", "customer", "--owner", "a b"), "--owner must be the id"),
        (("web", "--role", "teller", "--expires", "tomorrow"), "--expires must be a time"),
        (("web", "--role", "teller", "--expires", "2027-01-01T00:00:00"), "--expires must be a time"),
        (("web", "--role", "teller", "--expires", "1\nroles = []"), "--expires must be a time"),
    ],
)
async def test_a_key_that_no_access_file_may_have_is_refused(flags: tuple[str, ...], why: str) -> None:
    code, out, said = await run_openbank("access", "new-key", *flags)
    assert (code, out) == (2, "")
    assert said.startswith(f"openbank: {why}")


async def test_a_check_of_a_file_warns_of_what_may_surprise(access: Path) -> None:
    code, out, _ = await run_openbank("access", "check", str(access))
    assert code == 0
    assert out.splitlines() == [
        f"{access} is good: 3 keys, 1 certificates, 1 issuers, 4 roles",
        "warning: [[certificate]]: the bank needs --tls-client-ca too",
        'warning: [[key]] "old": has expired',
        'warning: [[key]] "old": has a role for what it owns, and no owner: nothing is its own',
    ]
    write(access, "version = 1\n[[key]]\nname = 5\n[local]\n")
    code, out, _ = await run_openbank("access", "check", str(access))
    assert code == 1
    assert out.splitlines() == [
        f"{access}: [[key]] 1: name: must be 1 to 64 letters, digits, '.', '_' or '-'",
        f"{access}: [local]: roles: is required",
    ]


@pytest.mark.parametrize(
    ("who", "method", "code", "answer"),
    [
        ("key:web", ("Withdraw", "account-1"), 0, "yes"),
        ("key:web", ("openbank.accounts.v1.AccountsService/Withdraw",), 0, "yes"),
        ("key:web", ("CloseAccount",), 1, "no, none of its roles has the permission: PERMISSION_MISSING"),
        ("key:old", ("Withdraw",), 1, "no, its token has expired: TOKEN_EXPIRED"),
        ("key:app", ("Withdraw", "account-1"), 0, "yes, if account-1 belongs to john; else NOT_FOUND"),
        ("key:app", ("GetPerson", "john"), 0, "yes, it is its own person"),
        ("cert:db.internal.example", ("CloseAccount",), 0, "yes"),
        ("jwt:https://id.example|u-1", ("Withdraw",), 0, "yes, if the account belongs to mary; else NOT_FOUND"),
    ],
    ids=str,
)
async def test_an_answer_is_explained(
    access: Path, tmp_path: Path, who: str, method: tuple[str, ...], code: int, answer: str
) -> None:
    claims = write(tmp_path / "claims.json", json.dumps({"roles": ["client"], "person": "mary"}))
    flags = ("--claims", str(claims)) if who.startswith("jwt:") else ()
    done, out, said = await run_openbank("access", "explain", str(access), "--as", who, *flags, *method)
    assert (done, said) == (code, "")
    assert out.splitlines()[-1] == f"answer      {answer}"
    assert out.splitlines()[0].startswith(f"caller      {who.partition(':')[0]}:")


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--as", "key:nobody", "Withdraw"), "the access file has no entry for key:nobody"),
        (("--as", "someone", "Withdraw"), "--as must be key:NAME"),
        (("--as", "local", "Withdraw"), "the access file has no entry for local"),
        (("--as", "jwt:https://other|u", "Withdraw"), "the access file has no issuer https://other"),
        (("--as", "key:web", "Withdrawal"), "Withdrawal is not a method of the bank"),
    ],
)
async def test_a_question_that_cannot_be_explained_is_refused(access: Path, flags: tuple[str, ...], why: str) -> None:
    code, out, said = await run_openbank("access", "explain", str(access), *flags)
    assert (code, out) == (2, "")
    assert said.startswith(f"openbank: {why}")
