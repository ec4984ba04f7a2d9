"""How an answer is shown to whoever reads it: how wide, and in which colours."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

from bench import terminal

if TYPE_CHECKING:
    from reports.screen import Line, Style

FILE_WIDTH, MIN_WIDTH, MAX_WIDTH = 120, 60, 140
"""Columns of text in a file or pipe, and the limits of what a terminal and COLUMNS ask for."""

CODES: dict[Style, str] = {"answer": "1", "doubt": "31"}
"""Style -> what a terminal takes for it: the answer is bold, what failed or is doubtful red."""


def num_columns(stream: TextIO | None) -> int:
    """Columns to fill: what COLUMNS says, else the terminal, within what is pleasant to read; else the same on every machine.

    Args:
        stream: where the text goes; None for a file.
    """
    asked = os.environ.get("COLUMNS", "")
    if asked.isascii() and asked.isdigit() and int(asked[:9]):
        return max(MIN_WIDTH, min(MAX_WIDTH, int(asked[:9])))
    there = terminal.num_columns(stream)
    return FILE_WIDTH if there is None else max(MIN_WIDTH, min(MAX_WIDTH, there))


def has_colours(stream: TextIO | None) -> bool:
    """Whether somebody sees colours there: a terminal, not a dumb one, and NO_COLOR (https://no-color.org) is not set."""
    return not os.environ.get("NO_COLOR") and terminal.takes_commands(stream)


def painted(line: Line) -> str:
    """The line as a terminal takes it."""
    text, style = line
    return f"\x1b[{CODES[style]}m{text}\x1b[0m" if style in CODES and text else text
