"""Constants refitted to rows of one deployment: what made the rows is found again, and few rows move little."""

from __future__ import annotations

import math

import pytest

from estimators.errors import BadValueError
from estimators.facts.registry import hardware
from estimators.serving.constants import constants_file
from estimators.serving.deployment import Deployment
from estimators.serving.engines import engine
from estimators.serving.figures import CLOSED, STATIC, Asked, figures
from estimators.serving.own_rows import MeasuredLoad, refit
from estimators.serving.refit import law_at
from estimators.serving.step import step_law
from estimators.validation.model import shipped_model

D = Deployment(model=shipped_model("llama-3-8b"), hardware=hardware("h100-sxm5-80gb"), engine=engine("vllm"))
BATCHES = [1.0, 4.0, 16.0, 64.0, 128.0, 200.0]


def asked(sequences: float) -> Asked:
    """A batch or so many users."""
    return Asked(load=CLOSED, sequences=sequences, input_tokens=800, output_tokens=200)


def true(sequences: float, factor: float = 1.0) -> float:
    """What a server measures whose host is three times as slow and whose memory gives a tenth less, times a factor."""
    values = {name: float(constant["value"]) for name, constant in constants_file()["constants"].items()}
    values |= {"vllm.step_s": 3 * values["vllm.step_s"], "bandwidth_16": 0.9 * values["bandwidth_16"]}
    return factor * float(figures(D, asked(sequences), law_at(D, values))["tpot_s"])


def rows(*batches: float, factor: float = 1.0) -> list[MeasuredLoad]:
    """Rows of that server."""
    return [MeasuredLoad(asked=asked(batch), figures={"tpot_s": true(batch, factor)}) for batch in batches]


def worst(found: dict[float, float]) -> float:
    """Largest relative error."""
    return max(abs(value / true(batch) - 1) for batch, value in found.items())


def test_three_rows_predict_the_others() -> None:
    """Within 4 %, where the shipped constants are up to 15 % off."""
    before = {batch: float(figures(D, asked(batch), step_law(D))["tpot_s"]) for batch in BATCHES}
    fit = refit(D, rows(1.0, 16.0, 200.0))
    after = {batch: fit.figures(asked(batch))["tpot_s"] for batch in BATCHES}
    assert worst(before) > 0.08
    assert worst(after) < 0.04


def test_a_habit_of_measuring_is_a_factor() -> None:
    fit = refit(D, rows(1.0, 16.0, 200.0, factor=1.2))
    found = {batch: fit.figures(asked(batch))["tpot_s"] / 1.2 for batch in BATCHES}
    assert worst(found) < 0.05
    assert 1.1 < fit.practice < 1.4


def test_rows_that_are_as_predicted_move_nothing() -> None:
    same = [
        MeasuredLoad(asked=asked(batch), figures={"tpot_s": float(figures(D, asked(batch), step_law(D))["tpot_s"])})
        for batch in (1.0, 64.0)
    ]
    fit = refit(D, same)
    for name, value in fit.values.items():
        assert value == pytest.approx(float(constants_file()["constants"][name]["value"]), rel=1e-3)
    assert fit.practice == pytest.approx(1.0, abs=1e-3)


def test_first_tokens_have_a_factor_of_their_own() -> None:
    plain = refit(D, rows(1.0, 64.0)).figures(asked(16.0))
    slow = [MeasuredLoad(asked=row.asked, figures={**row.figures, "ttft_s": 0.5}) for row in rows(1.0, 64.0)]
    found = refit(D, slow)
    assert found.figures(asked(16.0))["tpot_s"] == pytest.approx(plain["tpot_s"], rel=1e-6)
    assert found.first > 1.5
    assert found.figures(asked(16.0))["ttft_s"] > plain["ttft_s"]


def test_batches_refit_too_and_nothing_measured_is_refused() -> None:
    batch = Asked(load=STATIC, sequences=8, input_tokens=512, output_tokens=128)
    seconds = float(figures(D, batch, step_law(D))["generation_s"])
    fit = refit(D, [MeasuredLoad(asked=batch, figures={"generation_s": 1.1 * seconds})])
    assert math.isclose(fit.figures(batch)["generation_s"], 1.1 * seconds, rel_tol=0.03)
    with pytest.raises(BadValueError, match="no figure to refit llama-3-8b to; expected one of: prefill_s"):
        refit(D, [MeasuredLoad(asked=batch, figures={"ttft_s": 1.0})])
