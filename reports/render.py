"""Tables as text, Markdown, CSV, JSON, HTML, LaTeX and a summary for GitHub: one function a format, and the table of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from estimators.printable import printable_json, printable_lines
from reports.table import Table


def _tabulate(table: Table, style: str, cells: list[list[str]]) -> str:
    from tabulate import tabulate

    return tabulate(
        cells,
        headers=[c.header for c in table.shown],
        tablefmt=style,
        colalign=[c.align for c in table.shown] if table.rows else None,
        disable_numparse=True,
    )


def _md_head(table: Table) -> list[str]:
    return [f"### {table.title}", "", *([" · ".join(table.conditions), ""] if table.conditions else [])]


def _md_rest(table: Table) -> str:
    grid = [[cell.replace("|", r"\|") for cell in row] for row in table.cells()]
    lines = [_tabulate(table, "pipe", grid), ""] if table.rows else []
    return "\n".join([*lines, *(f"- {n}" for n in table.notes)]).rstrip()


def _md(table: Table) -> str:
    table = table.printable()
    return "\n".join([*_md_head(table), _md_rest(table)]).rstrip()


_GITHUB = {"&": "&amp;", "<": "&lt;", "@": "&#64;"}
"""What GitHub would take for markup, or for somebody to be told."""


def _github(tables: Sequence[Table]) -> str:
    """A summary of a job or a pull request of GitHub: the first title and its conditions; all figures folded away behind a line."""
    first, *others = [table.printable() for table in tables]

    def escaped(text: str) -> str:
        return "".join(_GITHUB.get(c, c) for c in text)

    figures = "\n\n".join(filter(None, (_md_rest(first), *map(_md, others))))
    folded = f"<details><summary>All figures</summary>\n\n{escaped(figures)}\n\n</details>" if figures else ""
    return "\n".join([*map(escaped, _md_head(first)), folded]).rstrip()


def _csv(tables: Sequence[Table]) -> str:
    """One header for all tables; where there are several, a first column names the table of each row."""
    import csv
    import io

    tables = [table.printable(printable_lines) for table in tables]
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
    return printable_json(json.dumps(body, indent=2, ensure_ascii=False, allow_nan=False))


WORDY = 24
"""Characters of a cell above which its column holds sentences, which a page gives room."""


def wordy_columns(cells: Sequence[Sequence[str]]) -> set[int]:
    """Places of the columns that hold sentences."""
    return {place for row in cells for place, cell in enumerate(row) if len(cell) > WORDY and " " in cell}


def html_table(table: Table) -> str:
    """The grid alone, for a page or a notebook; under the header of a column of numbers stands what kind they are, where that is known."""
    from html import escape

    cells = table.cells()
    wordy = wordy_columns(cells)
    ways = [
        ' style="text-align: right"' if c.align == "right" else ' class="words"' if place in wordy else ""
        for place, c in enumerate(table.shown)
    ]
    kinds = [f"<small>{escape(kind)}</small>" if (kind := table.kind_of(c)) else "" for c in table.shown]
    head = "".join(f"<th{way}>{escape(c.header)}{kind}</th>" for way, c, kind in zip(ways, table.shown, kinds, strict=True))
    rows = ["".join(f"<td{way}>{escape(cell)}</td>" for way, cell in zip(ways, row, strict=True)) for row in cells]
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f"<table>\n<thead>\n<tr>{head}</tr>\n</thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _html(table: Table) -> str:
    """A fragment, for a notebook; a whole page is reports.pages.page.html_page."""
    from html import escape

    table = table.printable()
    head = f"<h3>{escape(table.title)}</h3>\n" + "".join(f"<p>{escape(c)}</p>\n" for c in table.conditions)
    return head + html_table(table) + "".join(f"\n<p>{escape(n)}</p>" for n in table.notes)


def _latex(tables: Sequence[Table]) -> str:
    from reports.latex import document, latex

    return document([latex(table.printable()) for table in tables])


def _each(renderer: Callable[[Table], str]) -> Callable[[Sequence[Table]], str]:
    return lambda tables: "\n\n".join(map(renderer, tables))


RENDERERS: dict[str, Callable[[Sequence[Table]], str]] = {
    "text": _each(Table.text),
    "md": _each(_md),
    "csv": _csv,
    "json": _json,
    "html": _each(_html),
    "latex": _latex,
    "github": _github,
}


def render(tables: Sequence[Table], style: str, width: int | None = None) -> str:
    """Render tables in one of RENDERERS' styles.

    Args:
        tables: at least one.
        style: a key of RENDERERS.
        width: columns that `text` may fill; long cells, conditions and notes wrap. None never wraps.
    """
    if style == "text":
        return "\n\n".join(table.text(width) for table in tables)
    return RENDERERS[style](tables)
