"""What every answer that a person is shown keeps: 30 lines at 100 columns, nothing wider than the terminal, labels and no fields."""

from __future__ import annotations

import re
from collections.abc import Sequence

from estimators.printable import num_columns
from reports.screen import HEIGHT, Screen, screen_lines
from reports.table import Table

WIDTHS = (60, 80, 100, 140)
Emitted = list[tuple[Sequence[Table], Screen | None]]
"""What a verb answered, before it is printed at some width."""


def too_wide(lines: list[str], width: int) -> list[str]:
    """The lines that pass the width."""
    return [line for line in lines if num_columns(line) > width]


def demand_one_screen(screen: Screen, num_tables: int = 1, *, answer: str = "") -> None:
    """Fail where the screen is none at some width, or its answer does not say `answer`, a regular expression."""
    for width in WIDTHS:
        lines = [line for line, _ in screen_lines(screen, width, num_tables=num_tables)]
        whole = "\n".join(lines)
        assert too_wide(lines, width) == []
        assert width < 100 or len(lines) <= HEIGHT, whole
        assert " ".join(whole.split()).startswith(" ".join(screen.answer.split())[:40])
        assert re.search(answer, screen.answer), screen.answer
        assert "more: " in whole
        assert not re.search(r"\b[a-z]+_(s|usd|flop|bytes|fraction|days|per)\b", whole)
