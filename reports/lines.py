"""Text within so many columns: lines that wrap, and the grid of a table's cells."""

from __future__ import annotations

from collections.abc import Sequence

from estimators.printable import num_columns

MIN_WRAPPED_WIDTH = 16
"""Characters that a wrapped column keeps, however narrow the terminal."""

GAP = 2
"""Blanks between two columns."""


def padded(text: str, width: int, align: str) -> str:
    """The text with blanks up to `width`."""
    gap = " " * (width - num_columns(text))
    return gap + text if align == "right" else text + gap


def wrapped(text: str, width: int | None, indent: str = "", *, hard: bool = False) -> list[str]:
    """Lines of at most `width`.

    Args:
        width: None never wraps.
        indent: of the lines after the first.
        hard: whether a word or address that is longer is broken; else it stays whole, so that it can be copied.

    >>> wrapped("a path/to/it", 8), wrapped("a path/to/it", 8, hard=True)
    (['a', 'path/to/it'], ['a', 'path/to/', 'it'])
    """
    if width is None or num_columns(text) <= width:
        return [text]
    words = text.split()
    if hard:
        words = [piece for word in words for piece in pieces(word, width - len(indent))]
    lines, line = [], ""
    for word in words:
        joined = f"{line} {word}" if line else word
        if line and num_columns(joined) > width:
            lines.append(line)
            joined = indent + word
        line = joined
    return [*lines, line]


def pieces(word: str, width: int) -> list[str]:
    """A word in parts of at most `width` columns; a character that is wider stands alone.

    >>> pieces("深深深深深", 4)
    ['深深', '深深', '深']
    """
    parts = [""]
    for character in word if num_columns(word) > width else [word]:
        if parts[-1] and num_columns(parts[-1] + character) > width:
            parts.append("")
        parts[-1] += character
    return parts


def natural_widths(headers: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    """The widest of each column."""
    return [max(map(num_columns, (header, *(row[i] for row in cells)))) for i, header in enumerate(headers)]


def least_widths(headers: Sequence[str], cells: Sequence[Sequence[str]], aligns: Sequence[str]) -> list[int]:
    """What each column needs: a left-aligned one wraps down to its longest word."""
    columns = [[header, *(row[i] for row in cells)] for i, header in enumerate(headers)]
    return [
        max(num_columns(word) for cell in column for word in cell.split() or [""]) if align == "left" else natural
        for column, align, natural in zip(columns, aligns, natural_widths(headers, cells), strict=True)
    ]


def grid_width(widths: Sequence[int]) -> int:
    """Columns of a grid whose columns are so wide."""
    return sum(widths) + GAP * (len(widths) - 1)


def grid(headers: Sequence[str], cells: Sequence[Sequence[str]], aligns: Sequence[str], width: int | None) -> list[list[str]]:
    """The lines of each row, the header's with its rule first; where they pass `width`, the widest left-aligned columns give way, down
    to their longest word."""
    widths = natural_widths(headers, cells)
    least = least_widths(headers, cells, aligns)
    for _ in range(0 if width is None else grid_width(widths) - width):
        yielding = [i for i, now in enumerate(widths) if now > max(least[i], MIN_WRAPPED_WIDTH)]
        if not yielding:
            break
        widths[max(yielding, key=lambda i: widths[i])] -= 1

    def row_lines(row: Sequence[str]) -> list[str]:
        parts = [wrapped(cell, w) for cell, w in zip(row, widths, strict=True)]
        lines = []
        for i in range(max(map(len, parts))):
            line = [padded(part[i] if i < len(part) else "", w, a) for part, w, a in zip(parts, widths, aligns, strict=True)]
            lines.append((" " * GAP).join(line).rstrip())
        return lines

    return [row_lines(headers) + row_lines(["-" * w for w in widths]), *map(row_lines, cells)]
