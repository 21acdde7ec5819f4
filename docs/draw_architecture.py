"""Draws docs/architecture.svg. Run by `make reference`; tests/test_docs.py checks that the drawing is current.

To change the picture, edit ROOMS and ARROWS. A room with a path is a package of `openbank/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from xml.sax.saxutils import escape

SVG = Path(__file__).with_name("architecture.svg")
WIDTH, HEIGHT = 960, 660

OUTSIDE, EDGE, CORE, ADAPTER = "#f2f2f2", "#e8f0fb", "#ffffff", "#fdf3e1"
COMMAND, EVENT = "#1b5fc1", "#b4540a"


class Room(NamedTuple):
    """A box with its top left corner at x, y. `path` is a package of `openbank/`, or empty for what is outside."""

    x: int
    y: int
    width: int
    fill: str
    title: str
    about: str
    path: str = ""


class Arrow(NamedTuple):
    """A line through these points, with its label starting at the point `at`."""

    color: str
    points: tuple[tuple[int, int], ...]
    label: str = ""
    at: tuple[int, int] = (0, 0)


ROOM_HEIGHT = 54

ROOMS = (
    Room(30, 50, 650, OUTSIDE, "Callers", "gRPC clients, openbank.client, the openbank command"),
    Room(720, 50, 210, OUTSIDE, "Receivers", "HTTP endpoints, NATS JetStream"),
    Room(30, 150, 650, EDGE, "rpc", "guards, requests to commands and queries, errors to statuses, log lines", "rpc"),
    Room(720, 150, 210, ADAPTER, "sinks: ways out", "http.py, nats.py", "sinks"),
    Room(30, 250, 200, CORE, "commands", "one function per use case", "commands"),
    Room(255, 250, 200, CORE, "queries", "one function per question", "queries"),
    Room(480, 250, 200, CORE, "feeds", "watches: places in the log", "feeds"),
    Room(720, 250, 210, CORE, "sinks, publishing", "domain event to CloudEvent", "publishing"),
    Room(30, 350, 200, CORE, "aggregates", "queue, decide, fold", "aggregates"),
    Room(255, 350, 200, CORE, "views", "projector, projections", "views"),
    Room(480, 350, 300, CORE, "following", "one subscription per process, a ring", "following"),
    Room(800, 350, 130, CORE, "integrity", "what is believed", "integrity"),
    Room(30, 450, 200, CORE, "domain", "rules as pure functions", "domain"),
    Room(255, 450, 200, ADAPTER, "views: adapters", "sqlite, mongo", "views"),
    Room(480, 450, 130, CORE, "codec", "the stored form", "codec"),
    Room(630, 450, 300, ADAPTER, "eventstore: adapters", "sqlite, eventstoredb: append, read, subscribe", "eventstore"),
    Room(255, 560, 200, OUTSIDE, "views.db or MongoDB", "derived: can be rebuilt"),
    Room(480, 560, 450, OUTSIDE, "events.db or EventStoreDB", "the log: the only source of truth"),
)

ARROWS = (
    Arrow(COMMAND, ((130, 104), (130, 150)), "command", (136, 131)),
    Arrow(COMMAND, ((130, 204), (130, 250))),
    Arrow(COMMAND, ((130, 304), (130, 350))),
    Arrow(COMMAND, ((130, 404), (130, 450)), "decide", (136, 431)),
    Arrow(COMMAND, ((230, 390), (243, 390), (243, 427), (520, 427), (520, 450)), "append", (380, 421)),
    Arrow(COMMAND, ((610, 477), (630, 477))),
    Arrow(COMMAND, ((700, 504), (700, 560)), "commit, sync", (706, 536)),
    Arrow(EVENT, ((865, 450), (865, 404)), "events", (871, 431)),
    Arrow(EVENT, ((800, 377), (780, 377))),
    Arrow(EVENT, ((480, 377), (455, 377))),
    Arrow(EVENT, ((355, 404), (355, 450))),
    Arrow(EVENT, ((355, 504), (355, 560)), "change and checkpoint", (361, 536)),
    Arrow(EVENT, ((355, 350), (355, 304))),
    Arrow(EVENT, ((355, 250), (355, 204))),
    Arrow(EVENT, ((355, 150), (355, 104)), "answer to a query", (361, 131)),
    Arrow(EVENT, ((580, 350), (580, 304))),
    Arrow(EVENT, ((580, 250), (580, 204))),
    Arrow(EVENT, ((580, 150), (580, 104)), "watch", (586, 131)),
    Arrow(EVENT, ((750, 350), (750, 304))),
    Arrow(EVENT, ((825, 250), (825, 204))),
    Arrow(EVENT, ((825, 150), (825, 104)), "CloudEvent", (831, 131)),
)


def svg() -> str:
    return "\n".join((*_head(), *map(_arrow, ARROWS), *map(_room, ROOMS), "</svg>", ""))


def _head() -> tuple[str, ...]:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        "<title>OpenBank: a command's way into the log, and an event's way out of it</title>",
        "<defs>",
        *(
            f'<marker id="{color[1:]}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"'
            f' orient="auto"><path d="M0 0L8 4L0 8z" fill="{color}"/></marker>'
            for color in (COMMAND, EVENT)
        ),
        "</defs>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        _text(30, 28, "Blue: the way of a command.", 13, COMMAND),
        _text(235, 28, "Orange: the way of an event.", 13, EVENT),
        _text(
            30,
            648,
            "Yellow boxes are adapters. Each implements a port; only app, back_ends and upkeep import them.",
            12,
            "#555555",
        ),
    )


def _room(room: Room) -> str:
    box = (
        f'<rect x="{room.x}" y="{room.y}" width="{room.width}" height="{ROOM_HEIGHT}" rx="6" fill="{room.fill}"'
        ' stroke="#8a8a8a"/>'
    )
    middle = room.x + room.width // 2
    title = _text(middle, room.y + 23, room.title, 14, "#111111", ' text-anchor="middle" font-weight="bold"')
    return "\n".join((box, title, _text(middle, room.y + 42, room.about, 12, "#444444", ' text-anchor="middle"')))


def _arrow(arrow: Arrow) -> str:
    points = " ".join(f"{x},{y}" for x, y in arrow.points)
    line = (
        f'<polyline points="{points}" fill="none" stroke="{arrow.color}" stroke-width="2"'
        f' marker-end="url(#{arrow.color[1:]})"/>'
    )
    return line if not arrow.label else f"{line}\n{_text(*arrow.at, arrow.label, 12, arrow.color)}"


def _text(x: int, y: int, text: str, size: int, color: str, more: str = "") -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" fill="{color}"{more}>{escape(text)}</text>'


if __name__ == "__main__":
    SVG.write_text(svg())
