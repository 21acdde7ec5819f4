"""Plain words: phrases that should not come back to the docs, the contract and the code, and what to write instead.

The rules are in CONTRIBUTING.md. In Markdown, commands, output and names in code style are not prose. In Python,
docstrings, comments, messages and the names of tests are.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = [
    *sorted(ROOT.glob("*.md")),
    # The reference repeats comments of the protos, which are checked themselves, and help texts.
    *(path for path in sorted((ROOT / "docs").rglob("*.md")) if path.parent.name != "reference"),
    *sorted((ROOT / "openbank").rglob("README.md")),
    *sorted((ROOT / "protos").rglob("*.proto")),
    *sorted((ROOT / "openbank").rglob("*.py")),
    *sorted((ROOT / "benchmarks").rglob("*.py")),
    *(path for path in sorted((ROOT / "tests").rglob("*.py")) if path != Path(__file__)),
]

INSTEAD = {
    r"(?:is|are|was|were|be|been|being|callers) told": "reports, says, gets",
    r"told (?:as|by|in|of|otherwise)": "reported, sent, configured",
    r"tells? of": "describes",
    r"(?:is|are) of the bank": "belongs to the bank",
    r"anew": "again",
    r"upon": "on",
    r"for ever": "permanently, never changes",
    r"who(?:m|so)?ever": "anyone who, any call that",
    r"however often": "any number of times",
    r"so long, so often": "for this long, this often",
    r"for so long": "for this long",
    r"go(?:es|ing)? on|gone on": "continues",
    r"(?:hence|thus|whence|thereof|therein)": "so, of it, in it",
    r"(?:is|are) no \w+ (?:that )?this server knows": "unknown",
    r"newer ones may do": "newer ones may work",
    r"behind (?:a|the) sink": "delivered",
    r"to have the effect of": "to process",
    r"is (?:too|as) little in any": "must be greater than",
    r"in the place of what": "replaces what",
    r"has it that": "says",
    r"(?:is|are|was|were) none of (?:ours|the bank's|its)": "does not belong to the bank",
    r"past which": "after which",
    r"nobody foresaw": "unexpected",
    r"what little": "the little that",
    r"(?:take|takes|took) (?:the|an) answer away": "cancels",
    r"made where there is none": "created if it does not exist",
    r"what (?:is|was) (?:asked|wanted) of": "the question, the command",
    r"(?:is|are) said by": "decides, shows",
    r"holds? (?:it|them|each \w+) to these words": "checks",
    r"all of its? life": "until it ends",
}
# Rule 6: a docstring begins with what the thing is or does.
BEGINNINGS = {
    r"Of\b(?! (?:several|two|all)\b)": "say what it is: 'The events of...'",
    r"Who(?:m|se)?\b": "say what it is: 'The holder of...'",
}
# A phrase may be broken by the end of a line.
_PATTERNS = {
    re.compile(rf"\b(?:{phrase})\b".replace(" ", r"\s+"), re.IGNORECASE): instead for phrase, instead in INSTEAD.items()
}
_BEGINNINGS = {re.compile(phrase): instead for phrase, instead in BEGINNINGS.items()}
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_NAME_OF_A_TEST = re.compile(r"^\|.*test_\w+\.py` .*$", re.MULTILINE)


def prose_of(path: Path) -> str:
    """The text without what is no prose, line by line where it was."""
    text = path.read_text()
    if path.suffix == ".py":
        return prose_of_python(text)
    if path.suffix == ".proto":
        comments = (line.partition("//")[2] if "//" in line else "" for line in text.splitlines())
        return "\n".join(comments)
    for pattern in (_FENCED, _NAME_OF_A_TEST, _CODE):
        text = pattern.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
    return text


def prose_of_python(text: str) -> str:
    """The comments, texts and names of tests of a module, each on the lines where it was."""
    lines = [""] * (text.count("\n") + 1)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            for number, line in enumerate(token.string.splitlines(), token.start[0] - 1):
                lines[number] += " " + line.lstrip("# ")
        elif token.type == tokenize.NAME and token.string.startswith("test_"):
            lines[token.start[0] - 1] += " " + token.string.replace("_", " ")
    return _CODE.sub("", "\n".join(lines))


def docstrings_of(text: str) -> Iterator[tuple[int, str]]:
    """Also of constants and attributes: texts that are statements of their own."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.lineno, node.value.value


def found_in(text: str) -> Iterator[str]:
    for pattern, instead in _PATTERNS.items():
        for found in pattern.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield f"line {line}: {found[0]!r}, write: {instead}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_words_are_plain(path: Path) -> None:
    assert list(found_in(prose_of(path))) == []


@pytest.mark.parametrize(
    "path", [path for path in FILES if path.suffix == ".py"], ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_docstring_begins_with_what_the_thing_is(path: Path) -> None:
    assert [
        f"line {line}: {text[:40]!r}, {instead}"
        for line, text in docstrings_of(path.read_text())
        for beginning, instead in _BEGINNINGS.items()
        if beginning.match(text)
    ] == []


@pytest.mark.parametrize(
    "text",
    [
        "A loss is told.",
        "what callers\n  are told of it",
        "and it goes on where it was",
        "Payloads are stored for ever: add",
    ],
)
def test_a_phrase_is_found_also_across_lines(text: str) -> None:
    assert list(found_in(text))


def test_comments_messages_and_names_of_tests_are_prose() -> None:
    module = 'def test_a_loss_is_told() -> None:\n    # Made anew.\n    raise Error("it goes on")\n'
    assert [found.partition(":")[0] for found in found_in(prose_of_python(module))] == ["line 1", "line 2", "line 3"]


def test_code_and_output_are_not_prose(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Fine: `is told`.\n\n```text\nviews made anew\n```\n| a | `test_x.py` a loss is told |\n")
    assert list(found_in(prose_of(page))) == []
