"""The documentation names what is there: links, files, terms, and the picture of the architecture."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from docs import draw_architecture, generate_reference

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BESIDE_CODE = sorted((ROOT / "openbank").rglob("README.md"))
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md")), *BESIDE_CODE, ROOT / "openbank-client/README.md"]
DECISIONS = sorted(DOCS.glob("decisions/0*.md"))

OF_NAMED_TUPLES = {"_replace", "_asdict", "_make"}
"""Public, in spite of their names."""

_LINK = re.compile(r"\]\(([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def links_of(page: Path) -> set[str]:
    """The links of a page that do not lead to another host."""
    links = set(_LINK.findall(_FENCED.sub("", page.read_text())))
    return {link for link in links if "://" not in link and not link.startswith("mailto:")}


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in links_of(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} does not exist"
        assert not anchor or anchor in anchors_of(target), f"{link} names no heading"


@pytest.mark.parametrize("readme", BESIDE_CODE, ids=name_of)
def test_an_adapter_names_the_private_apis_that_it_uses(readme: Path) -> None:
    own: set[str] = set()
    used: set[str] = set()
    for module in readme.parent.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                own.add(node.name)
            elif isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr):
                ours = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
                (own if ours else used).add(node.attr)
    named = set(re.findall(r"`(?:\w+\.)*(_\w+)`", readme.read_text()))
    assert used - own - OF_NAMED_TUPLES <= named


def test_the_index_has_every_page() -> None:
    index, decisions = links_of(DOCS / "README.md"), links_of(DOCS / "decisions/README.md")
    pages = {str(page.relative_to(DOCS)) for page in (*DOCS.glob("*.md"), *DOCS.glob("reference/*.md"))}
    assert pages - {"README.md"} <= index
    assert {page.name for page in DECISIONS} <= decisions


def test_the_picture_of_the_architecture_is_current() -> None:
    assert draw_architecture.SVG.read_text() == draw_architecture.svg(), "run: make reference"


def test_the_reference_is_current() -> None:
    pages = generate_reference.pages()
    assert {path.name for path in pages} == {path.name for path in generate_reference.REFERENCE.iterdir()}
    for path, text in pages.items():
        assert path.read_text() == text, f"{path.name} is stale, run: make reference"


def test_every_room_of_the_picture_is_a_package_and_every_layer_is_in_it() -> None:
    drawn = {room.path for room in draw_architecture.ROOMS if room.path}
    packages = {path.parent.name for path in (ROOT / "openbank").glob("*/__init__.py")}
    # Who may call, what callers use and look at, what operators run or see, what only opens stores, and what finishes
    # the work of others is not on the way of a command or an event.
    aside = {"access", "back_ends", "cli", "client", "courier", "metrics", "mongodb", "tracing", "upkeep", "web"}
    assert drawn == packages - aside


def test_the_walks_name_the_files_by_their_paths() -> None:
    named = re.findall(r"\[([\w/]+\.py)\]\(\.\./openbank/([\w/]+\.py)\)", (DOCS / "architecture.md").read_text())
    assert len(named) > 30
    assert all(text == path for text, path in named)


@pytest.mark.parametrize("record", DECISIONS, ids=name_of)
def test_a_decision_is_short_and_has_its_three_parts(record: Path) -> None:
    text = record.read_text()
    assert len(text.splitlines()) < 40
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]
    assert re.search(r"^Status: (accepted|superseded), \d{4}-\d\d-\d\d", text, re.MULTILINE)


def test_the_glossary_defines_each_term_once_and_in_order() -> None:
    terms = re.findall(r"^\*\*(.+?)\*\*:", (DOCS / "glossary.md").read_text(), re.MULTILINE)
    in_order = sorted(set(terms), key=lambda term: term.lower().replace("_", " "))
    assert terms == in_order
