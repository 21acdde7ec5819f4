"""The screen: what is known of a bank as lines that fit a terminal. No terminal is needed here."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple, TypeAlias

from openbank.cli.terminal import cut, shown, width
from openbank.cli.top.metrics import MetricsReading
from openbank.cli.top.state import TopState

Style: TypeAlias = Literal["", "bold", "dim", "red", "yellow", "green"]

LAG_SECONDS = 5.0
"""A lag that is longer stands out."""
UNKNOWN = "-"
KEYS = "q ends"


class StyledText(NamedTuple):
    text: str
    style: Style = ""


ScreenLine: TypeAlias = Sequence[StyledText]


class ScreenTable(NamedTuple):
    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[StyledText]]


def screen(state: TopState, columns: int, rows: int) -> list[ScreenLine]:
    """At most `rows` lines of at most `columns`. The head comes first; tables share what is left."""
    head = [*_title(state), *_figures(state)]
    tables = [table for table in (_sinks(state), _refusals(state), _accounts(state)) if table.rows]
    lines = [*head]
    left = rows - len(lines)
    for number, table in enumerate(tables):
        # A blank line and the headings, and as many rows as its share has.
        room = left // (len(tables) - number) - 2
        if room < 1:
            continue
        drawn = _drawn(table, room)
        lines += [(), *drawn]
        left -= 1 + len(drawn)
    return [_fitted(line, columns) for line in lines[:rows]]


def _title(state: TopState) -> list[ScreenLine]:
    now = datetime.now(UTC).strftime("%H:%M:%SZ")
    version = ""
    if state.now:
        version = next((name for name, _ in state.now.by_label("openbank_build_info", "version")), "")
    title = [
        StyledText(f"OpenBank {shown(version)}".strip(), "bold"),
        StyledText(f"  {shown(state.target)}  {now}  {KEYS}"),
    ]
    if state.trouble:
        since = time.monotonic() - state.trouble_at
        return [title, (StyledText(f"no metrics for {_age(since)}: {state.trouble}", "red"),)]
    if state.watch_trouble:
        return [title, (StyledText(f"accounts are not followed: {state.watch_trouble}", "red"),)]
    if state.now is None:
        return [title, (StyledText("waiting for metrics", "yellow"),)]
    sides = [_side(side, value) for side, value in state.now.by_label("openbank_serving", "side")]
    return [title, tuple(span for side in sides for span in side)]


def _side(side: str, serving: float) -> tuple[StyledText, StyledText]:
    return StyledText(f"{shown(side)} "), StyledText("serving  ", "green") if serving else StyledText(
        "NOT SERVING  ", "red"
    )


def _figures(state: TopState) -> list[ScreenLine]:
    now, before = state.now, state.before
    if now is None:
        return []

    def number(name: str) -> str:
        return _number(now.value(name))

    appended, calls = "openbank_events_appended_total", "rpc_server_call_duration_seconds_count"
    in_flight = _number(now.total("openbank_calls_in_flight"))
    return [
        (),
        (
            _name("log"),
            StyledText(f"position {number('openbank_log_position')}   "),
            StyledText(f"{_rate(now.rate(before, appended))} events/s appended here"),
        ),
        (_name("calls"), StyledText(f"{_rate(now.rate(before, calls))} calls/s   {in_flight} in flight")),
        (_name("views"), *_lag(now, "openbank_view_lag"), *_rebuild(now)),
        (_name("watches"), StyledText(f"{number('openbank_watches')}   furthest "), *_lag(now, "openbank_watch_lag")),
        (
            _name("open"),
            StyledText(f"{number('openbank_transfers_in_transit')} transfers in transit   "),
            StyledText(f"{number('openbank_holds_due')} holds due   "),
            _alarm(now.value("openbank_quarantined_aggregates"), "quarantined"),
        ),
    ]


def _name(text: str) -> StyledText:
    return StyledText(f"{text:<9}", "bold")


def _lag(now: MetricsReading, name: str) -> tuple[StyledText, ...]:
    events, seconds = now.value(f"{name}_events"), now.value(f"{name}_seconds")
    if events is None or seconds is None:
        return (StyledText(f"lag {UNKNOWN}", "yellow"),)
    return (StyledText(f"lag {_number(events)} events, {_age(seconds)}", "red" if seconds > LAG_SECONDS else ""),)


def _rebuild(now: MetricsReading) -> tuple[StyledText, ...]:
    ratio = now.value("openbank_view_rebuild_ratio")
    return (StyledText(f"   rebuilding {ratio:.0%}", "yellow"),) if ratio is not None and ratio < 1 else ()


def _alarm(value: float | None, what: str) -> StyledText:
    return StyledText(f"{_number(value)} {what}", "red" if value else "")


def _sinks(state: TopState) -> ScreenTable:
    now = state.now
    rows = []
    for sink, events in sorted(now.by_label("openbank_sink_lag_events", "sink")) if now else ():
        assert now is not None
        seconds, parked = (
            now.value("openbank_sink_lag_seconds", sink=sink),
            now.value("openbank_sink_parked", sink=sink),
        )
        late: Style = "red" if (seconds or 0) > LAG_SECONDS else ""
        cells = (
            StyledText(_number(events), late),
            StyledText(_age(seconds), late),
            StyledText(_number(parked), "red" if parked else ""),
        )
        rows.append((StyledText(shown(sink)), *cells))
    return ScreenTable("sinks", ("SINK", "LAG EVENTS", "LAG", "PARKED"), rows)


def _refusals(state: TopState) -> ScreenTable:
    latest = sorted(state.refusals.items(), key=lambda one: (-one[1].last_at, one[0]))
    rows = [
        (
            StyledText(shown(reason)),
            StyledText(_number(one.total)),
            StyledText(_ago(one.last_at), "" if one.last_at else "dim"),
        )
        for reason, one in latest
    ]
    return ScreenTable("refusals", ("LAST REFUSALS", "TOTAL", "LAST"), rows)


def _accounts(state: TopState) -> ScreenTable:
    rows = []
    for account_id, one in state.accounts.items():
        cells = (one.balance, one.available, one.state or one.trouble, str(one.revision or ""))
        style: Style = "red" if one.trouble else "dim" if state.watch_trouble else ""
        rows.append((StyledText(shown(account_id)), *(StyledText(cell or UNKNOWN, style) for cell in cells)))
    return ScreenTable("accounts", ("ACCOUNT", "BALANCE", "AVAILABLE", "STATE", "REVISION"), rows)


def _drawn(table: ScreenTable, room: int) -> list[ScreenLine]:
    """The headings and at most `room` rows, with a note on those that are left out."""
    shown_rows = list(table.rows[:room])
    if left_out := len(table.rows) - len(shown_rows):
        shown_rows = shown_rows[:-1]
        left_out += 1
    headings = tuple(StyledText(heading, "bold") for heading in table.headings)
    widths = [max(width(row[at].text) for row in (headings, *shown_rows)) for at in range(len(headings))]
    lines: list[ScreenLine] = [_row(row, widths) for row in (headings, *shown_rows)]
    if left_out:
        lines.append((StyledText(f"and {left_out} more {table.title}", "dim"),))
    return lines


def _row(row: Sequence[StyledText], widths: Sequence[int]) -> ScreenLine:
    """The first column is aligned at its left, the others at their right."""
    first, *others = row
    cells = [StyledText(first.text + " " * (widths[0] - width(first.text)), first.style)]
    cells += [
        StyledText("  " + " " * (size - width(cell.text)) + cell.text, cell.style)
        for cell, size in zip(others, widths[1:], strict=True)
    ]
    return cells


def _fitted(line: ScreenLine, columns: int) -> ScreenLine:
    fitted = []
    for text, style in line:
        short = cut(text, columns) if columns > 0 else ""
        if short:
            fitted.append(StyledText(short, style))
        columns -= width(short)
    return tuple(fitted)


def _number(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.0f}"


def _rate(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:,.1f}"


def _age(seconds: float | None) -> str:
    if seconds is None:
        return UNKNOWN
    if seconds < 60:
        return f"{seconds:.1f} s" if 0 < seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.0f} h"


def _ago(at: float) -> str:
    return f"{_age(round(time.monotonic() - at))} ago" if at else "before"
