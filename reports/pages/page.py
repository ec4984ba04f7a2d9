"""One HTML page that needs nothing else: the answer, pictures, every table."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from estimators.printable import printable
from reports.render import render
from reports.screen import Screen
from reports.table import Table

CSS = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.35rem; } h2, h3 { font-size: 1.05rem; margin-top: 2rem; } p { margin: .3rem 0; }
figure { margin: 1.2rem 0; } figure svg { width: 100%; min-width: 40rem; max-width: 60rem; height: auto; } figcaption { color: #555; }
table { border-collapse: collapse; margin: .6rem 0; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem; border-bottom: 1px solid #ddd; vertical-align: top; } th { border-bottom: 2px solid #888; }
td[style*="right"] { white-space: nowrap; }
.doubt { color: #a00; } .notes { color: #555; } div.scroll { overflow-x: auto; }
@media (max-width: 40rem) { body { margin: 1rem auto; } h1 { font-size: 1.15rem; } th, td { padding: .2rem .4rem; } }
"""
"""On a phone pictures and wide tables keep a width at which they can be read, and scroll by themselves."""


def html_page(screen: Screen, tables: Sequence[Table], pictures: Sequence[tuple[str, str]], missing: str = "") -> str:
    """A whole document.

    Args:
        screen: its answer is the heading.
        pictures: caption and SVG.
        missing: why there are none; empty where there are.
    """
    doubt = ' class="doubt"' if screen.failed else ""
    said = [f"<p>{_text(line)}</p>" for line in screen.lead]
    said += [f'<p class="doubt">{_text(line)}</p>' for line in screen.doubts]
    shown = [
        f'<figure><div class="scroll">{_inline(svg)}</div><figcaption>{_text(caption)}</figcaption></figure>' for caption, svg in pictures
    ]
    shown += [f'<p class="notes">{_text(missing)}</p>'] if missing else []
    notes = [f'<p class="notes">{_text(line)}</p>' for line in screen.notes]
    whole = [f'<div class="scroll">{render([table], "html")}</div>' for table in tables]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_text(screen.answer)}</title><style>{CSS}</style></head><body>",
            f"<h1{doubt}>{_text(screen.answer)}</h1>",
            *said,
            *shown,
            *notes,
            *whole,
            "</body></html>",
        ]
    )


def _text(line: str) -> str:
    return escape(printable(line))


def _inline(svg: str) -> str:
    """A picture inside of a page has no prologue of its own."""
    return svg[svg.index("<svg") :]
