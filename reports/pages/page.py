"""One HTML page that needs nothing else: the answer, its pictures, every table, the command that made it.

A page is added in one place. A verb that answers by `Output.emit(tables, screen, pictures)` has one with `--format html` already; what
makes it worth a look is a list of pictures, from one function of the answer in a module of this package:

    def plan_pictures(answer: Plans) -> list[Picture]:
        return [Picture(title="Days against GPUs", table="scaling", draw=draw_days, better="lower left")]

`draw(figure, table)` gets an empty figure of matplotlib and the table of that key; reports.drawing has the axes, colours and marks.
The verb sets `HAS_PICTURES = True`, which gives it `--plot`, and a row in tools/gallery.py puts the page into docs/gallery/: the test
of pictures, which reads each against its table, and the browser's test go by those rows.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from html import escape

from estimators.errors import MissingPackageError
from estimators.printable import cut, printable
from reports.drawing import DARK
from reports.lines import natural_widths
from reports.pages.picture import WIDTH_IN, Picture
from reports.render import html_table, wordy_columns
from reports.screen import Screen
from reports.table import Table

_DARK_PICTURES = "".join(
    f"figure svg [style*='{what}: {light}']{{{what}:{dark}!important}}" for light, dark in DARK.items() for what in ("fill", "stroke")
)

CSS = f"""
:root {{ color-scheme: light dark; --ink: #1d1f21; --paper: #fff; --soft: #5b6066; --line: #d9dcdf; --rule: #8a9097; --doubt: #a61b1b; }}
* {{ box-sizing: border-box; }}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 1160px; margin: 2rem auto; padding: 0 1rem; color: var(--ink);
  background: var(--paper); overflow-wrap: break-word; }}
h1 {{ font-size: 1.4rem; line-height: 1.3; margin: 0 0 .5rem; }}
h2 {{ font-size: 1.02rem; margin: 2rem 0 .2rem; }} p {{ margin: .25rem 0; }}
a {{ color: inherit; }} .doubt {{ color: var(--doubt); }} .soft, figcaption, th small {{ color: var(--soft); }}
.pictures {{ columns: 2 30rem; column-gap: 1.4rem; margin: 1.2rem 0; }}
figure {{ margin: 0 0 1.2rem; break-inside: avoid; }} figure.broad {{ column-span: all; }}
figure svg {{ width: 100%; max-width: 36rem; height: auto; display: block; }} figure.broad svg {{ max-width: 60rem; }}
figure svg text {{ fill: currentColor; }} figcaption {{ font-size: .85rem; }}
div.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums; }}
th, td {{ padding: .2rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }}
th {{ border-bottom: 2px solid var(--rule); vertical-align: bottom; }} th small {{ display: block; font-weight: normal; }}
td {{ white-space: nowrap; }} .words {{ min-width: 13rem; white-space: normal; }}
button {{ font: inherit; font-size: .8rem; color: var(--soft); background: none; border: 1px solid var(--line); border-radius: .3rem; }}
footer {{ margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: .5rem; }} footer code {{ overflow-wrap: anywhere; }}
@media (max-width: 40rem) {{ body {{ margin: 1rem auto; }} h1 {{ font-size: 1.15rem; }} th, td {{ padding: .2rem .4rem; }} }}
@media screen and (prefers-color-scheme: dark) {{
  :root {{ --ink: #e8e8e8; --paper: #17191c; --soft: #a2a8af; --line: #34383e; --rule: #6b7178; --doubt: #ff8f86; }}
  {_DARK_PICTURES} }}
@page {{ size: A4; margin: 14mm; }} @page lying {{ size: A4 landscape; margin: 14mm; }}
@media print {{ :root {{ color-scheme: light; }} body {{ margin: 0; padding: 0; max-width: none; font-size: 9.5pt; }}
  button {{ display: none; }}
  .pictures {{ columns: 2; column-gap: 5mm; }} tr {{ break-inside: avoid; }} h2 {{ break-after: avoid; }}
  div.wide {{ overflow: visible; }} section.lying {{ page: lying; }} table {{ font-size: min(8.5pt, var(--print)); width: auto; }}
  th, td {{ padding: .15em .45em; }} .words {{ min-width: 0; overflow-wrap: anywhere; }} thead {{ display: table-header-group; }} }}
"""
"""On a screen a table that is too wide scrolls by itself; on paper its letters shrink, and a very wide one lies on its side."""

SCRIPT = """
for (const table of document.querySelectorAll('table')) {
  const button = document.createElement('button');
  button.type = 'button'; button.textContent = 'copy';
  button.onclick = () => {
    const text = [...table.rows].map(row => [...row.cells].map(cell => cell.firstChild ? cell.firstChild.textContent : '').join('\\t'));
    const area = document.createElement('textarea');
    area.value = text.join('\\n'); document.body.append(area); area.select(); document.execCommand('copy'); area.remove();
    button.textContent = 'copied';
  };
  table.parentElement.before(button);
}
"""
"""A button beside each table: its cells, with a tab between them, go where copied text goes. Nothing is fetched or sent."""

_HASH = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{_HASH}'"
"""What a browser lets this page do: show itself, and run that one script."""

PORTRAIT_PT, LANDSCAPE_PT = 515, 760
"""Points across A4 within the margins."""

LETTER_EM, CELL_EM = 0.62, 1.0
"""Widths of a letter, of a broad font, and of a cell's padding, in the font's size."""

SENTENCE = 20
"""Characters that a column of sentences keeps on paper."""

LONGEST_WORD = 200
"""Characters of a word that a page shows; json has the rest of a longer one."""

SMALLEST_PT = 5.5
"""A table that would need smaller letters upright lies on its side."""


def html_page(
    tables: Sequence[Table],
    screen: Screen | None,
    pictures: Sequence[Picture] = (),
    *,
    data: Sequence[Table] = (),
    command: str = "",
) -> str:
    """A whole document.

    Args:
        tables: at least one: all of the answer.
        screen: its answer is the heading; None for the first table's title.
        pictures: of the tables' figures; without matplotlib the page says what installs it.
        data: tables that pictures show and the page leaves out, because they are too long.
        command: what made the page, as its user typed it.
    """
    screen = screen or Screen(answer=tables[0].title)
    doubt = ' class="doubt"' if screen.failed else ""
    said = [f"<p>{_text(line)}</p>" for line in screen.lead]
    said += [f'<p class="doubt">{_text(line)}</p>' for line in screen.doubts]
    notes = [f'<p class="soft">{_text(line)}</p>' for line in screen.notes]
    made_by = [f"<footer>made by <code>{escape(printable(command))}</code></footer>"] if command else []
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            f"<title>{_text(screen.answer)}</title><style>{CSS}</style></head><body>",
            f"<h1{doubt}>{_text(screen.answer)}</h1>",
            *said,
            *_introduced(screen),
            *_shown(pictures, tables, data),
            *notes,
            *(_section(table, place) for place, table in enumerate(tables)),
            *made_by,
            f"<script>{SCRIPT}</script></body></html>",
        ]
    )


def _shown(pictures: Sequence[Picture], tables: Sequence[Table], data: Sequence[Table]) -> list[str]:
    """The pictures side by side, each with the table that it shows; or why there are none."""
    try:
        drawings = [(picture, picture.svg([*tables, *data])) for picture in pictures]
    except MissingPackageError as error:
        return [f'<p class="soft">{_text(str(error))}</p>']
    if not drawings:
        return []
    places = {table.key: place for place, table in enumerate(tables)}
    figures = [
        f'<figure{_broad(picture)} aria-label="{_text(picture.title)}">{_inline(svg)}'
        f"<figcaption>figures: {_named(picture.table_in([*tables, *data]), places.get(picture.table))}</figcaption></figure>"
        for picture, svg in drawings
    ]
    return ['<div class="pictures">', *figures, "</div>"]


def _broad(picture: Picture) -> str:
    """A picture that is wider than the usual one stands across both columns."""
    return ' class="broad"' if picture.width_in > WIDTH_IN else ""


def _introduced(screen: Screen) -> list[str]:
    """The screen's own table where its last words announce it; else the page's tables hold it."""
    announced = screen.table is not None and bool(screen.lead) and screen.lead[-1].endswith(":")
    return [f'<div class="wide">{html_table(screen.table.printable())}</div>'] if announced and screen.table is not None else []


def _named(table: Table, place: int | None) -> str:
    """The table of a picture, with a way to it."""
    title = _text(table.title)
    return f"{title}: --format json" if place is None else f'<a href="#t{place}">{title}</a>'


def _section(table: Table, place: int) -> str:
    """One table with its title, conditions and notes, and how it is printed."""
    table = table.printable().reworded(_shortened)
    lines = [f"<p>{_text(line)}</p>" for line in table.conditions]
    cells = table.cells()
    headers, sentences = [max([*c.header.split(), table.kind_of(c)], key=len) for c in table.shown], wordy_columns(cells)
    widths = natural_widths(headers, cells) if table.rows else []
    least = [min(width, SENTENCE) if place in sentences else width for place, width in enumerate(widths)]
    ems = sum(LETTER_EM * letters + CELL_EM for letters in least) or 1.0
    lies = PORTRAIT_PT / ems < SMALLEST_PT
    points = (LANDSCAPE_PT if lies else PORTRAIT_PT) / ems
    grid = [f'<div class="wide" style="--print: {points:.2f}pt">{html_table(table)}</div>'] if table.rows else []
    notes = [f'<p class="soft">{_text(line)}</p>' for line in table.notes]
    way = ' class="lying"' if lies else ""
    return "\n".join([f'<section id="t{place}"{way}><h2>{_text(table.title)}</h2>', *lines, *grid, *notes, "</section>"])


def _text(line: str) -> str:
    return escape(_shortened(printable(line)))


def _shortened(text: str) -> str:
    """A text without the ends of its endless words."""
    return re.sub(rf"\S{{{LONGEST_WORD + 1},}}", lambda word: cut(word[0], LONGEST_WORD), text)


def _inline(svg: str) -> str:
    """A picture inside of a page has no prologue of its own, and no description beside its title's text."""
    begun = svg[svg.index("<svg") :]
    before, _, after = begun.partition(" <metadata>")
    return before + after.partition("</metadata>\n")[2] if after else begun
