"""The fit finds constants that made the data, keeps to its priors where the data are silent, and is reproducible."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from estimators.cost.efficiency import Efficiency, efficiency, efficiency_file
from estimators.frozen import replace
from estimators.validation.case import MeasuredStep
from estimators.validation.score import predict_step
from tools.fit_constants import fit, fits, rows
from tools.stacked_steps import batches, predicted_s

pytest.importorskip("scipy")


@pytest.fixture(scope="module")
def steps() -> list[MeasuredStep]:
    return rows()


def test_many_rows_at_once_are_what_each_is_alone(steps: list[MeasuredStep]) -> None:
    together = predicted_s(batches(steps), len(steps), efficiency())
    for place in range(0, len(steps), 41):
        assert together[place] == pytest.approx(predict_step(steps[place]).step_time_s, rel=1e-9), steps[place].id


def constants_with(**values: float) -> dict[str, Any]:
    body = copy.deepcopy(efficiency_file()["constants"])
    for name, constant in body.items():
        constant["spread"] = 0.3 if name in values else 0
    return body


def test_the_fit_finds_the_constants_that_made_the_data(steps: list[MeasuredStep]) -> None:
    chosen = [step for step in steps if fits(step)][::12]
    truth = {name: c["prior"] for name, c in efficiency_file()["constants"].items()} | {"matmul": 0.7, "link": 0.5}
    times = predicted_s(batches(chosen), len(chosen), Efficiency(**truth))
    made = [replace(step, measured_step_time_s=float(time)) for step, time in zip(chosen, times, strict=True)]
    found = fit(made, batches(made), constants_with(matmul=0.0, link=0.0))
    assert found["matmul"] == pytest.approx(0.7, rel=0.02)
    assert found["link"] == pytest.approx(0.5, rel=0.1)


def test_a_constant_that_no_row_depends_on_stays_at_its_prior(steps: list[MeasuredStep]) -> None:
    dense = [step for step in steps if fits(step) and step.work.experts == 1][::12]
    found = fit(dense, batches(dense), constants_with(experts=0.0))
    assert found["experts"] == pytest.approx(efficiency_file()["constants"]["experts"]["prior"], rel=1e-3)


def test_a_left_out_source_has_no_part_in_the_fit(steps: list[MeasuredStep]) -> None:
    chosen = [step for step in steps if fits(step)][::12]
    spoiled = [
        replace(step, measured_step_time_s=(step.measured_step_time_s or 0) * (3 if step.source == "vtrain" else 1)) for step in chosen
    ]
    free = constants_with(matmul=0.0)
    assert fit(chosen, batches(chosen), free, "vtrain") == fit(spoiled, batches(spoiled), free, "vtrain")
    assert fit(chosen, batches(chosen), free) != fit(spoiled, batches(spoiled), free)


@pytest.mark.slow
def test_the_shipped_constants_are_what_the_fit_finds(steps: list[MeasuredStep]) -> None:
    body = efficiency_file()
    found = fit(steps, batches(steps), body["constants"])
    for name, value in found.items():
        assert np.isclose(value, body["constants"][name]["value"], rtol=2e-3), name
