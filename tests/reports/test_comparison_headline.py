"""The first line of a comparison: the ratio, its interval and what it was taken from, and what is not shown."""

from __future__ import annotations

import math
import re

import pytest

from bench.records.record import Measurement, Phase
from bench.statistics.comparison import compare
from reports.views.records.comparison import headline
from tests.support.selftest_records import run_of, steady


def said(a: list[Measurement], b: list[Measurement], threshold_fraction: float = 0.03) -> str:
    return headline(compare(a, b, main_phase={"train": "train_step"}, threshold_fraction=threshold_fraction))


def ratio_and_interval(line: str) -> tuple[float, float, float]:
    found = re.search(r"B takes ([\d.]+) times as long as A \([\d.]+ % interval ([\d.]+) to ([\d.]+);", line)
    assert found, line
    return float(found[1]), float(found[2]), float(found[3])


@pytest.mark.parametrize(("factor", "verdict"), [(1.2, "SLOWER"), (0.8, "FASTER"), (1.0, "SAME"), (1.004, "SAME")])
def test_the_ratio_stands_in_its_interval_beside_the_samples(factor: float, verdict: str) -> None:
    line = said([run_of(steady(1.0, 60))], [run_of(steady(factor, 50))])
    ratio, low, high = ratio_and_interval(line)
    assert line.startswith(f"{verdict}: ")
    assert low <= ratio <= high
    assert ratio == pytest.approx(factor, abs=0.004)
    assert "95 % interval" in line
    assert "60 samples of A, 50 of B" in line
    assert line.endswith("; differences up to 3 % do not count") is (verdict == "SAME")


def test_what_cannot_be_seen_is_said_with_its_size() -> None:
    """Levels of 1, 1.1 and 1.2 s on both sides, the second 5 % slower."""
    a, b = ([run_of(steady(f * s), f"{f}-{s}") for s in (1.0, 1.1, 1.2)] for f in (1.0, 1.05))
    line = said(a, b)
    assert line.startswith("AMBIGUOUS: not shown to be different: B takes 1.05 times as long as A (95 % interval 0.")
    assert "180 samples of A, 180 of B, in 3 records and 3" in line
    found = re.search(r"; differences under (\d+) % cannot be seen with these samples$", line)
    assert found, line
    # Welch: 3 levels a side whose logs are ln 1, 1.1, 1.2; Student's 97.5 % of 4 degrees of freedom, and 80 % power on top
    logs = [math.log(s) for s in (1.0, 1.1, 1.2)]
    mean = sum(logs) / 3
    half = 2.776 * math.sqrt(2 * sum((x - mean) ** 2 for x in logs) / 2 / 3)
    assert int(found[1]) == pytest.approx(100 * math.expm1(half * (1 + 0.8416 / 1.96)), rel=0.1)


def test_a_difference_that_may_not_matter_is_no_equality() -> None:
    line = said([run_of(steady(1.0))], [run_of(steady(1.03))], 0.0301)
    assert line.startswith("AMBIGUOUS: B takes 1.0")
    assert line.endswith(": a difference, but not shown to be one of 3.01 %")


def test_too_few_samples_have_no_interval_and_the_line_says_so() -> None:
    line = said([run_of((1.0, 1.01, 0.99))], [run_of((1.5, 1.51, 1.49))])
    assert line == (
        "AMBIGUOUS: not shown to be different: B takes about 1.5 times as long as A (3 samples of A, 3 of B); "
        "no interval can be drawn from so few samples"
    )


def test_of_several_rows_the_one_that_decides_is_named() -> None:
    def run(main_s: float, host_s: float) -> Measurement:
        phases = (Phase(name="host_step", samples_s=steady(host_s)), Phase(name="train_step", samples_s=steady(main_s)))
        return run_of((), phases=phases)

    assert said([run(1.0, 1.0)], [run(1.0, 1.5)]).endswith("; host_step")
    assert said([run(1.0, 1.0)], [run(1.2, 1.5)]).endswith("; train_step, one of 2 such rows of 2")
    assert "97.5 % interval" in said([run(1.0, 1.0)], [run(1.2, 1.5)])


def test_what_is_incomparable_says_why_in_the_line() -> None:
    line = said([run_of(steady(1.0))], [run_of(steady(1.0), request={"batch": 2})])
    assert line == "INCOMPARABLE: B cannot be held against A: another batch: 1 against 2"
