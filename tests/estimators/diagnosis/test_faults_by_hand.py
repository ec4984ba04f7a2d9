"""Faults as records and traces show them, on scripted clocks: each named first, with its share by hand.

The same faults in real trainings: tests/bench/cli/test_diagnosed_faults.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from estimators.diagnosis.answer import Diagnosis, diagnose
from estimators.diagnosis.observed import Figure, Observed, Setting
from estimators.diagnosis.question import question_of
from estimators.diagnosis.readers.formats import observed_in

STEPS = 10


def record(folder: Path, *, wait_s: float = 0.0, padding: int = 0, ran_s: float = 1.0, clocks: tuple[float, float] | None = None) -> str:
    """A watched training of one warm-up step and ten steps of 1 s of work each, of 1,000 positions.

    Args:
        wait_s: for data, before each step.
        padding: positions that hold no token.
        ran_s: of each second of work, what the training's thread ran.
        clocks: mean and highest, in Hz, of a device that was held down.
    """
    period_s = 1.0 + wait_s
    phase: dict[str, Any] = {"items_per_sample": 1000 - padding, "item": "token", "clock": "host"}
    body = {
        "run_id": "made-by-hand",
        "request": {"model": "own", "batch": 1, "seq_len": 1000, "dtype": "fp32"},
        "environment": {"device": {"name": "a processor"}},
        "phases": [
            {"name": "train_step", "warmup_s": [period_s], "samples_s": [period_s] * STEPS, **phase},
            {"name": "host_step", "warmup_s": [1.0], "samples_s": [1.0] * STEPS, **phase},
        ],
        "power": {"throttled_fraction": 1.0, "mean_sm_clock_hz": clocks[0], "max_sm_clock_hz": clocks[1]} if clocks else {},
        "proof": {
            "watched": {
                "data_wait_s": [wait_s] * (STEPS + 1),
                "tokens_per_step": [1000 - padding] * (STEPS + 1),
                "padding_per_step": [padding] * (STEPS + 1),
                "processor_s": ran_s * (STEPS + 1),
            }
        },
    }
    path = folder / "record.json"
    path.write_text(json.dumps(body, indent=1), encoding="utf-8")
    return str(path)


def of(path: str) -> Diagnosis:
    return diagnose(question_of(observed_in(path)))


@pytest.mark.parametrize(
    ("fault", "cause", "share"),
    [
        ({"wait_s": 0.25}, "data_loader_suspected", 0.2),
        ({"padding": 400}, "padding_computed", 0.4),
        ({"ran_s": 0.4}, "throttled_process", 0.6),
        ({"clocks": (0.9e9, 1.2e9)}, "throttling", 0.25),
    ],
)
def test_a_fault_is_named_first_with_its_share(fault: dict[str, Any], cause: str, share: float, tmp_path: Path) -> None:
    """0.25 s of 1.25; 400 of 1,000 positions; 0.6 s of 1; a quarter of the clock."""
    found = of(record(tmp_path, **fault))
    assert (found.verdict, found.cause_ids[0]) == ("SLOW", cause)
    assert found.suspects[0].saves_fraction == pytest.approx(share)
    assert found.suspects[0].check


def test_of_two_faults_the_larger_is_named_first(tmp_path: Path) -> None:
    """1 s of 2 is waiting; of the other half 300 of 1,000 positions are padding: 15 %; 0.2 s of 2 are 10 %."""
    found = of(record(tmp_path, wait_s=1.0, padding=300, ran_s=0.8))
    assert found.cause_ids == ("data_loader_suspected", "padding_computed", "throttled_process")
    assert [each.saves_fraction for each in found.suspects] == pytest.approx([0.5, 0.15, 0.1])


def test_a_training_without_a_fault_has_no_suspect(tmp_path: Path) -> None:
    found = of(record(tmp_path))
    assert (found.cause_ids, found.needs_attention) == ((), False)


def test_eager_attention_is_named_first_of_a_trace(tmp_path: Path) -> None:
    """Products 0 to 50 ms, then bmm, softmax and bmm of 15, 10 and 15 ms: 40 % of the step; the same in a fused operator is no suspect."""
    step = {"ph": "X", "cat": "user_annotation", "name": "ProfilerStep#1", "pid": 1, "tid": 1, "ts": 0, "dur": 100_000}
    eager = [("aten::mm", 0, 50), ("aten::bmm", 50, 15), ("aten::_softmax", 65, 10), ("aten::bmm", 75, 15), ("aten::gelu", 90, 10)]
    fused = [("aten::mm", 0, 50), ("aten::_scaled_dot_product_flash_attention_for_cpu", 50, 40), ("aten::gelu", 90, 10)]
    found = []
    for calls in (eager, fused):
        events = [
            {"ph": "X", "cat": "cpu_op", "name": name, "pid": 1, "tid": 1, "ts": 1e3 * ts, "dur": 1e3 * dur} for name, ts, dur in calls
        ]
        path = tmp_path / "trace.json"
        path.write_text(json.dumps({"traceEvents": [step, *events]}), encoding="utf-8")
        found.append(of(str(path)))
    assert (found[0].verdict, found[0].cause_ids[0]) == ("SLOW", "implementation")
    assert found[0].suspects[0].saves_fraction == pytest.approx(0.4)
    assert found[1].cause_ids == ()


def test_a_double_count_is_named_first() -> None:
    """2 ranks of 4 rows of 128 tokens: 1,024 tokens in 0.1 s, 10,240 tokens/s of the job and 5,120 of each."""
    setting = Setting(num_devices=2, seq_len=128, micro_batch=4, accumulation=1)
    step = Figure(quantity="step_time_s", value=0.1, digits=4)
    rate = Figure(quantity="tokens_per_s", value=10240.0, scope="device", digits=5)
    found = diagnose(question_of(Observed(figures=(rate, step), setting=setting)))
    assert (found.verdict, found.cause_ids[0]) == ("MISCOUNTED", "total_as_per_gpu")
    assert found.judged.corrected == pytest.approx(5120)
