"""Names that a stranger wrote into a record, in every format: nothing raw reaches a terminal or a file, and json keeps the name."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.callbacks import watch
from bench.cli.main import main
from bench.records.asked import Asked
from bench.records.draft import write
from bench.records.record import Finding, Measurement, read
from reports.render import RENDERERS, render
from reports.table import Column, Table
from tests.support.hostile_text import BY_HAND, acting, drawn
from tests.support.tiny_models import record

TEXTS = list(drawn(300))


def table(text: str) -> Table:
    """A table with the text in each of its places."""
    columns = [Column(key="name", header=text), Column(key="value", header="value", align="right"), Column(key="raw", header="", raw=True)]
    rows = [{"name": text, "value": 1, "raw": text}, {"name": "b", "value": None, "raw": None}]
    facts = {"said": text, text: 1}
    return Table(title=text, columns=columns, rows=rows, conditions=[text], notes=[text], facts=facts, key="table")


@pytest.mark.parametrize("style", RENDERERS)
def test_no_format_lets_through_what_acts(style: str) -> None:
    for text in TEXTS:
        assert acting(render([table(text)], style, width=60), may="\n\t" if style == "csv" else "\n") == [], ascii(text)
        assert acting(RENDERERS[style]([table(text), table(text)]), may="\n\t" if style == "csv" else "\n") == [], ascii(text)


def test_json_keeps_the_text_and_csv_shows_it_written_out() -> None:
    for text in TEXTS:
        body = json.loads(render([table(text)], "json"))
        assert body["title"] == body["conditions"][0] == body["rows"][0]["name"] == body["said"] == text
        (row, _) = csv.DictReader(io.StringIO(render([table("x\x1b[31m")], "csv")))
    assert row["name"] == r"x\x1b[31m"


@pytest.mark.parametrize("style", ["text", "md"])
def test_a_grid_keeps_its_lines_whatever_is_in_a_cell(style: str) -> None:
    lines = len(render([table("x")], style).splitlines())
    for text in TEXTS:
        assert len(render([table(text)], style).split("\n")) == lines, ascii(text)


def test_a_format_that_cleaned_nothing_would_be_found() -> None:
    assert acting(json.dumps({"name": "x\u202e"}, ensure_ascii=False)) == ["\u202e"]


def hostile(text: str) -> Measurement:
    """A record with the text wherever it holds one that is not ours."""
    made = record("train")
    request = Asked(**{**made.request.stated(), "model": text, "prompt": text})
    return dataclasses.replace(
        made,
        request=request,
        environment=made.environment.replaced(system=text, argv=(text,), variables={"LD_PRELOAD": text}, versions={text: text}),
        warnings=(Finding(code=text, text=text, advice=text),),
        unavailable={"energy_j": text, text: text},
        status_reason=text,
    )


def test_a_record_file_holds_nothing_that_acts_and_reads_back_the_same(tmp_path: Path) -> None:
    for text in TEXTS[:80]:
        made = hostile(text)
        assert acting(made.to_json(), may="\n") == [], ascii(text)
    write(made, tmp_path / "one.json")
    assert read(tmp_path / "one.json") == made


@pytest.mark.parametrize("style", RENDERERS)
def test_a_report_of_hostile_records_shows_nothing_that_acts(style: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number, text in enumerate(BY_HAND):
        write(dataclasses.replace(hostile(text), run_id=f"r{number}"), tmp_path / f"r{number}.json")
    (tmp_path / "x\x1b[31m\u202e.json").write_text("no record", encoding="utf-8")
    for path in (tmp_path, *sorted(tmp_path.glob("r*.json"))[:4]):
        assert main(["report", str(path), "--format", style]) in (0, 1)
        printed = capsys.readouterr()
        assert acting(printed.out, may="\n\t" if style == "csv" else "\n") == []
        assert acting(printed.err, may="\n") == []
        main(["report", str(path), "--format", style, "--output", str(tmp_path / "table")])
        assert acting((tmp_path / "table").read_text(encoding="utf-8"), may="\n\t" if style == "csv" else "\n") == []
        (tmp_path / "table").unlink()


WORDS = [
    *(["report"], ["show", "--config"], ["estimate", "--config"], ["show", "--model"], ["list"], ["compare", "x"], []),
    *(["estimate", "--model", "gpt2", "--hardware"], ["plan", "--model", "gpt2", "--gpus", "8", "--hardware"]),
    *(["estimate", "--model", "gpt2", "--tokens"], ["report", "--output"], ["run", "--model", "gpt2", "--task"]),
]


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_complaint_that_quotes_what_was_typed_is_one_line_and_acts_nowhere(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for text in TEXTS[:40]:
        assert main([*words, text]) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith("error: ")
        assert printed.err.count("\n") == 1
        assert acting(printed.err, may="\n") == [], ascii(text)


def test_the_record_of_a_watched_training_with_a_hostile_name_shows_nothing_that_acts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    net = nn.Linear(8, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    watched = watch([torch.ones(4, 8)] * 4, net, out=str(tmp_path), every=1, ceilings=False, name="x\x1b[31m\x00\u202e")
    for x in watched:
        loss = net(x).pow(2).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        watched.loss(loss)
    (path,) = tmp_path.glob("*.json")
    assert acting(str(path)) == []
    assert acting(path.read_text(encoding="utf-8"), may="\n") == []
    assert read(path).request.model == "x\x1b[31m\x00\u202e"
    for style in RENDERERS:
        assert main(["report", str(path), "--format", style]) in (0, 1)
    printed = capsys.readouterr()
    assert acting(printed.out + printed.err, may="\n") == []
    assert r"x\x1b[31m\x00\u202e" in printed.out
