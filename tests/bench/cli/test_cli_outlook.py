"""--outlook: what lies around a planned training, the same figures on a page, in json and in a terminal."""

from __future__ import annotations

import contextlib
import io
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from bench.cli.main import main

PLAN = "plan llama-2-7b --tokens 100B --hardware h100-sxm5-80gb,a100-sxm4-80gb --gpus 16"
ESTIMATE = "estimate llama-2-7b --tokens 100B --hardware h100-sxm5-80gb --gpus 16"
COMPARE = "compare-hardware llama-2-7b --tokens 100B --hardware h100-sxm5-80gb,a100-sxm4-80gb --gpus 16"
AROUND = {PLAN: ("held", "scaling", "knobs", "near_runs"), ESTIMATE: ("held", "scaling", "knobs", "near_runs"), COMPARE: ("held",)}


@pytest.fixture(scope="module")
def answers() -> dict[str, dict[str, Any]]:
    """The body of each answer with --outlook."""
    bodies = {}
    for words in AROUND:
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert main([*shlex.split(words), "--outlook", "--json"]) == 0
        bodies[words] = json.loads(printed.getvalue())
    return bodies


def said(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(shlex.split(words)) == 0
    return capsys.readouterr().out


def test_a_page_has_the_tables_that_the_option_gives_json(answers: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    for words, keys in AROUND.items():
        assert main([*shlex.split(words), "--output", str(tmp_path / "page.html")]) == 0
        page = (tmp_path / "page.html").read_text(encoding="utf-8")
        for key in keys:
            assert f"<h2>{answers[words][key]['title']}</h2>" in page


def test_a_terminal_has_them_below_the_same_answer(answers: dict[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    text, plain = said(f"{ESTIMATE} --outlook", capsys), said(ESTIMATE, capsys)
    assert text.splitlines()[0] == plain.splitlines()[0]
    for key in AROUND[ESTIMATE]:
        assert answers[ESTIMATE][key]["title"] in " ".join(text.split())
        assert answers[ESTIMATE][key]["title"] not in " ".join(plain.split())


def test_two_verbs_say_the_same_of_the_same_training(answers: dict[str, dict[str, Any]]) -> None:
    planned, estimated = answers[PLAN], answers[ESTIMATE]
    for key in ("scaling", "knobs", "near_runs"):
        assert planned[key] == estimated[key]
    one, other = ({key: value for key, value in body["held"]["rows"][0].items() if value} for body in (planned, estimated))
    assert one == other
    assert sum(value for key, value in one.items() if key.endswith("_bytes")) == pytest.approx(one["needed_memory"])


def test_without_tokens_there_is_only_the_memory(capsys: pytest.CaptureFixture[str]) -> None:
    body = json.loads(said("plan llama-2-7b --hardware h100-sxm5-80gb --gpus 16 --outlook --json", capsys))
    assert "held" in body
    assert not {"scaling", "knobs", "near_runs"} & set(body)
