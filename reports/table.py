"""Table and its renderings. A table holds raw values in base units; formatting happens while rendering."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from estimators.frozen import field, frozen
from reports.text import text

if TYPE_CHECKING:
    import pandas

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
    """

    key: str
    header: str
    format: Callable[[Any], str] | None = None
    align: str = "left"
    once: bool = False
    raw: bool = False

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
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Mapping[str, Value]]
    conditions: Sequence[str] = ()
    notes: Sequence[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    key: str = ""

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

    def to_frame(self) -> pandas.DataFrame:
        """The raw values as a pandas DataFrame."""
        import pandas

        return pandas.DataFrame([{c.key: row.get(c.key) for c in self.columns} for row in self.rows], columns=[c.key for c in self.columns])


def _tabulate(table: Table, style: str, cells: list[list[str]]) -> str:
    from tabulate import tabulate

    return tabulate(
        cells,
        headers=[c.header for c in table.shown],
        tablefmt=style,
        colalign=[c.align for c in table.shown] if table.rows else None,
        disable_numparse=True,
    )


def _md(table: Table) -> str:
    lines = [f"### {table.title}", ""]
    if table.conditions:
        lines += [" · ".join(table.conditions), ""]
    if table.rows:
        lines += [_tabulate(table, "pipe", [[cell.replace("|", r"\|") for cell in row] for row in table.cells()]), ""]
    return "\n".join([*lines, *(f"- {n}" for n in table.notes)]).rstrip()


def _csv(tables: Sequence[Table]) -> str:
    """One header for all tables; where there are several, a first column names the table of each row."""
    import csv
    import io

    keys = list(dict.fromkeys(c.key for table in tables for c in table.columns))
    several = len(tables) > 1
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["table", *keys] if several else keys)
    for table in tables:
        own = {c.key for c in table.columns}
        for row in table.rows:
            values = ["" if key not in own or row.get(key) is None else row.get(key) for key in keys]
            writer.writerow([table.key or table.title, *values] if several else values)
    return buffer.getvalue().rstrip("\n")


def _body(table: Table) -> dict[str, Any]:
    return {
        "title": table.title,
        **table.facts,
        "conditions": list(table.conditions),
        "rows": [{c.key: row.get(c.key) for c in table.columns} for row in table.rows],
        "notes": list(table.notes),
    }


def _json(tables: Sequence[Table]) -> str:
    """One table is an object. Later tables that have a key are held by the first one under it; else all make a list."""
    import json

    first, *others = tables
    body: Any
    if all(table.key for table in others):
        body = _body(first) | {table.key: _body(table) for table in others}
    else:
        body = [_body(table) for table in tables]
    return json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False)


def _html(table: Table) -> str:
    from html import escape

    head = f"<h3>{escape(table.title)}</h3>\n" + "".join(f"<p>{escape(c)}</p>\n" for c in table.conditions)
    return head + _tabulate(table, "html", table.cells()) + "".join(f"\n<p>{escape(n)}</p>" for n in table.notes)


_LATEX = {c: "\\" + c for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
_LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}"}


def _latex_escaped(text: str) -> str:
    return "".join(_LATEX.get(c, c) for c in text).replace("--", "-{}-")


def _latex(table: Table) -> str:
    """A table environment for the booktabs package; conditions stand in the caption, notes below."""
    caption = " ".join(f"{part.rstrip('.')}." for part in (table.title, *table.conditions))
    notes = [rf"\par\footnotesize {_latex_escaped(note)}" for note in table.notes]
    grid = [_tabulate(table, "latex_booktabs", table.cells())] if table.rows else []
    return "\n".join([r"\begin{table}", rf"\caption{{{_latex_escaped(caption)}}}", *grid, *notes, r"\end{table}"])


def _each(one: Callable[[Table], str]) -> Callable[[Sequence[Table]], str]:
    return lambda tables: "\n\n".join(map(one, tables))


RENDERERS: dict[str, Callable[[Sequence[Table]], str]] = {
    "text": _each(text),
    "md": _each(_md),
    "csv": _csv,
    "json": _json,
    "html": _each(_html),
    "latex": _each(_latex),
}


def render(tables: Sequence[Table], style: str, width: int | None = None) -> str:
    """Render tables in one of RENDERERS' styles.

    Args:
        tables: at least one.
        style: a key of RENDERERS.
        width: columns that `text` may fill; long cells, conditions and notes wrap. None never wraps.
    """
    if style == "text":
        return "\n\n".join(text(table, width) for table in tables)
    return RENDERERS[style](tables)
