"""Tables as plain text for a terminal: columns aligned, long cells wrapped, wide characters counted as two."""

from __future__ import annotations

from collections.abc import Sequence

from reports.table import Table

MIN_WRAPPED_WIDTH = 16
"""Characters that a wrapped column keeps, however narrow the terminal."""


def _display_width(text: str) -> int:
    """Columns that a terminal needs: an East Asian wide character takes two."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def _padded(text: str, width: int, align: str) -> str:
    gap = " " * (width - _display_width(text))
    return gap + text if align == "right" else text + gap


def _wrapped(text: str, width: int | None, indent: str = "") -> list[str]:
    """Lines of at most `width`; a word or address that is longer stays whole, so that it can be copied."""
    if width is None or _display_width(text) <= width:
        return [text]
    lines, line = [], ""
    for word in text.split():
        joined = f"{line} {word}" if line else word
        if line and _display_width(joined) > width:
            lines.append(line)
            joined = indent + word
        line = joined
    return [*lines, line]


def _column_widths(headers: list[str], cells: list[list[str]], aligns: list[str], width: int | None) -> list[int]:
    """Natural widths; where they pass `width`, the widest left-aligned columns give way, down to their longest word."""
    columns = [[header, *(row[i] for row in cells)] for i, header in enumerate(headers)]
    widths = [max(map(_display_width, column)) for column in columns]
    if width is None:
        return widths
    least = [
        max(_display_width(word) for cell in column for word in cell.split() or [""]) if align == "left" else natural
        for column, align, natural in zip(columns, aligns, widths, strict=True)
    ]
    for _ in range(sum(widths) + 2 * (len(widths) - 1) - width):
        yielding = [i for i, natural in enumerate(widths) if natural > max(least[i], MIN_WRAPPED_WIDTH)]
        if not yielding:
            break
        widths[max(yielding, key=lambda i: widths[i])] -= 1
    return widths


def _grid(table: Table, width: int | None) -> list[str]:
    cells = table.cells()
    headers, aligns = [c.header for c in table.shown], [c.align for c in table.shown]
    widths = _column_widths(headers, cells, aligns, width)

    def line(parts: Sequence[str]) -> str:
        return "  ".join(_padded(part, w, a) for part, w, a in zip(parts, widths, aligns, strict=True)).rstrip()

    lines = []
    for row in (headers, ["-" * w for w in widths], *cells):
        wrapped = [_wrapped(cell, w) for cell, w in zip(row, widths, strict=True)]
        lines += [line([part[i] if i < len(part) else "" for part in wrapped]) for i in range(max(map(len, wrapped)))]
    return lines


def text(table: Table, width: int | None = None) -> str:
    """A table as plain text: title, conditions, grid, notes.

    Args:
        width: columns to fill at most; None never wraps.
    """
    lines = _wrapped(table.title, width)
    for condition in table.conditions:
        lines += ["  " + part for part in _wrapped(condition, width and width - 2, "  ")]
    if table.rows:
        lines += ["", *_grid(table, width)]
    if table.notes:
        lines.append("")
    for note in table.notes:
        lines += _wrapped(note, width, "  ")
    return "\n".join(lines)
