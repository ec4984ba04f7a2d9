"""`--explain`: each figure can be worked out again from the formula and the numbers that stand beside it."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from bench.cli.main import main
from reports.table import Table
from reports.views.explain.formula import FormulaStep, Input, explanation_table

QUESTIONS = [
    "estimate --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb --gpus 1024 --utilization 0.45",
    "estimate --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb --convention causal",
    "estimate --model phi-2 --tokens 1.4T --hardware a100-sxm4-80gb --gpus 96 --days 14 --convention hardware",
    "estimate --model phi-2 --tokens 1.4T --hardware a100-sxm4-80gb --gpus 96 --days 14 --convention 6nd",
    "estimate --model llama-3-8b --tokens 1T --hardware h100-sxm5-80gb --deadline 30d --seq-len 4096",
    "estimate --model llama-3-8b --hardware h100-sxm5-80gb --budget-usd 1M",
    "estimate --model llama-3-8b --hardware h100-sxm5-80gb --budget-gpu-days 100 --price 2",
    "estimate --model mlp --tokens 1M --hardware a100-sxm4-80gb --dtype fp32",
    "estimate --model gemma-2-9b --tokens 100B --hardware h100-sxm5-80gb --gpus 64 --seq-len 8192",
    "estimate --model phi-2",
    "estimate --model phi-2 --hardware a100-sxm4-80gb --batch 4 --prompt-tokens 100 --convention hardware",
    "estimate --model phi-2 --hardware a100-sxm4-80gb --batch 4 --seq-len 100 --convention causal --dtype fp16",
    "estimate --model spam --hardware a100-sxm4-80gb --batch 32",
]


@pytest.fixture
def explained(capsys: pytest.CaptureFixture[str]) -> Any:
    def run(question: str) -> list[dict[str, Any]]:
        assert main([*shlex.split(question), "--explain", "--format", "json"]) == 0
        body = json.loads(capsys.readouterr().out)
        return body["explanation"]["rows"]  # type: ignore[no-any-return]

    return run


def by_figure(rows: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The rows of each figure; one begins with what it is."""
    figures: list[list[dict[str, Any]]] = []
    for row in rows:
        if row["part"] == "is":
            figures.append([])
        figures[-1].append(row)
    return figures


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_formula_gives_its_figure(question: str, explained: Any) -> None:
    figures = by_figure(explained(question))
    assert len(figures) >= 3
    for rows in figures:
        (formula,) = [row["text"] for row in rows if row["part"] == "formula"]
        numbers = {row["symbol"]: row["value"] for row in rows if row["part"] == "with"}
        worked_out = eval(formula.replace("·", "*"), {"max": max}, numbers)
        assert worked_out == pytest.approx(rows[0]["value"], rel=1e-9), rows[0]["figure"]


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_number_has_a_source_and_every_figure_a_check(question: str, explained: Any) -> None:
    for rows in by_figure(explained(question)):
        assert all(row["source"] for row in rows if row["part"] == "with")
        assert any(row["part"] == "check" for row in rows)


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_check_runs_and_shows_what_it_promises(question: str, explained: Any, capsys: pytest.CaptureFixture[str]) -> None:
    for rows in by_figure(explained(question)):
        for check in (row["text"] for row in rows if row["part"] == "check"):
            program, *words = shlex.split(check)
            assert program == "python"
            if words[0] == "-c":
                assert eval(words[1].removeprefix("print"), {"max": max}) == pytest.approx(rows[0]["value"], rel=1e-9)
                continue
            assert words[:2] == ["-m", "bench"]
            assert main([*words[2:], "--format", "json"]) == 0
            shown = json.loads(capsys.readouterr().out)
            inputs = {row["symbol"]: row["value"] for row in rows if row["part"] == "with"}
            if words[2] == "show":
                by_6nd = 6 * shown["params"] * inputs.get("T", 0)
                assert rows[0]["value"] in (shown["params"], shown["rows"][-1]["flop"], by_6nd)
            else:
                (device,) = shown["rows"]
                assert {inputs.get("P"), inputs.get("W")} & set(device.values())


def test_the_explanation_agrees_with_the_answer(capsys: pytest.CaptureFixture[str]) -> None:
    main([*shlex.split(QUESTIONS[0]), "--explain", "--format", "json"])
    body = json.loads(capsys.readouterr().out)
    figures = {row["figure"]: row["value"] for row in body["explanation"]["rows"] if row["part"] == "is"}
    assert figures["parameters"] == body["params"]
    assert figures["training FLOP"] == body["training_flop"]
    assert figures["GPU-days"] == body["gpu_days"]
    assert figures["wall time"] == body["wall_days"]
    assert figures["energy"] == body["energy_j"]
    assert figures["cost"] == body["cost_usd_median"]


def test_comparing_explains_each_device(capsys: pytest.CaptureFixture[str]) -> None:
    devices = "a100-sxm4-80gb,h100-sxm5-80gb"
    main(shlex.split(f"compare-hardware --model gpt-3 --tokens 300B --hardware {devices} --utilization 0.4 --explain --format json"))
    body = json.loads(capsys.readouterr().out)
    for device in ("a100-sxm4-80gb", "h100-sxm5-80gb"):
        (peak,) = {row["value"] for row in body[f"explanation of {device}"]["rows"] if row["symbol"] == "P"}
        assert peak == next(row["peak_flop_per_s"] for row in body["rows"] if row["hardware"] == device)


def explanation(value: float) -> Table:
    inputs = (Input(symbol="a", value=6, text="6", source="given"), Input(symbol="b", value=7, text="7", source="given"))
    return explanation_table([FormulaStep(figure="answer", value=value, text=str(value), formula="a · b", inputs=inputs)], what="a product")


def test_a_figure_that_its_formula_does_not_give_would_be_found() -> None:
    for value, agrees in ((42, True), (41, False)):
        rows = [dict(row) for row in explanation(value).rows]
        numbers = {row["symbol"]: row["value"] for row in rows if row["part"] == "with"}
        assert (eval("a * b", {}, numbers) == rows[0]["value"]) is agrees
        assert rows[-1]["text"] == 'python -c "print(6 * 7)"'
