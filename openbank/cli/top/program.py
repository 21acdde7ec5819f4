"""Draws the screen on a terminal until somebody ends it."""

from __future__ import annotations

import curses
import locale
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from openbank.cli.connection import Connection
from openbank.cli.errors import CommandFailed
from openbank.cli.terminal import is_coloured
from openbank.cli.top.following import follow_accounts, follow_metrics
from openbank.cli.top.screen import ScreenLine, screen
from openbank.cli.top.state import SharedState

DRAW_SECONDS = 0.25
"""How long a key or a new size may wait."""
COLOURS = {"red": curses.COLOR_RED, "yellow": curses.COLOR_YELLOW, "green": curses.COLOR_GREEN}
ATTRIBUTES = {"bold": curses.A_BOLD, "dim": curses.A_DIM}
QUIT = (ord("q"), ord("Q"))


def top(bank: Connection, metrics_url: str, accounts: Sequence[str], every_seconds: float, color: str) -> None:
    """Until q. A signal is raised as Interrupted; either way the terminal is as it was before."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise CommandFailed("openbank top needs a terminal")
    accounts = tuple(dict.fromkeys(accounts))
    shared, stop = SharedState(bank.target, accounts), threading.Event()
    # Says now what is wrong with the files of the connection.
    bank.channel().close()
    with _terminal() as window:
        _start(shared, partial(follow_metrics, metrics_url, shared, every_seconds, stop))
        if accounts:
            _start(shared, partial(follow_accounts, bank, accounts, shared, stop))
        try:
            _draw_until_quit(window, shared, _styles(is_coloured(sys.stdout, color)))
        finally:
            stop.set()


def _start(shared: SharedState, follow: Callable[[], None]) -> None:
    """Follows in a thread. What it raises is raised where the screen is drawn: printed here, it would spoil that."""

    def run() -> None:
        try:
            follow()
        except Exception as error:
            shared.fault = error

    threading.Thread(target=run, daemon=True).start()


def _draw_until_quit(window: Any, shared: SharedState, styles: dict[str, int]) -> None:
    window.timeout(int(DRAW_SECONDS * 1000))
    while shared.fault is None:
        rows, columns = window.getmaxyx()
        window.erase()
        for number, line in enumerate(screen(shared.state, columns, rows)):
            _draw(window, number, line, styles)
        window.refresh()
        key = window.getch()
        if key in QUIT:
            return
        if key == curses.KEY_RESIZE:
            curses.update_lines_cols()
    raise shared.fault


def _draw(window: Any, number: int, line: ScreenLine, styles: dict[str, int]) -> None:
    column = 0
    for text, style in line:
        try:
            window.addstr(number, column, text, styles.get(style, 0))
        except curses.error:
            # The terminal has become smaller meanwhile, or this was its last cell, after which there is no place for
            # the cursor. The text is there.
            return
        column = window.getyx()[1]


def _styles(coloured: bool) -> dict[str, int]:
    """The attribute of each style. Without colours, what is red is bold."""
    styles: dict[str, int] = dict(ATTRIBUTES)
    if coloured and curses.has_colors():
        curses.start_color()
        curses.use_default_colors()
        for number, (name, colour) in enumerate(COLOURS.items(), start=1):
            curses.init_pair(number, colour, -1)
            styles[name] = curses.color_pair(number)
    else:
        styles |= {"red": curses.A_REVERSE, "yellow": curses.A_BOLD}
    return styles


@contextmanager
def _terminal() -> Iterator[Any]:
    """A screen of its own, which is left again whatever happens. Raises CommandFailed for a terminal without one."""
    # curses writes characters in the encoding of the terminal.
    locale.setlocale(locale.LC_ALL, "")
    try:
        window = curses.initscr()
    except curses.error as error:
        raise CommandFailed(f"the terminal {os.environ.get('TERM', '')!r} cannot show a screen: {error}") from None
    try:
        curses.noecho()
        curses.cbreak()
        window.keypad(True)
        with suppress(curses.error):
            curses.curs_set(0)
        yield window
    finally:
        # A terminal that is gone needs nothing.
        with suppress(curses.error):
            window.keypad(False)
            curses.nocbreak()
            curses.echo()
            curses.endwin()
