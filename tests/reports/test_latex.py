r"""LaTeX that fits the page: shares of the line that add up to no more than it, nothing in a cell that cannot be broken to fit.

Of an article in 10 pt: its text is 345 pt wide and 43 lines of 12 pt high (LaTeX's size10.clo), a digit of cmr7 3.98 pt (cmr7.tfm).
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.cli.main import main
from estimators.frozen import replace
from reports.latex import LINE, MAX_PIECE, parts
from reports.render import render
from reports.table import Column, Table

TEXT_WIDTH_PT, SEPARATION_PT, DIGIT_PT = 345, 6, 3.98
WORDS = "a cell of many words that has to wrap within its column because no line of any page is as long as it is"
ADDRESS = "https://example.org/a/very-long/path/that_nobody.wraps?query=" + "x" * 60


def wide(num_columns: int, num_rows: int = 3) -> Table:
    return Table(
        title="Wide",
        columns=[
            Column(key="device", header="device"),
            *(Column(key=f"n{i}", header=f"figure {i}", align="right") for i in range(num_columns - 3)),
            Column(key="why", header="why"),
            Column(key="source", header="source"),
        ],
        rows=[
            {
                "device": f"rtx-pro-6000-bw-server-{i}",
                "why": WORDS,
                "source": ADDRESS,
                **{f"n{j}": 10 ** (j + 4) for j in range(num_columns - 3)},
            }
            for i in range(num_rows)
        ],
        notes=["A note."],
    )


def shares(rendered: str) -> list[list[float]]:
    """Of each part of the tables, the share of the line that each column has."""
    heads = re.findall(r"^\\begin\{longtable\}\{(.*)\}$", rendered, re.MULTILINE)
    return [[float(share) for share in re.findall(r"p\{([0-9.]+)\\linewidth\}", head)] for head in heads]


def too_wide(rendered: str) -> list[str]:
    """What passes the width of the text."""
    found = []
    for body, columns in zip(re.findall(r"\\begin\{longtable\}.*?\\end\{longtable\}", rendered, re.DOTALL), shares(rendered), strict=True):
        if sum(columns) * TEXT_WIDTH_PT + SEPARATION_PT * (len(columns) - 1) > TEXT_WIDTH_PT:
            found.append(f"columns of {sum(columns):.3f} of the line")
        for row in re.findall(r"^(.*) \\\\$", body, re.MULTILINE):
            for cell, share in zip(re.split(r" & ", row), columns, strict=True):
                plain = re.sub(r"\\text\w+\{\}|\$\\\w+\$|\\([&%$#_{}])", "x", cell.replace("-{}-", "--"))
                pieces = [piece for word in plain.split() for piece in word.split(r"\allowbreak{}")]
                found += [piece for piece in pieces if len(piece) * DIGIT_PT > share * TEXT_WIDTH_PT]
    return found


@pytest.mark.parametrize("num_columns", [3, 4, 8, 20, 40])
def test_no_part_passes_the_width_of_the_text(num_columns: int) -> None:
    rendered = render([wide(num_columns)], "latex")
    assert too_wide(rendered) == []
    assert rendered.count(r"\begin{longtable}") == rendered.count(r"\end{longtable}") >= num_columns // 8


def test_a_row_that_is_too_wide_would_be_found() -> None:
    rendered = render([wide(8)], "latex")
    assert too_wide(rendered.replace(r"\allowbreak{}", ""))
    assert too_wide(re.sub(r"p\{0\.\d+", "p{0.5", rendered))


def test_each_part_begins_with_the_first_column_and_each_other_column_stands_once() -> None:
    table = wide(20)
    headers, cells, aligns = [c.header for c in table.columns], table.cells(), [c.align for c in table.columns]
    split = parts(headers, cells, aligns)
    assert len(split) > 1
    assert all(next(iter(widths)) == 0 for widths in split)
    assert sorted(i for widths in split for i in widths if i) == list(range(1, 20))
    assert all(sum(widths.values()) + 2 * (len(widths) - 1) <= LINE for widths in split)
    assert render([table], "latex").count("(part ") == len(split)


def test_nothing_is_lost_in_breaking() -> None:
    rendered = render([wide(8)], "latex").replace(r"\allowbreak{}", "").replace(r"\_", "_")
    for text in (ADDRESS, WORDS, "A note.", "rtx-pro-6000-bw-server-2"):
        assert text in rendered


def test_a_number_stays_whole() -> None:
    assert "10000000000000" in render([wide(14)], "latex")
    assert len("1,000,000,000,000,000,000") == MAX_PIECE + 1  # a quintillion is the first that is torn apart


def test_a_long_table_goes_on_over_pages_with_its_head() -> None:
    rendered = render([wide(4, num_rows=400)], "latex")
    assert r"\begin{table}" not in rendered
    assert rendered.count(r"\endhead") == rendered.count(r"\begin{longtable}")


def test_what_it_needs_are_three_packages_of_every_distribution() -> None:
    rendered = render([wide(4), wide(3)], "latex")
    assert rendered.startswith("% needs \\usepackage{array,booktabs,longtable}\n")
    assert not re.search(r"resizebox|adjustbox|landscape", rendered)
    assert rendered.count(r"\usepackage") == 1


COMMANDS = (
    "list hardware",
    "list conventions",
    "plan --model llama-2-7b --tokens 1T --hardware a100-sxm4-80gb --gpus 64",
    "compare-hardware --model llama-2-7b --tokens 1T --hardware all --gpus 64",
    "estimate --model llama-3-8b --tokens 1T --hardware h100-sxm5-80gb --gpus 64 --explain",
    "show --model phi-2",
    "check-claim --model phi-2 --tokens 1.4T --hardware a100-sxm4-80gb --gpus 96 --days 14",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_verbs_answer_fits(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--format", "latex"]) == 0
    rendered = capsys.readouterr().out
    assert shares(rendered)
    assert too_wide(rendered) == []
    assert not {c for c in rendered if ord(c) > 0xFF} - set("–—‘’“”")  # what LaTeX knows without another package


@pytest.mark.slow  # a TeX that few machines have
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex")
@pytest.mark.parametrize("command", COMMANDS)
def test_an_article_with_it_is_set_without_an_overfull_line(command: str, tmp_path: Path) -> None:
    assert main([*command.split(), "--output", str(tmp_path / "answer.tex")]) == 0
    (tmp_path / "page.tex").write_text(
        r"\documentclass{article}\usepackage{array,booktabs,longtable}\begin{document}\input{answer}\end{document}", encoding="utf-8"
    )
    said = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "page.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        errors="replace",
    )
    assert not re.search(r"^!|Overfull \\hbox", said.stdout, re.MULTILINE), said.stdout[-3000:]
    assert (tmp_path / "page.pdf").exists()


def test_a_table_without_rows_is_its_caption_and_notes() -> None:
    rendered = render([replace(wide(4), rows=())], "latex")
    assert r"\caption{Wide.}" in rendered
    assert "A note." in rendered
    assert "longtable}{" not in rendered
