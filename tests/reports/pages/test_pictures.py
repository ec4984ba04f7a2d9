"""Every picture of the gallery, read against its table: no figure that the table does not hold, axes that begin at zero or say otherwise.

The rows are the gallery's, so that a page which is put there is read here.
"""

from __future__ import annotations

import re
import shlex
from typing import Any
from xml.etree import ElementTree

import pytest

from reports.drawing import from_zero
from reports.pages.picture import Picture, files_of
from reports.table import Column, Table
from tests.support.hostile_text import BY_HAND, acting
from tests.support.pictured import axes_not_said, figure_of, points_not_held, words_not_held
from tools.answered import answered
from tools.gallery import GALLERY

pytest.importorskip("matplotlib")


BESIDE = [
    "estimate phi-2 --hardware a100-sxm4-80gb",
    "estimate phi-2",
    "estimate llama-3.1-8b --tokens 100M --hardware h100-sxm5-80gb --gpus 8 --lora-rank 16 --software transformers",
    "plan llama-2-7b --hardware a100-sxm4-80gb --gpus 64",
    "compare-hardware gpt2 --tokens 1B --hardware a100-sxm4-80gb,h100-sxm5-80gb,h200-sxm-141gb --utilization 0.4",
    "serve llama-3.1-70b --hardware h100-sxm5-80gb --gpus 1",
    "estimate llama-3-8b --tokens 1T --hardware h100-sxm5-80gb --gpus 512 --utilization 0.4",
    "estimate vit-b-16 --tokens 1T --hardware h100-sxm5-80gb --gpus 64",
    "fit --hardware rtx-3060-12gb --menu",
    "serve llama-3.1-70b --hardware h100-sxm5-80gb --ttft 1s --itl 50ms --search",
    "serve llama-3.1-8b --hardware l40s-48gb --input 100 --output 1 --concurrency 1..4",
]
"""Answers with pictures that no page of the gallery has."""

ANSWERS = {name: [*shlex.split(words), "page.html"] for name, (_, words) in GALLERY.items()} | {w: shlex.split(w) for w in BESIDE}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_picture_shows_no_figure_that_its_table_does_not_hold(name: str) -> None:
    answer = answered(ANSWERS[name])
    tables = [*answer.tables, *answer.data]
    assert answer.pictures
    for picture in answer.pictures:
        figure, table = figure_of(picture, tables), picture.table_in(tables)
        assert points_not_held(figure, table) == [], picture.title
        assert words_not_held(figure, table) == [], picture.title
        assert axes_not_said(figure, table) == [], picture.title
        assert picture.title in figure.get_suptitle().replace("\n", " ")


TABLE = Table(
    title="Two",
    columns=[Column(key="name", header="name"), Column(key="x", header="x", align="right")],
    rows=[{"name": "a", "x": 2.5}, {"name": "b", "x": 10}],
    facts={"most": 12},
    key="two",
)


def drawn_wrongly(figure: Any, table: Table) -> None:
    axes = figure.add_subplot()
    axes.plot([row["x"] for row in table.rows], [2.5, 9.9], label="about 41 tokens")
    axes.fill_between([2.5, 10], [2.5, 10], [7.0, 10])
    axes.axhline(12)
    axes.axhline(13)
    axes.set(xlim=(1, 11))
    from_zero(axes, "y", "y", lambda value: f"{value:g}")
    axes.legend()


def test_a_figure_that_no_table_holds_would_be_found() -> None:
    figure = figure_of(Picture(title="One", table="two", draw=drawn_wrongly), [TABLE])
    assert set(points_not_held(figure, TABLE)) == {"y 9.9", "y 7", "y 13"}
    assert words_not_held(figure, TABLE) == ["about 41 tokens"]
    assert axes_not_said(figure, TABLE) == ["'' from 1"]


def drawn_with_names(figure: Any, table: Table) -> None:
    axes = figure.add_subplot()
    for row in table.rows:
        axes.plot([row["x"]], [row["x"]], label=row["name"])
        axes.annotate(row["name"], (row["x"], row["x"]))
    from_zero(axes, "x", table.title, str)
    from_zero(axes, "y", str(table.facts["said"]), str)
    axes.legend()


MARKUP = ("$x^2$ and $\\frac{a}$", "</svg><script>a</script>", "]]><b>", "a & <b> 'c' \"d\" --> e")


def test_a_hostile_name_is_text_in_a_picture_and_nothing_else() -> None:
    texts = [*BY_HAND, *MARKUP]
    rows = [{"name": text, "x": place + 1} for place, text in enumerate(texts)]
    table = Table(title=MARKUP[0], columns=TABLE.columns, rows=rows, facts={"said": MARKUP[1]}, key="two")
    svg = Picture(title="".join(texts), table="two", draw=drawn_with_names, height_in=11).svg([table])
    root = ElementTree.fromstring(svg)
    assert acting(svg, may="\n") == []
    assert not re.search(r"<(script|b)\b", svg)
    shown = [node.text for node in root.iter() if node.tag.endswith("}text")]
    assert all(shown.count(text) == 2 for text in MARKUP if "b" in text)


def test_files_beyond_the_first_stand_beside_it() -> None:
    assert files_of("a.b/plan.svg", 2) == ["a.b/plan.svg", "a.b/plan-2.svg"]
    assert files_of("plan.png", 0) == []


def test_a_count_beyond_a_machine_s_integers_is_drawn() -> None:
    """2^80 bytes are more than 64 bits count."""
    table = Table(title="", columns=[Column(key="size", header="size")], rows=[{"size": 2**80}, {"size": 3}], key="sizes")
    picture = Picture(title="sizes", table="sizes", draw=lambda figure, t: _bars(figure.add_subplot(), t))
    assert "<svg" in picture.svg([table])
    assert [row["size"] for row in picture.table_in([table]).rows] == [2.0**80, 3]


def _bars(axes: Any, table: Table) -> None:
    for place, row in enumerate(table.rows):
        axes.barh([place], [row["size"]])
