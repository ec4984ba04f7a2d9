"""The comparison is wrong no more often than it says, under noise that is independent, alike or shared by both sides; and it finds 10 %."""

from __future__ import annotations

import math

import pytest

from bench.statistics import bootstrap, ratio
from tests.support.checkout import ROOT
from tools.gate_power import BY_TURNS, SCENES, Noise, share

STATED_FRACTION = 0.05
DIFFERENT = ("SLOWER", "FASTER")
UNFAIR = ("one run each, processes 2 % apart", "five runs of A, then five of B, a machine that gets 1 % slower each run")
"""Where what differs between the sides, beside what is compared, is not in the samples."""

FAIR = {name: noise for name, noise in SCENES.items() if name not in UNFAIR}


def allowed(pairs: int) -> float:
    """The stated share and two standard errors of it over so many comparisons."""
    return STATED_FRACTION + 2 * math.sqrt(STATED_FRACTION * (1 - STATED_FRACTION) / pairs)


@pytest.mark.parametrize(("correlation", "steps"), [(0.0, 60), (0.4, 20), (0.8, 60), (0.9, 20), (0.95, 60), (0.98, 200)])
def test_single_runs_of_the_same_are_called_different_no_more_often_than_stated(correlation: float, steps: int) -> None:
    """With no threshold, so that the interval alone decides."""
    noise = Noise(correlation=correlation, steps=steps)
    assert share(noise, 1.0, DIFFERENT, pairs=150, threshold_fraction=1e-9) <= allowed(150)


def test_what_cuts_correlations_at_the_ends_of_blocks_would_be_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: without the correction for what blocks do not show, such runs are called different too often."""
    monkeypatch.setattr(bootstrap, "block_shortfall", lambda correlation, block: 1.0)
    assert share(Noise(correlation=0.95), 1.0, DIFFERENT, pairs=150, threshold_fraction=1e-9) > allowed(150)


def test_a_drift_within_the_runs_that_both_sides_share_is_no_difference() -> None:
    for within_fraction in (0.05, 0.3):
        noise = Noise(within_fraction=within_fraction)
        assert share(noise, 1.0, DIFFERENT, pairs=100, threshold_fraction=1e-9) <= allowed(100)


@pytest.mark.parametrize(
    "noise",
    [
        Noise(order=BY_TURNS, steps=20, process_fraction=0.02, correlation=0.9),
        Noise(order=BY_TURNS, steps=20, process_fraction=0.005, walk_fraction=0.02),
        Noise(order=BY_TURNS, steps=20, process_fraction=0.01, drift_fraction=0.02),
        Noise(order="ab" * 3, steps=20, process_fraction=0.02),
    ],
    ids=["processes apart", "a machine that wanders", "a machine that slows down", "three by turns"],
)
def test_repeats_of_the_same_by_turns_are_called_different_no_more_often_than_stated(noise: Noise) -> None:
    assert share(noise, 1.0, DIFFERENT, pairs=40, threshold_fraction=1e-9) <= allowed(40)


def test_repeats_that_are_judged_by_their_samples_alone_would_be_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: what processes differ by left out, five runs a side are called different far too often."""
    monkeypatch.setattr(ratio.np, "var", lambda values, ddof: 1e-6)
    assert share(Noise(order=BY_TURNS, steps=20, process_fraction=0.02), 1.0, DIFFERENT, pairs=40, threshold_fraction=1e-9) > allowed(40)


def test_a_tenth_more_time_is_found_at_usual_noise() -> None:
    """One run of 60 steps each, 2 % about their level and alike by 0.4; five runs each by turns, processes 2 % apart."""
    assert share(Noise(), 1.1, ("SLOWER",), pairs=60) >= 0.95
    assert share(Noise(order=BY_TURNS, steps=20, process_fraction=0.02), 1.1, ("SLOWER",), pairs=30) >= 0.9


@pytest.mark.parametrize("name", UNFAIR)
def test_what_no_sample_shows_is_taken_for_a_difference_and_the_page_says_so(name: str) -> None:
    assert share(SCENES[name], 1.0, DIFFERENT, pairs=40) > allowed(40)
    assert f"| {name} |" in (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", FAIR)
def test_every_scene_of_the_page_over_a_thousand_comparisons(name: str) -> None:
    assert share(FAIR[name], 1.0, DIFFERENT, pairs=1000) <= allowed(1000)
    assert share(FAIR[name], 1.0, DIFFERENT, pairs=1000, threshold_fraction=1e-9) <= allowed(1000)
