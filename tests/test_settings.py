"""Settings come from flags and the environment, flags first."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from openbank.app import serving
from openbank.config import SECONDS_MAX, WHOLE_MAX, BadSetting, Settings, settings, unknown_variables
from tests.callers import Caller


def test_every_setting_has_a_default() -> None:
    assert settings({}, {}) == Settings()
    assert Settings().listen == "127.0.0.1:50051"
    assert Settings().data == Path("data")


def test_a_flag_wins_over_the_environment() -> None:
    chosen = settings({"listen": "[::]:1"}, {"OPENBANK_LISTEN": "[::]:2", "OPENBANK_DRAIN_SECONDS": "0.5"})
    assert chosen.listen == "[::]:1"
    assert chosen.drain_seconds == 0.5


@pytest.mark.parametrize(
    "name", [setting.name for setting in fields(Settings) if setting.default not in ((), None, "")]
)
def test_every_setting_can_be_set_and_refuses_nothing_at_all(name: str) -> None:
    default = getattr(Settings(), name)
    assert settings({name: str(default)}, {}) == Settings()
    with pytest.raises(BadSetting, match="OPENBANK_" + name.upper()):
        settings({}, {"OPENBANK_" + name.upper(): ""})


NUMBERS = [setting for setting in fields(Settings) if type(setting.default) in (int, float)]


@pytest.mark.parametrize("text", ["1" + 30 * "0", 5_000 * "9", "1e300", "1e999", "nan"])
@pytest.mark.parametrize("name", [setting.name for setting in NUMBERS])
def test_an_impossible_number_is_refused(name: str, text: str) -> None:
    with pytest.raises(BadSetting, match=f"^OPENBANK_{name.upper()} must be a (whole )?number"):
        settings({}, {"OPENBANK_" + name.upper(): text})


async def test_a_bank_serves_with_the_greatest_number_of_each(tmp_path: Path) -> None:
    greatest = {one.name: str(WHOLE_MAX if isinstance(one.default, int) else SECONDS_MAX) for one in NUMBERS}
    chosen = settings({**greatest, "listen": "127.0.0.1:0", "data": str(tmp_path)}, {})
    async with serving(chosen) as server, Caller(server.address) as bank:
        opened = await bank.open()
        assert await bank.balance(opened.account.account_id, opened.consistency_token) == "0.00 USD"


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        ("OPENBANK_LOG_LEVL", "OPENBANK_LOG_LEVEL"),
        ("OPENBANK_LOGLEVEL", "OPENBANK_LOG_LEVEL"),
        ("OPENBANK_listen", "OPENBANK_LISTEN"),
        ("OPENBANK_DATA_DIR", "OPENBANK_DATA"),
        ("OPENBANK_EVENTSTORE", "OPENBANK_EVENT_STORE"),
        ("OPENBANK_SINKS", "OPENBANK_SINK"),
    ],
)
def test_a_mistyped_variable_is_refused_with_what_was_meant(mistyped: str, meant: str) -> None:
    with pytest.raises(BadSetting, match=f"^{mistyped} is no setting: did you mean {meant}\\?$"):
        settings({}, {mistyped: "secret"})


def test_variables_of_others_are_not_refused_but_named() -> None:
    # Of Kubernetes, for a service of this name; of clients; of the tests.
    foreign = ["OPENBANK_PORT_50051_TCP", "OPENBANK_SERVICE_HOST"]
    environment = dict.fromkeys(
        [*foreign, "OPENBANK_TOKEN", "OPENBANK_MODEL_EXAMPLES", "OPENBANK_TEST_MONGODB", "PATH"], "1"
    )
    assert settings({}, environment) == Settings()
    assert unknown_variables(environment) == foreign


@pytest.mark.parametrize("listen", ["50051", ":50051", "host:", "host:http", "host:-1", "host:65536", "host:٣"])
def test_an_address_has_a_host_and_a_port(listen: str) -> None:
    with pytest.raises(BadSetting, match="--listen"):
        settings({"listen": listen}, {})
