"""What docs/clients.md shows of the programs in examples/ is in them."""

from __future__ import annotations

import pytest

from tests.clients.try_examples import EXAMPLES, LANGUAGES, blocks


@pytest.mark.parametrize("name", LANGUAGES)
def test_the_code_that_the_page_shows_is_that_of_the_program(name: str) -> None:
    language = LANGUAGES[name]
    suffixes = {".go", ".java", ".ts", ".rs"}
    program = "".join(
        path.read_text() for path in EXAMPLES.glob(f"{language.directory}/**/*") if path.suffix in suffixes
    )
    [shown] = blocks(name, language.code)
    assert shown in program


@pytest.mark.parametrize("name", LANGUAGES)
def test_a_language_has_one_block_of_commands(name: str) -> None:
    assert len(blocks(name, "sh")) == 1
