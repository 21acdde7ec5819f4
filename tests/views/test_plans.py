"""Every question about movements is answered by an index, and sorts nothing, on both kinds of views."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Self

import pytest

from openbank.domain.tags import Label
from openbank.views.mongo.questions import MongoQuestions
from openbank.views.mongo.writes import INDEXES
from openbank.views.port import MovementFilter
from openbank.views.sqlite import questions
from openbank.views.sqlite.schema import SCHEMA

RED = Label("colour", "red")
OF_ACCOUNT = MovementFilter("1")
FILTERS = [
    MovementFilter("1", "order"),
    MovementFilter("1", label=RED),
    MovementFilter("1", "order", RED),
    MovementFilter("", "order"),
    MovementFilter("", "order", RED),
]
BY_ACCOUNT = "SEARCH account_events USING INDEX {} (account=? AND {})"
PLANS: Mapping[str, tuple[str, str]] = {
    "events": (questions.EVENTS, BY_ACCOUNT.format("account_events_by_account", "revision<?")),
    "standing": (questions.STANDING, BY_ACCOUNT.format("account_events_by_account", "revision<?")),
    "time": (questions.TIME, BY_ACCOUNT.format("account_events_by_account", "revision<?")),
    "entries": (questions.ENTRIES, BY_ACCOUNT.format("movements_by_account", "rowid>? AND rowid<?")),
    "movements of an account": (
        questions.newest_movements(OF_ACCOUNT)[0],
        BY_ACCOUNT.format("movements_by_account", "rowid<?"),
    ),
    **{
        f"movements by {filter}": (
            questions.newest_movements(filter)[0],
            "SEARCH movement_terms USING PRIMARY KEY (term=? AND position<?)",
        )
        for filter in FILTERS
    },
}


@pytest.mark.parametrize("question", PLANS)
def test_sqlite_searches_an_index_and_sorts_nothing(question: str) -> None:
    statement, wanted = PLANS[question]
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(SCHEMA)
        values = [1] * statement.count("?")
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
    assert wanted in plan
    assert [step for step in plan if "SCAN" in step or "TEMP B-TREE" in step] == []


class Asked:
    """Records the questions to a collection, and finds nothing."""

    def __init__(self) -> None:
        self.where: dict[str, Any] = {}
        self.order: list[str] = []

    def find(self, where: dict[str, Any]) -> Self:
        self.where = where
        return self

    def sort(self, by: str | Sequence[tuple[str, int]], _: int = 1) -> Self:
        self.order = [by] if isinstance(by, str) else [name for name, _ in by]
        return self

    def limit(self, _: int) -> Self:
        return self

    async def to_list(self, _: int) -> list[Any]:
        return []


class Questions(MongoQuestions):
    def __init__(self) -> None:
        self.asked: list[tuple[str, Asked]] = []

    def _check_complete(self) -> None:
        """Views of this version are."""

    async def _read(self, name: str, read: Any) -> Any:
        asked = Asked()
        self.asked.append((name, asked))
        return await read(asked)


def is_served(name: str, asked: Asked) -> bool:
    """Whether an index has what is compared for equality, then what is sorted by. Each id has one of its own."""
    equal = {key for key, value in asked.where.items() if not isinstance(value, dict)}
    if "_id" in asked.where:
        return "$in" in asked.where["_id"] or asked.order == ["_id"]
    for index in INDEXES[name]:
        keys = list(index)
        first, then = keys[: len(equal)], keys[len(equal) :]
        if set(first) == equal and then[: len(asked.order)] == asked.order:
            return set(asked.where) <= set(keys)
    return False


async def test_mongodb_has_an_index_for_each_question() -> None:
    views = Questions()
    await views.account_events("1", 9, 1)
    await views.standing("1", 9)
    await views.standing_at("1", 9, 9)
    await views.entries("1", 0, 9, 1)
    for filter in (OF_ACCOUNT, *FILTERS):
        await views.movements(filter, 9, 1)
    assert len(views.asked) >= 10
    assert [(name, asked.where) for name, asked in views.asked if not is_served(name, asked)] == []
