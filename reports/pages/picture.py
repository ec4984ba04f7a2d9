"""Picture: what one drawing shows, out of which table. It draws late, and from that table alone.

Whoever draws is handed the table, nothing else: a figure that the table does not hold cannot come into the picture. What a picture
needs beyond the rows (a deadline, the memory of a card) is a fact of the table, where json has it too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any

from estimators.frozen import frozen, replace
from estimators.printable import cut, printable
from reports.drawing import drawn, drawn_png
from reports.lines import wrapped
from reports.table import Table

WIDTH_IN = 5.6
"""Inches: two stand side by side on a desktop, and one on a phone can be read."""

TITLE_COLUMNS = 62
"""Characters of a title's line at that width."""

ARROWS = {
    "lower": "↓ lower is better",
    "higher": "↑ higher is better",
    "left": "← further left is better",
    "right": "→ further right is better",
    "lower left": "↙ lower left is better",
    "upper left": "↖ upper left is better",
    "upper right": "↗ upper right is better",
    "fits": "← left of the line it fits",
    "match": "the nearer the two marks, the better",
    "diagonal": "⤢ nearer to the diagonal is better",
    "": "",
}
"""Which way is better -> what the picture says of it."""

MOST_INT = 2**63 - 1
"""The largest integer of an axis of matplotlib's."""


@frozen
class Picture:
    """One drawing.

    Attributes:
        title: one line: what it shows.
        table: key of the table whose figures it shows.
        draw: draws on an empty figure of matplotlib, from that table.
        better: a key of ARROWS.
        width_in, height_in: inches.
    """

    title: str
    table: str
    draw: Callable[[Any, Table], None]
    better: str = ""
    width_in: float = WIDTH_IN
    height_in: float = 3.6

    def table_in(self, tables: Sequence[Table]) -> Table:
        """The table whose figures are shown; what a stranger wrote into it, or into its facts, acts nowhere. Counts beyond MOST_INT
        are floats: rounded to 16 digits."""
        table = next(table for table in tables if table.key == self.table).printable()
        rows = [
            {key: float(value) if type(value) is int and abs(value) > MOST_INT else value for key, value in row.items()}
            for row in table.rows
        ]
        return replace(
            table, rows=rows, facts={key: printable(value) if isinstance(value, str) else value for key, value in table.facts.items()}
        )

    def draw_on(self, figure: Any, tables: Sequence[Table]) -> None:
        """Title, drawing, and which way is better."""
        title = "\n".join(wrapped(cut(printable(self.title), 3 * TITLE_COLUMNS), TITLE_COLUMNS, hard=True))
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        self.draw(figure, self.table_in(tables))
        if self.better:
            figure.axes[0].set_title(ARROWS[self.better], loc="right", fontsize="small")

    def svg(self, tables: Sequence[Table]) -> str:
        """As SVG. Raises MissingPackageError where matplotlib is not installed."""
        return drawn(lambda figure: self.draw_on(figure, tables), size=self._size, metadata=self._metadata(tables))

    def png(self, tables: Sequence[Table]) -> bytes:
        """As PNG. Raises MissingPackageError."""
        return drawn_png(lambda figure: self.draw_on(figure, tables), size=self._size, metadata=self._metadata(tables))

    def file(self, suffix: str, tables: Sequence[Table]) -> str | bytes:
        """As a file of that suffix holds it. Raises MissingPackageError."""
        return self.png(tables) if suffix == ".png" else self.svg(tables) + "\n"

    @property
    def _size(self) -> tuple[float, float]:
        return self.width_in, self.height_in

    def _metadata(self, tables: Sequence[Table]) -> dict[str, str]:
        """Title, and which figures were drawn, by a digest that another version of matplotlib does not change."""
        import hashlib  # deferred: a table needs none of it

        rows = self.table_in(tables).rows
        figures = sorted(f"{key} {value:.4g}" for row in rows for key, value in row.items() if isinstance(value, int | float))
        digest = hashlib.sha256("\n".join(figures).encode()).hexdigest()[:16]
        return {"Title": cut(printable(self.title), 3 * TITLE_COLUMNS), "Description": f"{len(rows):,} rows, figures {digest}"}


def files_of(file: str, number: int) -> list[str]:
    """The files that so many pictures are written to: the first to `file`, the others beside it.

    >>> files_of("out/plan.svg", 3)
    ['out/plan.svg', 'out/plan-2.svg', 'out/plan-3.svg']
    """
    path = PurePath(file)
    return [file, *(str(path.with_name(f"{path.stem}-{place}{path.suffix}")) for place in range(2, number + 1))][:number]
