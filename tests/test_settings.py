"""Settings come from flags and the environment, flags first."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from openbank.config import BadSetting, Settings, settings


def test_without_a_word_everything_has_its_default() -> None:
    assert settings({}, {}) == Settings()
    assert Settings().listen == "127.0.0.1:50051"
    assert Settings().data == Path("data")


def test_a_flag_wins_over_the_environment() -> None:
    chosen = settings({"listen": "[::]:1"}, {"OPENBANK_LISTEN": "[::]:2", "OPENBANK_DRAIN_SECONDS": "0.5"})
    assert chosen.listen == "[::]:1"
    assert chosen.drain_seconds == 0.5


@pytest.mark.parametrize("name", [setting.name for setting in fields(Settings) if setting.default != ()])
def test_every_setting_can_be_set_and_refuses_nothing_at_all(name: str) -> None:
    default = getattr(Settings(), name)
    assert settings({name: str(default)}, {}) == Settings()
    with pytest.raises(BadSetting, match="OPENBANK_" + name.upper()):
        settings({}, {"OPENBANK_" + name.upper(): ""})


@pytest.mark.parametrize("listen", ["50051", ":50051", "host:", "host:http", "host:-1", "host:65536", "host:٣"])
def test_an_address_has_a_host_and_a_port(listen: str) -> None:
    with pytest.raises(BadSetting, match="--listen"):
        settings({"listen": listen}, {})
