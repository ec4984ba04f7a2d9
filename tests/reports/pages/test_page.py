"""A page is whole by itself: one file that asks for nothing, holds every table, its pictures or how to get them, and the command."""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.cli.main import main
from estimators.frozen import replace
from reports.pages.page import html_page
from reports.pages.picture import Picture
from reports.screen import Screen
from reports.table import Column, Table
from tests.support.hostile_text import acting, drawn

VERBS = [
    "list conventions",
    "show phi-2",
    "estimate gpt2 --tokens 1B --hardware h100-sxm5-80gb --gpus 8",
    "translate --model gpt2 --mfu 0.4 --from palm --to megatron",
    "fit llama-3.1-8b --hardware h100-sxm5-80gb --method lora",
]


class Outline(HTMLParser):
    """What a page is made of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "action", "srcset", "data")]


TABLE = Table(
    title="Times",
    columns=[Column(key="name", header="name"), Column(key="x", header="x", align="right"), Column(key="y", header="y", align="right")],
    rows=[{"name": "a", "x": 1, "y": 2}],
    notes=["a note"],
    kind="estimated",
    key="times",
)


@pytest.mark.parametrize("words", VERBS)
def test_every_verb_has_a_whole_page_that_asks_for_nothing(words: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    assert main([*shlex.split(words), "--output", str(file)]) == 0
    page = file.read_text(encoding="utf-8")
    outline = Outline(page)
    assert page.startswith("<!doctype html>\n")
    assert [outline.tags.count(tag) for tag in ("html", "body", "h1", "link", "img", "iframe")] == [1, 1, 1, 0, 0, 0]
    assert all(address.startswith("#") for address in outline.addresses)
    assert not re.search(r"url\((?!#)|@import", page)
    assert "default-src 'none'" in page
    assert outline.tags.count("table") >= 1
    assert len(page.encode()) < 400_000
    command = re.search(r"<footer>made by <code>(.*)</code></footer>\n<script>", page)
    assert command is not None
    assert command[1] == f"python -m bench {words} --output {shlex.quote(str(file))}"


def test_the_command_says_no_more_of_this_machine_than_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "my page.html"
    assert main(["list", "conventions", "--output", str(file)]) == 0
    page = file.read_text(encoding="utf-8")
    assert "list conventions --output &#x27;~/my page.html&#x27;" in page
    assert str(tmp_path) not in page


def test_only_its_own_script_may_run() -> None:
    page = html_page([TABLE], None)
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    assert f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in page


def test_a_column_says_what_kind_its_figures_are() -> None:
    priced = replace(TABLE, columns=[*TABLE.columns[:2], replace(TABLE.columns[2], kind="published")])
    page = html_page([priced], None)
    assert "<th>name</th>" in page
    assert [re.search(rf">{name}<small>(\w+)</small></th>", page)[1] for name in "xy"] == ["estimated", "published"]  # type: ignore[index]
    assert "<small>" not in html_page([replace(TABLE, kind=None)], None)


def test_what_strangers_wrote_is_text_wherever_it_stands() -> None:
    pytest.importorskip("matplotlib")

    def draw(figure: object, table: Table) -> None:
        figure.add_subplot().set(xlabel=table.title)  # type: ignore[attr-defined]

    for text in [*drawn(40), "</script><img src=x onerror=alert(1)>", "</style><b>", "--></svg><b>", "'\"><b>"]:
        table = Table(
            title=text, columns=[Column(key="a", header=text)], rows=[{"a": text}], conditions=[text], notes=[text], key="hostile"
        )
        screen = Screen(answer=text, lead=[text], doubts=[text], notes=[text])
        pictures = [Picture(title=text, table="hostile", draw=draw)] if text.startswith(("<", "'", "-")) else []
        page = html_page([table], screen, pictures, command=text)
        assert acting(page, may="\n") == [], ascii(text)
        outline = Outline(page)
        assert [outline.tags.count(tag) for tag in ("script", "img", "b", "svg", "style")] == [1, 0, 0, len(pictures), 1 + len(pictures)]


def test_without_matplotlib_a_page_has_its_tables_and_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    page = html_page([TABLE], None, [Picture(title="a", table="times", draw=lambda figure, table: None)])
    assert "a picture needs matplotlib: " in page
    assert "[plots]" in page
    assert "<td>a</td>" in page


def test_a_table_that_is_too_wide_for_paper_lies_on_its_side() -> None:
    many = [Column(key=f"k{number}", header=f"some header {number}", align="right") for number in range(16)]
    wide = Table(title="Wide", columns=many, rows=[{column.key: 12345.678 for column in many}])
    page = html_page([TABLE, wide], None)
    assert re.findall(r'<section id="t(\d)"( class="lying")?>', page) == [("0", ""), ("1", ' class="lying"')]


PLOT = ["serve", "llama-3.1-8b", "--hardware", "l40s-48gb", "--concurrency", "1..8", "-q", "--plot"]


def test_a_picture_alone_is_a_file_and_further_ones_stand_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert main([*PLOT, str(tmp_path / "s.svg")]) == 0
    printed = capsys.readouterr()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s-2.svg", "s-3.svg", "s-4.svg", "s.svg"]
    assert (tmp_path / "s.svg").read_text(encoding="utf-8").startswith("<?xml")
    assert printed.out.count("\n") == 1
    assert [line.split(": ")[0] for line in printed.err.splitlines()] == [f"· {tmp_path / f's-{place}.svg'}" for place in (2, 3, 4)]
    assert main([*PLOT, str(tmp_path / "s.PNG")]) == 0
    assert (tmp_path / "s.PNG").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([*PLOT, "s.pdf"], "'s.pdf' names no picture; expected a file that ends in .svg or .png"),
        (["list", "models", "--plot", "a.svg"], "unknown option '--plot'"),
        (
            ["serve", "llama-3.1-8b", "--hardware", "l40s-48gb", "--simulate", "--rate", "2", "--plot", "a.svg"],
            "this answer has no picture",
        ),
    ],
)
def test_a_picture_that_cannot_be_is_refused_in_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert said in printed.err
    assert printed.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
