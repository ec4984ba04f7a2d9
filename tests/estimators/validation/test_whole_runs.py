"""Whole runs: what they took over their predicted steady steps, an interval that holds what it has not seen, and DeepSeek-V3's own run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from estimators.facts import data
from estimators.facts.goodput import run_factor
from estimators.facts.registry import hardware
from estimators.training.layouts.job import Job
from estimators.training.run import predicted_run
from estimators.units import DAY_S, HOUR_S
from estimators.validation.compared import compared_run
from estimators.validation.model import shipped_model
from estimators.validation.run_case import measured_run
from estimators.validation.table import LeftOutError, Record, read_table, shipped_runs
from tools.run_factors import body


def row(**cells: str) -> Record:
    stated = {
        "name": "mine",
        "layers": "32",
        "hidden": "4096",
        "heads": "32",
        "kv_heads": "32",
        "ffn": "11008",
        "vocab": "32000",
        "seq_len": "4096",
        "tokens": "2000000000000",
        "gpu": "A100-SXM-80GB",
        "n_gpus": "",
        "gpu_hours": "184320",
        "precision": "bf16",
    }
    return Record(kind="runs", line=2, path="runs.csv", cells=stated | cells)


def test_the_shipped_factors_are_what_the_shipped_runs_say() -> None:
    """After anything that moves a prediction: python docs/refresh.py."""
    assert json.loads(Path(data.file("run_factors.json")).read_text(encoding="utf-8")) == body()


def test_the_interval_holds_runs_that_had_no_part_in_it() -> None:
    factors = body()
    assert len(factors) > 40
    held = [run_factor(name).low <= factor <= run_factor(name).high for name, factor in factors.items()]
    assert 0.75 <= sum(held) / len(held) <= 0.9


def test_a_factor_is_what_a_run_took_over_its_predicted_steady_steps() -> None:
    """Touvron et al. 2023 (arXiv 2307.09288), table 2: 184,320 hours for Llama 2 7B."""
    run = measured_run(row())
    assert run.device_s == 184320 * HOUR_S
    assert run.factor == pytest.approx(184320 / run.run.gpu_hours)
    days = measured_run(row(gpu_hours="", n_gpus="256 -> 512", wall_days="15"))
    assert days.device_s == 512 * 15 * DAY_S


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"tokens": ""}, "the row has no tokens"),
        ({"gpu_hours": ""}, "neither device hours nor days"),
        ({"gpu_hours": "many"}, "gpu_hours is 'many'"),
        ({"gpu": "abacus"}, "unknown GPU 'abacus'"),
        ({"layers": "", "name": "resnet-50"}, "runs of language models alone"),
        ({"layers": "", "name": "nobody's"}, "none that ships has its name"),
        ({"params_active": "1000"}, "a mixture of experts that does not ship"),
    ],
)
def test_a_run_that_is_not_predicted_says_why(cells: dict[str, str], reason: str) -> None:
    with pytest.raises(LeftOutError, match=reason):
        measured_run(row(**cells))
    assert reason in compared_run(row(**cells)).skipped


def test_a_shipped_run_has_no_part_in_its_own_factor() -> None:
    record = next(record for record in read_table(shipped_runs()) if record.id == "Llama 3.1 8B")
    entry = compared_run(record)
    assert entry.predicted == pytest.approx(measured_run(record).predicted_device_s * run_factor("Llama 3.1 8B").median)
    assert (entry.quantity, entry.measured) == ("run_device_s", 1_460_000 * HOUR_S)
    others = sorted(factor for name, factor in body().items() if name != "Llama 3.1 8B")
    seen = run_factor("Llama 3.1 8B")
    assert (seen.low, seen.high, seen.num_runs) == (others[3], others[-4], len(others)), "k = 4 of 45"


def test_deepseek_v3_s_own_run_lies_in_what_is_planned() -> None:
    """DeepSeek-AI 2024 (arXiv 2412.19437), table 1: 14.8T tokens in 2.664M hours of 2,048 H800, 54.2 days, in fp8."""
    job = Job(model=shipped_model("deepseek-v3"), hardware=hardware("h800-sxm5-80gb"), seq_len=4096, dtype="fp8")
    best_s, _, worst_s = predicted_run(job, tokens=int(14.8e12), num_devices=2048).planned_s
    assert best_s / DAY_S < 54.2 < worst_s / DAY_S


def test_a_dense_run_is_planned_by_the_factor_alone() -> None:
    job = Job(model=shipped_model("llama-3-8b"), hardware=hardware("a100-sxm4-80gb"), seq_len=8192)
    run = predicted_run(job, tokens=10**12, num_devices=256)
    factor = run_factor()
    assert run.planned_s == pytest.approx(tuple(run.wall_s * value for value in (factor.low, factor.median, factor.high)))
