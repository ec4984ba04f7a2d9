"""One screen: the answer, one table, the assumptions that matter, and what there is beyond them.

A verb that answers so gives `Output.emit` a `Screen` beside its tables:

    out.emit(tables, Screen(
        answer="Training gpt2 on 1.00 T tokens: 4.76 days, about $103 k",
        lead=["Plan with 7.22 days."],
        table=columns_kept(tables[0], "scenario", "wall_days", "cost_usd_median", "energy_j"),
        notes=["price: $3.52 per GPU-hour, the middle of 23 quotes."],
        more=["--explain (every step of it)"],
    ))

Text shows the screen, -q its answer alone, -v every table; the other formats hold every table. A verb that gives none is shown whole.
On a narrow terminal columns give way, those that `columns_kept` was told last first; where not even those that stay fit, each row
becomes a record. Rows that pass the height are counted. Nothing passes the width: a word that is longer is broken, never cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Literal

from estimators.frozen import frozen, replace
from estimators.printable import printable
from reports.lines import grid, grid_width, least_widths, natural_widths, wrapped
from reports.table import Column, Table

HEIGHT = 30
"""Lines of one screen."""

MIN_ROWS = 3
"""Rows that stay, however much stands around them."""

READABLE_WIDTH = 24
"""Characters of a left-aligned column below which it gives way sooner than it wraps further."""

Style = Literal["", "answer", "doubt"]
Line = tuple[str, Style]
"""A line and what it means, for whoever has colours."""


@frozen
class Screen:
    """What a person is shown first.

    Attributes:
        answer: one sentence, in the units people think in; the first line, and all of it with -q.
        lead: what must be known beside it, right below.
        table: the one table, usually `columns_kept` of one of the answer's; its title, conditions and notes are not shown.
        doubts: why not to trust the answer, or what failed.
        notes: the two or three assumptions that matter most.
        more: the options that tell more than -v and --format, each with what it tells in brackets.
        asked: tables that an option such as --explain asked for, shown whole.
        failed: whether the answer is that something failed, is impossible or does not fit.
        is_list: whether the rows are what was asked for: they give way in a terminal alone, never in a pipe or a file.
    """

    answer: str
    lead: Sequence[str] = ()
    table: Table | None = None
    doubts: Sequence[str] = ()
    notes: Sequence[str] = ()
    more: Sequence[str] = ()
    asked: Sequence[Table] = ()
    failed: bool = False
    is_list: bool = False

    def reworded(self, change: Callable[[str], str]) -> Screen:
        """The screen with every text changed."""
        return replace(
            self,
            answer=change(self.answer),
            lead=[change(said) for said in self.lead],
            table=self.table and self.table.reworded(change),
            doubts=[change(said) for said in self.doubts],
            notes=[change(said) for said in self.notes],
            more=[change(said) for said in self.more],
            asked=[table.reworded(change) for table in self.asked],
        )


def columns_kept(table: Table, *keys: str, always: int = 2, headers: Mapping[str, str] | None = None) -> Table:
    """The table with some of its columns, in its own order.

    Args:
        keys: of the columns, the most important first; one that the table lacks, or has for csv and json alone, is passed over. The
            last gives way first.
        always: how many of them never give way.
        headers: key -> a header in place of the table's; such a column is kept even where it is for csv and json alone.
    """
    named = headers or {}
    columns = [
        replace(c, priority=max(0, keys.index(c.key) - always + 1), header=named.get(c.key, c.header), raw=False)
        for c in table.columns
        if c.key in keys and (c.key in named or not c.raw)
    ]
    return replace(table, columns=columns)


@frozen
class Ways:
    """How whoever reads a screen asks for what stands beyond it.

    Attributes:
        whole: every table and note.
        data: the same as data.
    """

    whole: str = "-v"
    data: str = "--format json"


def screen_lines(screen: Screen, width: int, *, num_tables: int, height: int = HEIGHT, ways: Ways | None = None) -> list[Line]:
    """The screen, line by line.

    Args:
        width: columns that no line passes.
        num_tables: that there are in all.
        height: lines of the screen; the table's rows give way.
        ways: of the command line unless given.
    """
    ways = ways or Ways()
    first: Style = "doubt" if screen.failed else "answer"
    head: list[Line] = [(line, first) for line in _broken(screen.answer, width)]
    head += [(line, "") for said in screen.lead for line in _broken(said, width)]
    more: list[Line] = [(line, "") for line in _broken(more_line(screen, num_tables, ways), width)]
    has_table = screen.table is not None and bool(screen.table.rows)
    table = [] if screen.table is None or not has_table else table_lines(screen.table, width, MIN_ROWS, ways)
    around = len(head) + len(more)
    tail = _tail(screen, width, height - around - len(table) - 1 - has_table, ways)
    if screen.table is not None and has_table:
        table = table_lines(screen.table, width, height - around - len(tail) - 2, ways)
    asked: list[list[Line]] = [[(line, "") for line in table.text(width).split("\n")] for table in screen.asked]
    blocks = [head, [(line, "") for line in table], [*tail, *([] if asked else more)], *asked, more if asked else []]
    return [line for number, block in enumerate(filter(None, blocks)) for line in ([("", ""), *block] if number else block)]


def _tail(screen: Screen, width: int, room: int, ways: Ways) -> list[Line]:
    """Doubts and notes in so many lines; those that do not fit are counted, and the first of them stays."""
    said: list[tuple[str, Style]] = [*((text, "doubt") for text in screen.doubts), *((text, "") for text in screen.notes)]
    blocks: list[list[Line]] = [[(line, style) for line in _broken(text, width)] for text, style in said]
    kept = _num_kept(blocks, room, least=1)
    cut = len(blocks) - kept
    left: list[Line] = [(f"{cut} more note{'s' * (cut > 1)}: {ways.whole}", "")] if cut else []
    return [*(line for block in blocks[:kept] for line in block), *left]


def more_line(screen: Screen, num_tables: int, ways: Ways) -> str:
    """What there is beyond the screen."""
    whole = f"{ways.whole} (everything)" if num_tables == 1 else f"{ways.whole} (everything, {num_tables} tables)"
    return f"more: {', '.join([*screen.more, whole, ways.data])}"


def table_lines(table: Table, width: int, height: int, ways: Ways) -> list[str]:
    """The table's cells in at most so many columns and lines; columns and rows that do not fit are said, a few rows always stay."""
    table = table.printable()
    columns = _fitting(table, width)
    shown = replace(table, columns=columns)
    hidden = [c.header or c.key for c in table.shown if c not in columns]
    said = _broken(f"{len(hidden)} column{'s' * (len(hidden) > 1)} hidden ({', '.join(hidden)}): a wider terminal or {ways.whole}", width)
    said = said if hidden else []
    if _fits(shown, width):
        head, *rows = grid([c.header for c in columns], shown.cells(), [c.align for c in columns], width)
    else:
        head, rows = [], _records(shown, width)
    room = height - len(head) - len(said)
    kept = _num_kept(rows, room, least=MIN_ROWS)
    cut = [f"{len(rows) - kept} more row{'s' * (len(rows) - kept > 1)}: {ways.whole}"] if kept < len(rows) else []
    return [*head, *(line for row in rows[:kept] for line in row), *cut, *said]


def _num_kept(blocks: Sequence[Sized], room: int, *, least: int) -> int:
    """How many blocks of lines fit into so many lines; where one is left out, a line says so."""
    if sum(map(len, blocks)) <= room:
        return len(blocks)
    kept, lines = 0, 1
    for block in blocks:
        lines += len(block)
        if lines > room and kept >= least:
            break
        kept += 1
    return kept


def _fitting(table: Table, width: int) -> list[Column]:
    """The columns that stay: the least important go, until the rest fits or none of them gives way."""
    columns = list(table.shown)
    while not _fits(replace(table, columns=columns), width):
        yielding = [c for c in columns if c.priority]
        if not yielding:
            break
        columns.remove(max(reversed(yielding), key=lambda c: c.priority))
    return columns


def _fits(table: Table, width: int) -> bool:
    """Whether the grid fits, with left-aligned columns no narrower than is pleasant to read."""
    headers, cells, aligns = [c.header for c in table.shown], table.cells(), [c.align for c in table.shown]
    pairs = zip(natural_widths(headers, cells), least_widths(headers, cells, aligns), strict=True)
    return grid_width([max(least, min(natural, READABLE_WIDTH)) for natural, least in pairs]) <= width


def _records(table: Table, width: int) -> list[list[str]]:
    """Each row as lines of header and value under its first value."""
    first, *others = table.shown
    named = max(len(c.header) for c in others) if others else 0
    indent = " " * min(named + 4, width // 2)
    records = []
    for row in table.rows:
        lines = _broken(first.text(row.get(first.key)), width)
        for column in others:
            lines += _broken_after(f"  {column.header:<{named}}  ", column.text(row.get(column.key)), width, indent)
        records.append(lines)
    return records


def _broken_after(label: str, value: str, width: int, indent: str) -> list[str]:
    """A label and its value; where the two pass the width, the value goes on below."""
    begun, *rest = wrapped(value, width - len(indent), hard=True)
    if len(label) > len(indent):
        return [*wrapped(label, width, "  ", hard=True), *(indent + line for line in (begun, *rest))]
    return [label + begun, *(indent + line for line in rest)]


def _broken(sentence: str, width: int) -> list[str]:
    return wrapped(printable(sentence), width, "  ", hard=True)
