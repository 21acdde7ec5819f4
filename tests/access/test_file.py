"""The access file: what it may say, and that what is wrong is named by entry and key and repeated nowhere."""

from __future__ import annotations

from math import inf
from pathlib import Path

import pytest

from openbank.access.caller import CertificateNames, Limits
from openbank.access.errors import BadAccessFile, PermissionMissing
from openbank.access.file import load, read
from openbank.access.policy import Policy

SECRET = "obk_k7f3_THIS-IS-A-SECRET-THIS-IS-A-SECRET-THIS-IS-A"
DIGEST = "ab" * 32
GOOD = f"""
version = 1
[[key]]
name = "teller-web"
id = "k7f3"
sha256 = "{DIGEST}"
roles = ["teller"]
expires = 2027-01-01T00:00:00Z
[[key]]
name = "app"
id = "a1"
sha256 = "{"cd" * 32}"
roles = ["customer", "branch-reader"]
owner = "person-1"
[[certificate]]
spiffe = "spiffe://bank.example/ns/prod/sa/reporting"
roles = ["auditor"]
[[certificate]]
dns = "*.internal.example"
roles = ["operator"]
[[jwt]]
issuer = "https://id.example/realms/bank"
audience = "openbank"
jwks = "https://id.example/realms/bank/certs"
algorithms = ["RS256", "ES256", "EdDSA"]
subject_claim = "sub"
roles_claim = "realm_access.roles"
owner_claim = "openbank_person"
leeway_seconds = 30
role_map = {{ "bank-teller" = "teller", "bank-customer" = "customer" }}
[local]
roles = ["operator"]
[role.branch-reader]
permissions = ["persons.read", "accounts.read"]
[role.own-deposits]
permissions = ["accounts.deposit"]
own_only = true
[limits.customer]
calls_per_second = 20
burst = 40
watches = 5
[limits.branch-reader]
calls_per_second = 50
"""
V = "version = 1\n"
KEY = f'[[key]]\nname = "n"\nid = "i"\nsha256 = "{DIGEST}"\nroles = ["teller"]\n'
JWT = '[[jwt]]\nissuer = "i"\naudience = "a"\njwks = "https://h/k"\nalgorithms = ["RS256"]\nroles_claim = "r"\n'
JWT += 'role_map = { a = "teller" }\n'


def policy(text: str) -> Policy:
    return read(text.encode(), Path("access.toml"))


def test_the_example_of_the_docs_is_read() -> None:
    found = policy(GOOD)
    teller = found.keys["k7f3"].caller
    assert (teller.name, teller.expires, teller.owner) == ("key:teller-web", 1_798_761_600, "")
    assert teller.scope("accounts.withdraw") is None
    app = found.keys["a1"].caller
    assert app.scope("accounts.withdraw") == "person-1"
    assert app.scope("accounts.read") is None
    with pytest.raises(PermissionMissing):
        app.scope("accounts.deposit")
    assert app.limits == Limits(50, 50, inf)
    assert found.issuers["https://id.example/realms/bank"].role_map["bank-teller"] == "teller"
    assert found.local is not None
    assert found.local.name == "local"


@pytest.mark.parametrize(
    ("names", "matches"),
    [
        (CertificateNames(spiffe=("spiffe://bank.example/ns/prod/sa/reporting",)), "auditor"),
        (CertificateNames(spiffe=("spiffe://bank.example/ns/prod/sa/reporting/more",)), ""),
        (CertificateNames(dns=("spiffe://bank.example/ns/prod/sa/reporting",)), ""),
        (CertificateNames(dns=("host.internal.example",)), "operator"),
        (CertificateNames(dns=("HOST.Internal.Example",)), "operator"),
        (CertificateNames(dns=("internal.example",)), ""),
        (CertificateNames(dns=(".internal.example",)), ""),
        (CertificateNames(dns=("*.internal.example",)), ""),
        (CertificateNames(dns=("a.b.internal.example",)), ""),
        (CertificateNames(dns=("host.internal.example.evil.example",)), ""),
        (CertificateNames(dns=("hostxinternal.example",)), ""),
        (CertificateNames(dns=("a b\n.internal.example",)), ""),
        (CertificateNames(), ""),
    ],
)
def test_a_certificate_counts_by_its_whole_name(names: CertificateNames, matches: str) -> None:
    found = [entry.caller.roles[0] for entry in policy(GOOD).certificates if entry.name_in(names)]
    assert found == ([matches] if matches else [])


@pytest.mark.parametrize(
    ("text", "entry_and_key"),
    [
        ("", "version"),
        ("version = 2", "version"),
        ("version = true", "version"),
        ("version = 1\nkeys = 1", "has an entry that is none of"),
        ("version = 1\n[key]\nname = 'x'", "[[key]]: must be written with two brackets"),
        ("version = 1\nkey = ['x']", "[[key]] 1: must be a table"),
        ("version = 1\n[[key]]\nid = 'i'", "[[key]] 1: name: is required"),
        (V + KEY + "\nextra = 1", '[[key]] 1 "n": extra: is not known here'),
        (V + KEY + "\n'" + SECRET + "' = 1", '[[key]] 1 "n": a key: is not known here'),
        (V + KEY.replace(DIGEST, SECRET), '[[key]] 1 "n": sha256: must be 64 hexadecimal'),
        (V + KEY.replace(DIGEST, DIGEST.upper()), '[[key]] 1 "n": sha256: must be'),
        (V + KEY.replace('"n"', '"' + SECRET + ' "'), "[[key]] 1: name: must be 1 to 64"),
        (V + KEY.replace('"i"', '"I_1"'), '[[key]] 1 "n": id: must be'),
        (V + KEY.replace('"teller"', '"tellr"'), '[[key]] 1 "n": roles: must be roles: teller'),
        (V + KEY.replace('["teller"]', "[]"), '[[key]] 1 "n": roles: must be a list'),
        (V + KEY + "expires = 2027-01-01T00:00:00", '[[key]] 1 "n": expires: must be a time with its zone'),
        (V + KEY + "owner = 'a b'", '[[key]] 1 "n": owner: must be the id'),
        (V + KEY + KEY, "[[key]]: id: is the same in two entries"),
        (V + KEY + KEY.replace('"i"', '"j"'), "[[key]]: name: is the same in two entries"),
        ("version = 1\n[[certificate]]\nroles = ['teller']", "[[certificate]] 1: spiffe or dns: is required"),
        ("version = 1\n[[certificate]]\ndns = '*'\nroles = ['teller']", "[[certificate]] 1: dns: must be"),
        ("version = 1\n[[certificate]]\ndns = 'a.*.b'\nroles = ['teller']", "[[certificate]] 1: dns: must be"),
        ("version = 1\n[[certificate]]\nspiffe = 'x'\nroles = ['teller']", "[[certificate]] 1: spiffe: must be"),
        (V + JWT.replace("RS256", "HS256"), '[[jwt]] 1 "i": algorithms: must be a list of asymmetric'),
        (V + JWT.replace("RS256", "none"), '[[jwt]] 1 "i": algorithms: must be'),
        (V + JWT.replace("https://h/k", "http://h/k"), '[[jwt]] 1 "i": jwks: must be https://'),
        (V + JWT.replace("https://h/k", "https://u:p@h/k"), '[[jwt]] 1 "i": jwks: must be https://'),
        (V + JWT.replace("https://h/k", "ftp://h/k"), '[[jwt]] 1 "i": jwks: must be https://'),
        (V + JWT.replace('"teller"', '"boss"'), '[[jwt]] 1 "i": role_map: must be roles'),
        (V + JWT + JWT, "[[jwt]]: issuer: is the same in two entries"),
        (V + JWT + "leeway_seconds = 100000", '[[jwt]] 1 "i": leeway_seconds: must be a whole number'),
        (
            "version = 1\n[role.teller]\npermissions = ['persons.read']",
            "[role.teller]: the name: is that of a",
        ),
        ("version = 1\n[role.x]\npermissions = ['persons.reed']", "[role.x]: permissions: must be permissions"),
        (
            "version = 1\n[role.x]\nown_only = true\npermissions = ['persons.list']",
            "[role.x]: permissions: must be permissions that can be restricted",
        ),
        ("version = 1\n[limits.nobody]\nburst = 1", "[limits.nobody]: is not a role"),
        ("version = 1\n[limits.teller]\nburst = 0", "[limits.teller]: burst: must be a whole number"),
        ("version = 1\n[limits.teller]\ncalls_per_second = nan", "[limits.teller]: calls_per_second: must be"),
        ("version = 1\n[local]\nroles = 'operator'", "[local]: roles: must be a list"),
        (f"version = 1\nkey = {SECRET}", "is not TOML"),
    ],
)
def test_a_mistake_is_named_and_the_secret_is_not_repeated(text: str, entry_and_key: str) -> None:
    with pytest.raises(BadAccessFile) as caught:
        policy(text)
    assert f"access.toml: {entry_and_key}" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "THIS-IS" not in str(caught.value)


def test_every_entry_that_is_wrong_is_reported() -> None:
    with pytest.raises(BadAccessFile) as caught:
        policy(f"version = 1\n[[key]]\n{KEY}[[key]]\nname = 5\n[local]\n")
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["[[key]] 1", "[[key]] 3", "[local]"]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadAccessFile, match=r"missing\.toml: cannot be read: No such file"):
        load(tmp_path / "missing.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * (2 << 20))
    with pytest.raises(BadAccessFile, match="has 1048576 bytes or more"):
        load(tmp_path / "large.toml")
    (tmp_path / "latin.toml").write_bytes(b"version = 1 # \xe9")
    with pytest.raises(BadAccessFile, match="is not UTF-8"):
        load(tmp_path / "latin.toml")


def test_a_key_set_in_a_file_is_looked_for_beside_the_access_file() -> None:
    text = V + JWT.replace("https://h/k", "file:keys/set.json")
    found = read(text.encode(), Path("/etc/bank/access.toml"))
    assert found.issuers["i"].jwks == "/etc/bank/keys/set.json"
