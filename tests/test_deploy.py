"""What the container files name is there: Docker itself does not run in tests."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from openbank.config import Settings

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = (ROOT / "deploy/compose.yaml").read_text()

OF_COMPOSE_ITSELF = {"OPENBANK_MONGODB_PASSWORD"}


def test_only_settings_that_there_are_are_set() -> None:
    settings = {f"OPENBANK_{setting.name.upper()}" for setting in fields(Settings)}
    assert set(re.findall(r"OPENBANK_\w+", DOCKERFILE + COMPOSE)) - OF_COMPOSE_ITSELF <= settings


def test_what_is_copied_into_the_image_is_there_and_not_ignored() -> None:
    let_through = re.findall(r"^!(.+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    copied = [
        name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE) for name in line.split()
    ]
    assert sorted(let_through) == sorted(copied)
    assert all((ROOT / name).exists() for name in copied)


def test_a_container_is_open_only_where_that_is_said() -> None:
    assert "OPENBANK_LISTEN=0.0.0.0" in DOCKERFILE
    assert not re.search(r"OPENBANK_INSECURE=\w+ \\\\", DOCKERFILE)
    assert 'OPENBANK_INSECURE: "true"' in COMPOSE


def test_no_password_has_a_default() -> None:
    values = re.findall(r"PASSWORD: (.+)", COMPOSE)
    assert values
    assert all(value.startswith("${OPENBANK_MONGODB_PASSWORD:?") for value in values)
