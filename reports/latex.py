r"""Tables as LaTeX that fits the page: long ones go on over pages, wide ones are split, cells wrap within the width of the text.

Needs the packages array, booktabs and longtable. A line of \scriptsize across the 345 pt of an article's text holds 80 characters of the
usual width with room between the columns: a digit of cmr7 is 3.98 pt wide, so 80 take 319 pt. A narrower page wraps sooner, since
widths are shares of \linewidth.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from estimators.printable import num_columns
from reports.lines import grid_width, natural_widths, pieces
from reports.table import Table

LINE = 80
"""Characters of \\scriptsize in a line of an article's text."""

MAX_PIECE = 24
"""Characters that are never torn apart: a number of 18 digits with its commas, a device's name."""

READABLE = 16
"""Characters that a column of words is given before it is moved into another part of the table."""

PACKAGES = r"% needs \usepackage{array,booktabs,longtable}"

_ESCAPED = {c: "\\" + c for c in "&%$#_{}"} | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
_ESCAPED |= {"<": r"\textless{}", ">": r"\textgreater{}"}
_ESCAPED |= {"≤": r"$\leq$", "≥": r"$\geq$", "≈": r"$\approx$", "→": r"$\rightarrow$", "−": "$-$", "∞": r"$\infty$", "√": r"$\surd$"}
_ESCAPED |= {"α": r"$\alpha$", "β": r"$\beta$", "μ": r"$\mu$", "σ": r"$\sigma$", "Σ": r"$\Sigma$", "∈": r"$\in$", "…": r"\dots{}"}


def escaped(text: str) -> str:
    r"""A text as LaTeX reads it.

    >>> escaped("45 % of a_b"), escaped("--flag")
    ('45 \\% of a\\_b', '-{}-flag')
    """
    return re.sub("-(?=-)", "-{}", "".join(_ESCAPED.get(c, c) for c in text))


def document(tables: Sequence[str]) -> str:
    """Tables one after another, with the packages that they need."""
    return "\n\n".join([PACKAGES, *tables])


def latex(table: Table) -> str:
    """A table; conditions stand in the caption, notes below. A part of a wide one repeats the first column."""
    caption = _cell(" ".join(f"{part.rstrip('.')}." for part in (table.title, *table.conditions)))
    notes = [rf"\par\noindent {_cell(note)}" for note in table.notes]
    if not table.rows:
        return "\n".join([r"\begin{table}", rf"\caption{{{caption}}}", *notes, r"\end{table}"])
    headers, cells, aligns = [c.header for c in table.shown], table.cells(), [c.align for c in table.shown]
    split = parts(headers, cells, aligns)
    lines = [r"\begingroup\scriptsize\raggedright\setlength{\tabcolsep}{3pt}\setlength{\LTcapwidth}{\linewidth}"]
    for number, widths in enumerate(split, start=1):
        of = f" (part {number} of {len(split)})" if len(split) > 1 else ""
        said = rf"\caption{{{caption}{of}}}" if number == 1 else rf"\caption[]{{{_cell(table.title)}{of}}}"
        lines += [*([r"\addtocounter{table}{-1}"] if number > 1 else []), *_part(headers, cells, aligns, widths, said)]
    return "\n".join([*lines, *notes, r"\par\endgroup"])


def parts(headers: Sequence[str], cells: Sequence[Sequence[str]], aligns: Sequence[str]) -> list[dict[int, int]]:
    """The columns of each part of a table to their widths in characters; every part fits into a line and begins with the first column."""
    naturals = [width + 1 for width in natural_widths(headers, cells)]  # room for letters that are wider than a digit, as in MWh
    least = [
        max(
            num_columns(piece)
            for text in (headers[i], *(row[i] for row in cells))
            for word in text.split() or [""]
            for piece in _pieces(word)
        )
        for i in range(len(headers))
    ]
    needed = [
        max(narrow, min(natural, READABLE if align == "left" else MAX_PIECE))
        for narrow, natural, align in zip(least, naturals, aligns, strict=True)
    ]
    split: list[list[int]] = [[0]]
    for column in range(1, len(headers)):
        if grid_width([needed[i] for i in (*split[-1], column)]) > LINE:
            split.append([0])
        split[-1].append(column)
    return [_widened({i: needed[i] for i in columns}, naturals) for columns in split]


def _widened(widths: dict[int, int], naturals: Sequence[int]) -> dict[int, int]:
    """The widths with what is left of the line, for those that would wrap most."""
    widths = dict(widths)
    for _ in range(LINE - grid_width(list(widths.values()))):
        short = max(widths, key=lambda i: naturals[i] - widths[i])
        if naturals[short] <= widths[short]:
            break
        widths[short] += 1
    return widths


def _pieces(word: str) -> list[str]:
    """The parts of a word that stay whole: it may be torn behind punctuation, and where that leaves a part too long, anywhere."""
    if num_columns(word) <= MAX_PIECE:
        return [word]
    return [piece for part in re.findall(r"[^-/_.:=&?]*[-/_.:=&?]|[^-/_.:=&?]+", word) for piece in pieces(part, MAX_PIECE)]


def _part(headers: Sequence[str], cells: Sequence[Sequence[str]], aligns: Sequence[str], widths: dict[int, int], caption: str) -> list[str]:
    ragged = {"left": r"\raggedright", "right": r"\raggedleft"}
    columns = "".join(rf">{{{ragged[aligns[i]]}\arraybackslash}}p{{{width / LINE:.4f}\linewidth}}" for i, width in widths.items())
    head = [r"\toprule", _row(headers, widths), r"\midrule"]
    return [
        rf"\begin{{longtable}}{{@{{}}{columns}@{{}}}}",
        rf"{caption}\\",
        *head,
        r"\endfirsthead",
        *head,
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        *(_row(row, widths) for row in cells),
        r"\end{longtable}",
    ]


def _row(texts: Sequence[str], widths: dict[int, int]) -> str:
    return " & ".join(_cell(texts[i]) for i in widths) + r" \\"


def _cell(text: str) -> str:
    return " ".join(r"\allowbreak{}".join(map(escaped, _pieces(word))) for word in text.split())
