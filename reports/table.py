"""Table: raw values in base units, with what a person needs to read them. Formatting happens while rendering, in `reports.render`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from estimators.extras import needed_by
from estimators.frozen import field, frozen, replace
from estimators.printable import printable
from reports.lines import grid, wrapped

if TYPE_CHECKING:
    import pandas

    from estimators.spec import Tag

Value = str | int | float | bool | None


@frozen
class Column:
    """One column.

    Attributes:
        key: the field's name in csv and json; carries its unit as suffix.
        header: what a person reads.
        format: raw value to text for people; None prints the value as it is.
        align: left or right.
        once: whether people read a value only where it differs from the row above.
        raw: whether csv and json alone have the column.
        priority: on one screen that is too narrow, the columns with the highest number give way first; 0 stays.
        kind: of its figures, where it is another than the table's.
    """

    key: str
    header: str
    format: Callable[[Any], str] | None = None
    align: str = "left"
    once: bool = False
    raw: bool = False
    priority: int = 0
    kind: Tag | None = None

    def text(self, value: Value) -> str:
        """The cell for people. A missing value is a dash, never 0."""
        if value is None:
            return "–"
        if isinstance(value, bool):
            return "yes" if value else "no"
        return self.format(value) if self.format and not isinstance(value, str) else str(value)


@frozen
class Table:
    """Rows under a title, with the conditions they hold under.

    Attributes:
        title: one line.
        conditions: what was held fixed: batch, sequence, dtype, convention, weights.
        columns: in order.
        rows: one mapping per row, key to raw value in base units.
        notes: lines below the table: labels, refusals, explanations.
        facts: single values that belong to the whole table; at top level in json.
        key: the name under which json and csv hold the table where it follows another one.
        kind: of its figures, where they are of one kind and no column names it row by row; a page says it.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Value]]
    conditions: Sequence[str] = ()
    notes: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""
    kind: Tag | None = None

    def kind_of(self, column: Column) -> str:
        """What the figures of a column of numbers are, such as ``estimated``; empty where that is not known, or none are there."""
        return (column.kind or self.kind or "") if column.align == "right" else column.kind or ""

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<Table: {self.title}; {len(self.rows)} rows of {', '.join(c.key for c in self.columns)}>"

    @property
    def shown(self) -> list[Column]:
        """The columns that people read."""
        return [c for c in self.columns if not c.raw]

    def cells(self) -> list[list[str]]:
        """The rows as people read them."""
        above: Mapping[str, Value] = {}
        cells = []
        for row in self.rows:
            repeated = {c.key for c in self.shown if c.once and c.key in above and above[c.key] == row.get(c.key)}
            cells.append(["" if c.key in repeated else c.text(row.get(c.key)) for c in self.shown])
            above = row
        return cells

    def reworded(self, change: Callable[[str], str], cell: Callable[[str], str] | None = None) -> Table:
        """The table with every text changed.

        Args:
            change: of a text.
            cell: of a value in a row; as the others unless given.
        """
        of_a_cell = cell or change
        return replace(
            self,
            title=change(self.title),
            columns=[replace(column, header=change(column.header)) for column in self.columns],
            rows=[{key: of_a_cell(value) if isinstance(value, str) else value for key, value in row.items()} for row in self.rows],
            conditions=[change(condition) for condition in self.conditions],
            notes=[change(note) for note in self.notes],
        )

    def printable(self, cell: Callable[[str], str] = printable) -> Table:
        """The table with every text as it can be shown: what a stranger wrote into a record or a file acts nowhere.

        Args:
            cell: of a value; a format that quotes its values keeps their lines.
        """
        return replace(self.reworded(printable, cell), key=printable(self.key))

    def text(self, width: int | None = None) -> str:
        """Plain text: title, conditions, grid, notes.

        Args:
            width: columns to fill at most; None never wraps.
        """
        table = self.printable()
        lines = wrapped(table.title, width)
        for condition in table.conditions:
            lines += ["  " + part for part in wrapped(condition, width and width - 2, "  ")]
        if table.rows:
            rows = grid([c.header for c in table.shown], table.cells(), [c.align for c in table.shown], width)
            lines += ["", *(line for row in rows for line in row)]
        if table.notes:
            lines.append("")
        for note in table.notes:
            lines += wrapped(note, width, "  ")
        return "\n".join(lines)

    def to_frame(self) -> pandas.DataFrame:
        """The raw values as a pandas DataFrame. Raises MissingPackageError where pandas is not installed."""
        with needed_by("to_frame()"):
            import pandas

        return pandas.DataFrame([{c.key: row.get(c.key) for c in self.columns} for row in self.rows], columns=[c.key for c in self.columns])
