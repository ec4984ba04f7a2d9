"""Slices of true width: the line through two depths, read at the full one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from bench.backend.counting import meta
from bench.records.record import Measurement
from bench.records.run_estimate import at_depth, with_layers, workload_of
from bench.statistics.rates import headline_s
from bench.workloads.language.slices import depths, extrapolate
from estimators.architectures.from_config import model_from_config
from estimators.counting.estimate import estimate
from estimators.spec import Case, Workload
from reports.checks.crosscheck import crosscheck
from reports.views.records.measured import tables
from tests.support.quiet_machine import failed_by_itself
from tests.support.tiny_models import CONFIGS, config, decided

pytestmark = pytest.mark.usefixtures("quick")
Run = Callable[..., Measurement]


line = functools.partial(extrapolate, phase="train_step", items=8, item="token")


def test_a_line_worked_by_hand() -> None:
    """Medians 4 s at 2 layers and 10 s at 4: 3 s a layer, -2 s fixed, 3·32 - 2 = 94 s at 32 layers.

    Weights (32 - 2) / (4 - 2) = 15 of the deep and -14 of the shallow slice; 1.4826 MAD are 1.4826·1 and 1.4826·0.5:
    1.4826·sqrt(15² + 7²) = 24.541 s, or 26.1 % of 94 s.
    """
    found = line(2, (3.5, 4.0, 4.5), 4, (9.0, 10.0, 12.0), 32)
    assert (found.per_layer_s, found.fixed_s, found.value_s) == (3.0, -2.0, 94.0)
    assert found.residual_fraction == pytest.approx(24.541 / 94, rel=1e-4)
    assert (found.shallow_layers, found.deep_layers, found.full_layers) == (2, 4, 32)


def test_samples_without_scatter_leave_no_residual() -> None:
    assert line(1, (2.0, 2.0), 2, (3.0, 3.0), 10).residual_fraction == 0


def test_a_value_below_zero_has_no_residual() -> None:
    found = line(2, (5.0,), 4, (1.0,), 32)
    assert found.value_s < 0
    assert found.residual_fraction is None


def test_reading_the_line_at_a_measured_depth_gives_what_was_measured_there() -> None:
    assert line(2, (3.0,), 4, (5.0,), 4).value_s == 5.0
    assert line(2, (3.0,), 4, (5.0,), 2).value_s == 3.0


@pytest.mark.parametrize(("layers", "expected"), [(2, (1, 2)), (3, (1, 3)), (4, (2, 4)), (9, (4, 9))])
def test_half_and_all_of_the_layers_are_measured(layers: int, expected: tuple[int, int]) -> None:
    assert depths(layers) == expected


@pytest.mark.parametrize("family", CONFIGS)
def test_another_depth_changes_nothing_else(family: str) -> None:
    changed = with_layers(config(family), 2)
    assert {name for name in changed if changed[name] != config(family).get(name)} == {
        "n_layer" if family == "gpt2" else "num_hidden_layers"
    }


@pytest.mark.parametrize("phase", ["train", "prefill", "decode"])
@pytest.mark.parametrize("family", CONFIGS)
def test_the_estimate_is_linear_in_depth_and_so_is_torchs_count(family: str, phase: Any) -> None:
    run = decided(family, "prefill")
    workload = Workload(phase=phase, batch=2, seq_len=1 if phase == "decode" else 20, context_len=20 if phase == "decode" else 0)
    by_depth = {layers: estimate(Case(model=at_depth(run, layers), workload=workload)) for layers in (2, 4, 7, 40)}
    for figure in ("params", "forward_flop", "backward_flop", "min_flop", "min_bytes"):
        two, four, seven, forty = (getattr(by_depth[layers], figure) for layers in (2, 4, 7, 40))
        per_layer = (four - two) // 2
        assert (four - two) % 2 == 0
        assert seven == two + 5 * per_layer
        assert forty == two + 38 * per_layer
    counted = meta.torch_count(meta.meta_language_model(with_layers(config(family), 7)), workload)
    assert (counted.params, counted.forward_flop) == (by_depth[7].params, by_depth[7].forward_flop)


@pytest.mark.parametrize("task", ["train", "prefill", "decode"])
def test_slices_are_measured_and_the_record_says_that_they_are_extrapolated(task: str, measured: Run) -> None:
    record = measured("phi", task, layers=2, seq_len=16, steps=3, **({"new_tokens": 5} if task == "decode" else {}))
    base = "train_step" if task == "train" else task
    assert [phase.name for phase in record.phases] == [f"{base}@1", f"{base}@2"]
    assert record.extrapolation.full_layers == 4
    shallow, deep = record.phases
    of = {"phase": base, "items": deep.items_per_sample, "item": "token"}
    assert record.extrapolation == extrapolate(1, shallow.samples_s, 2, deep.samples_s, 4, **of)
    assert headline_s(record) == (record.extrapolation.value_s, "extrapolated")
    assert record.estimate.params == estimate(Case(model=model_of("phi"), workload=workload_of(decided("phi", task)))).params
    text = "\n".join(str(cell) for table in tables(record) for row in table.rows for cell in row.values())
    assert "extrapolated" in text
    assert "line through 1 and 2 layers, read at 4; residual (scatter of the samples, carried there):" in text


def model_of(family: str) -> Any:
    return model_from_config(config(family), family)


def test_the_slices_proof_is_that_of_the_deeper_one(measured: Run) -> None:
    record = measured("llama", "train", layers=4, seq_len=16, steps=2)
    assert record.proof.params_changed
    assert record.proof.loss_last < record.proof.loss_first
    judged = {check.metric for check in crosscheck(record)}
    assert {"slices timed", "time added by a layer", "loss is finite and falls"} <= judged
    # whether a tiny layer's time shows above the noise is not asked here
    assert {check.metric for check in failed_by_itself(record)} <= {"time added by a layer"}
