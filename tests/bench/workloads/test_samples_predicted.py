"""Shows of models of samples on this CPU: small ones with random weights, each step predicted just before it was measured, within 20 %."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.backend import device as devices
from bench.calibration.calibrate import calibrate
from bench.calibration.check import SMALL_VLM, cases, check
from bench.records.calibration import Calibration
from bench.statistics.robust import median
from reports.views.records.calibration import CheckedStep

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

WITHIN = 0.2
RUNS = 3
OF_SAMPLES = ("vit-tiny", "whisper-tiny", "dit-s-2", SMALL_VLM)


@pytest.fixture(scope="module")
def calibrated() -> Calibration:
    return calibrate(devices.choose("cpu"), quick=True, say=lambda _: None)


@pytest.mark.parametrize("task", ["forward", "train"])
@pytest.mark.parametrize("name", OF_SAMPLES)
def test_a_step_of_samples_takes_what_was_predicted(name: str, task: str, calibrated: Calibration, tmp_path: Path) -> None:
    """The median of three checks, each with its prediction written down before: one alone tells of the machine's other work."""
    if name == "dit-s-2":
        pytest.importorskip("diffusers")
    (case,) = (case for case in cases("cpu", quick=True) if case.name == f"{name}, {task}")
    errors = []
    for _ in range(RUNS):
        (found,) = check([case], devices.choose("cpu"), calibrated, out=tmp_path, say=lambda _: None)
        error = CheckedStep(name=found.name, prediction=found.prediction, record=found.record, reason=found.reason).error
        assert error is not None, found.reason
        errors.append(error)
    print(case.name, [f"{100 * error:+.0f} %" for error in errors])
    assert abs(median(errors)) <= WITHIN, errors
