"""Sums over experiments of which some figures are missing."""

from __future__ import annotations

import pytest

from estimators.disclosure.experiment import Experiment, Utilization
from estimators.disclosure.totals import total_of
from estimators.facts.registry import hardware


def training(architecture_flop: int | None, device_s: float | None) -> Experiment:
    """On a device of 1e12 FLOP/s, half of which is reached."""
    device = hardware("a100-sxm4-80gb")
    return Experiment(
        name="a training",
        standing="complete",
        why="",
        work="",
        model="a model",
        device=device.name,
        hardware=device,
        num_devices=1,
        memory_bytes=None,
        device_s=device_s,
        trains=True,
        architecture_flop=architecture_flop,
        counted_as="full",
        dtype="bf16",
        peak_flop_per_s=1e12,
        utilization=Utilization(share=0.5, source="stated"),
        energies=(),
    )


def test_two_routes_are_compared_over_the_trainings_that_both_count() -> None:
    """100 s at 1e12 FLOP/s and 0.5 are 5e13 FLOP, 25 % more than the 4e13 of the first; neither of the others has both."""
    total = total_of([training(4 * 10**13, 100.0), training(None, 100.0), training(9 * 10**13, None)])
    assert total.difference_fraction == pytest.approx(0.25)
    assert (total.architecture_flop.value, total.device_time_flop.value) == (13 * 10**13, 1e14)
    assert total_of([training(None, 100.0), training(9 * 10**13, None)]).difference_fraction is None
