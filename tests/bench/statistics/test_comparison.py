"""Verdicts on pairs whose truth is known: simulated noise, planted differences, records that must not be compared."""

from __future__ import annotations

import dataclasses
import math
import random
from collections import Counter
from typing import Any

import pytest

from bench.records.asked import Asked
from bench.records.environment import Environment, HostMemory
from bench.records.record import Measurement, Phase
from bench.statistics.comparable import cases
from bench.statistics.comparison import Comparison, compare
from bench.statistics.noise_floor import newest, noise_floor
from bench.statistics.surroundings import surroundings
from estimators.errors import BadRecordError
from tests.support.selftest_records import IDLE, MACHINE, autocorrelated, run_of, selftest_record, steady

MAIN = {"train": "train_step", "generate": "generate"}
PAIRS = 1000


def judged(a: list[Measurement], b: list[Measurement], **options: Any) -> Comparison:
    return compare(a, b, main_phase=MAIN, **options)


def test_a_against_a_is_called_different_no_more_often_than_the_confidence_allows() -> None:
    """1,000 pairs of the same autocorrelated, heavy-tailed process; the practical gate is opened, so that only statistics decide.

    Nominal at 95 %: 50 of 1,000; two standard errors of that binomial are 14.
    """
    draw, verdicts = random.Random(1), Counter[str]()
    for _ in range(PAIRS):
        a, b = (run_of(autocorrelated(draw, 40, 0.4, heavy=True)) for _ in range(2))
        verdicts[judged([a], [b], threshold_fraction=1e-9).verdict] += 1
    assert verdicts["SLOWER"] + verdicts["FASTER"] <= 50 + 14
    assert verdicts["SLOWER"] > 0, "a test that never fires proves nothing"


def test_with_both_gates_a_against_a_is_hardly_ever_slower() -> None:
    draw, verdicts = random.Random(2), Counter[str]()
    for _ in range(300):
        a, b = (run_of(autocorrelated(draw, 40, 0.4, heavy=True)) for _ in range(2))
        verdicts[judged([a], [b]).verdict] += 1
    assert verdicts["SLOWER"] <= 300 * 0.025


def test_repeats_whose_processes_differ_are_no_more_often_called_different() -> None:
    """Each process has a level of its own, 3 % wide, as fresh processes do; samples within one say nothing of it."""
    draw, verdicts = random.Random(3), Counter[str]()

    def side() -> list[Measurement]:
        return [run_of(autocorrelated(draw, 15, 0.3, heavy=False, median_s=draw.lognormvariate(0, 0.03)), f"r{at}") for at in range(4)]

    for _ in range(200):
        verdicts[judged(side(), side(), threshold_fraction=1e-9).verdict] += 1
    assert verdicts["SLOWER"] + verdicts["FASTER"] <= 10 + 6


def test_single_records_of_such_processes_would_be_called_different_too_often() -> None:
    """The twin, and why the noise floor goes in: what fresh processes differ by cannot be seen in one of each."""
    draw = random.Random(4)
    floor = noise_floor(selftest_record(drift=0.04))
    verdicts: dict[str, Counter[str]] = {"without": Counter(), "with": Counter()}
    for _ in range(60):
        a, b = (run_of(autocorrelated(draw, 40, 0.0, heavy=False, median_s=draw.lognormvariate(0, 0.03))) for _ in range(2))
        verdicts["without"][judged([a], [b], threshold_fraction=1e-9).verdict] += 1
        verdicts["with"][judged([a], [b], threshold_fraction=1e-9, floor=floor).verdict] += 1
    assert verdicts["without"]["AMBIGUOUS"] < 45
    assert verdicts["with"]["AMBIGUOUS"] >= 55


def test_five_percent_slower_is_found() -> None:
    draw, verdicts = random.Random(5), Counter[str]()
    for _ in range(100):
        a, b = (run_of(autocorrelated(draw, 100, 0.5, heavy=True, median_s=seconds_s)) for seconds_s in (1.0, 1.05))
        verdicts[judged([a], [b]).verdict] += 1
    assert verdicts["SLOWER"] >= 95


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "SAME"), (1.01, "SAME"), (1.1, "SLOWER"), (0.9, "FASTER")])
def test_steady_records_are_judged_by_both_gates(factor: float, verdict: str) -> None:
    compared = judged([run_of(steady(1.0))], [run_of(steady(factor))])
    (row,) = compared.phases
    assert (compared.verdict, row.verdict) == (verdict, verdict)
    assert row.change_fraction == pytest.approx(factor - 1)
    assert row.low_fraction is not None
    assert row.high_fraction is not None
    assert row.low_fraction <= row.change_fraction <= row.high_fraction


def test_a_real_difference_below_the_threshold_is_the_same_and_around_it_is_open() -> None:
    a, b = [run_of(steady(1.0))], [run_of(steady(1.03))]
    assert judged(a, b, threshold_fraction=0.1).verdict == "SAME"
    assert judged(a, b, threshold_fraction=0.01).verdict == "SLOWER"
    around = judged(a, b, threshold_fraction=0.0301).phases[0]
    assert around.verdict == "AMBIGUOUS"
    assert around.reason.startswith("there is a difference, but perhaps none that matters")


def test_too_few_samples_are_ambiguous_and_repeats_mend_it() -> None:
    single = judged([run_of((1.0, 1.01, 0.99))], [run_of((1.5, 1.51, 1.49))]).phases[0]
    assert (single.verdict, single.low_fraction) == ("AMBIGUOUS", None)
    assert "too few independent samples in A and B" in single.reason
    sides = [[run_of((s, s * 1.01), f"{s}-{at}") for at, s in enumerate((base, base * 1.01, base * 0.99))] for base in (1.0, 1.5)]
    assert judged(*sides).verdict == "SLOWER"


def test_the_smallest_visible_difference_is_found_in_eight_of_ten() -> None:
    """What the comparison says of itself holds when a difference of that size is planted."""
    draw = random.Random(6)

    def pair(factor: float) -> Any:
        a, b = (run_of(autocorrelated(draw, 60, 0.3, heavy=False, median_s=s)) for s in (1.0, factor))
        return judged([a], [b], threshold_fraction=0.001).phases[0]

    visible = sorted(pair(1.0).detectable_fraction for _ in range(40))[20]
    found = sum(pair(1 + visible).verdict == "SLOWER" for _ in range(100))
    assert 65 <= found <= 95


def test_all_phases_together_keep_the_confidence() -> None:
    phases = tuple(Phase(name=name, samples_s=steady(1.0)) for name in ("prefill", "decode", "generate", "load"))
    compared = judged([run_of((), phases=phases)], [run_of((), phases=phases)])
    assert [row.phase for row in compared.phases] == ["prefill", "decode", "generate"]
    assert all(row.confidence == pytest.approx(1 - 0.05 / 3) for row in compared.phases)


def test_the_phase_that_answers_decides_unless_another_is_slower() -> None:
    def run(main_s: float, prefill_s: float) -> Measurement:
        phases = (Phase(name="prefill", samples_s=steady(prefill_s)), Phase(name="generate", samples_s=steady(main_s)))
        return run_of((), phases=phases, request={"task": "generate"})

    assert judged([run(1.0, 1.0)], [run(0.8, 1.0)]).verdict == "FASTER"
    assert judged([run(1.0, 1.0)], [run(1.0, 0.8)]).verdict == "SAME"
    assert judged([run(1.0, 1.0)], [run(0.8, 1.2)]).verdict == "SLOWER"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "phi-2"}, "another model: gpt2 against phi-2"),
        ({"task": "generate"}, "another task: train against generate"),
        ({"batch": 2}, "another batch: 1 against 2"),
        ({"seq_len": 16}, "another sequence length: 8 against 16"),
        ({"dtype": "bf16"}, "another dtype: fp32 against bf16"),
        ({"weights_label": "gpt2's own"}, "another kind of weights: random weights against gpt2's own"),
        ({"weights": "other"}, "another weights: none against other"),
        ({"config": {"n_layer": 3}}, "another configuration: its own against other values"),
    ],
)
def test_other_work_is_incomparable_and_says_why(change: dict[str, Any], reason: str) -> None:
    compared = judged([run_of(steady(1.0))], [run_of(steady(1.0), request=change)])
    assert (compared.verdict, compared.phases[0].reason) == ("INCOMPARABLE", reason)


def test_another_timing_method_is_incomparable() -> None:
    a = run_of(steady(1.0))
    compared = judged([a], [dataclasses.replace(a, timing_method=a.timing_method + 1)])
    assert compared.phases[0].reason == f"another timing method: {a.timing_method} against {a.timing_method + 1}"


def test_a_way_to_do_the_same_work_is_comparable_and_listed() -> None:
    a = run_of(steady(1.0), request={"attn": "eager", "compile": False})
    b = run_of(
        steady(0.8),
        request={"attn": "sdpa", "compile": True},
        environment=MACHINE | Environment(versions={"torch": "2.13"}, memory=HostMemory(available_bytes=3), argv=("x",)),
    )
    assert judged([a], [b]).verdict == "FASTER"
    assert list(surroundings([a], [b])) == [
        ("request.attn", "eager", "sdpa"),
        ("request.compile", "false", "true"),
        ("environment.versions.torch", "none", "2.13"),
    ]
    assert list(surroundings([a], [a])) == []


def test_records_are_paired_by_what_they_measured() -> None:
    a = [run_of(steady(1.0), "a1"), run_of(steady(2.0), "a2", request={"batch": 2}), run_of(steady(1.0), "a3")]
    b = [run_of(steady(2.0), "b2", request={"batch": 2}), run_of(steady(1.2), "b1"), run_of(steady(3.0), "b3", request={"batch": 3})]
    compared = judged(a, b)
    assert [(row.verdict, row.records_a, row.records_b) for row in compared.phases] == [("SLOWER", 2, 1), ("SAME", 1, 1)]
    assert compared.only_in_b == ("gpt2 train, batch 3, sequence 8, fp32",)
    assert judged(a, b[1:2]).phases[1].reason == "B has nothing like it"


def test_cases_of_one_name_are_told_apart() -> None:
    two = cases([run_of((1.0,), "one"), run_of((1.0,), "two", request={"config": {"n_layer": 3}})])
    assert len({case.name for case in two.values()}) == 2


def test_self_tests_and_estimates_are_no_cases() -> None:
    assert cases([selftest_record(), run_of((), request={"task": "estimate"})]) == {}


def test_a_record_with_a_fault_is_no_evidence() -> None:
    idle = run_of(steady(0.1), "idle", proof=IDLE)
    compared = judged([run_of(steady(1.0))], [idle], faults=lambda record: "it trained nothing" if record.run_id == "idle" else "")
    assert (compared.verdict, compared.phases[0].reason) == ("INCOMPARABLE", "it trained nothing")


def test_a_sample_without_time_is_incomparable_not_a_crash() -> None:
    compared = judged([run_of((0.0, *steady(1.0)), "r1")], [run_of(steady(1.0))])
    assert (compared.verdict, compared.phases[0].reason) == ("INCOMPARABLE", "a sample of r1 took no time: its clock is too coarse")


def test_scaled_times_compare_machines_by_their_ceilings() -> None:
    a, b = run_of(steady(1.0), "slow"), run_of(steady(0.25), "fast")
    demanded = {"slow": 0.5, "fast": 0.1}
    compared = judged([a], [b], scale=lambda record, _: demanded[record.run_id])
    (row,) = compared.phases
    assert (row.a, row.b, row.verdict) == (pytest.approx(2.0, rel=1e-3), pytest.approx(2.5, rel=1e-3), "SLOWER")
    assert judged([a], [b]).verdict == "FASTER"
    nothing = judged([a], [b], scale=lambda *_: None)
    assert nothing.verdict == "INCOMPARABLE"
    assert "estimated and has measured ceilings" in nothing.phases[0].reason


def test_a_noise_floor_above_the_difference_leaves_it_open() -> None:
    a, b = [run_of(steady(1.0))], [run_of(steady(1.1))]
    assert judged(a, b).verdict == "SLOWER"
    noisy = judged(a, b, floor=noise_floor(selftest_record(drift=0.1)))
    assert noisy.phases[0].verdict == "AMBIGUOUS"
    assert "noise floor is above the threshold" in noisy.phases[0].reason
    quiet = judged(a, b, floor=noise_floor(selftest_record(drift=0.01)))
    assert quiet.verdict == "SLOWER"
    assert quiet.phases[0].detectable_fraction > judged(a, b).phases[0].detectable_fraction  # type: ignore[operator]


def test_repeats_show_by_themselves_what_processes_differ_by() -> None:
    sides = [[run_of(steady(base * (1 + at / 500)), f"{base}-{at}") for at in range(3)] for base in (1.0, 1.2)]
    noisy = noise_floor(selftest_record(drift=0.5))
    assert judged(*sides, floor=noisy).verdict == "SLOWER"
    assert judged(sides[0], sides[1][:1], floor=noisy).verdict == "AMBIGUOUS"


def test_the_interval_of_repeats_is_welchs() -> None:
    # three records a side, log medians -d, 0, d: a variance of d^2 each, d^2 / 3 of the mean, four degrees of freedom (Welch 1947), of
    # which Student's 97.5 % quantile is 2.776; 1,000 draws find the ends of the interval to some percent
    d = 0.05
    sides = [[run_of((math.exp(at * d),) * 20, f"{side}{at}") for at in (-1, 0, 1)] for side in "ab"]
    row = judged(*sides).phases[0]
    assert row.low_fraction is not None
    assert row.high_fraction is not None
    half = (math.log1p(row.high_fraction) - math.log1p(row.low_fraction)) / 2
    assert half == pytest.approx(2.776 * math.sqrt(2 / 3) * d, rel=0.08)


def test_a_single_run_against_what_is_known_differs_by_its_share_of_the_floor() -> None:
    # the floor is what two runs differ by, sqrt(2) times what one does
    known = [run_of((1.0,) * 60, f"r{at}") for at in range(3)]
    floor = noise_floor(selftest_record(drift=0.1))
    row = judged(known, [run_of((1.0,) * 60)], floor=floor).phases[0]
    assert row.high_fraction == pytest.approx((1 + floor.fraction) ** math.sqrt(0.5) - 1)
    both = judged(known[:1], [run_of((1.0,) * 60)], floor=floor).phases[0]
    assert both.high_fraction == pytest.approx(floor.fraction)


def test_no_more_is_said_to_be_visible_than_the_threshold_lets_through() -> None:
    row = judged([run_of((1.0,) * 60)], [run_of((1.0,) * 60)], threshold_fraction=0.03).phases[0]
    assert row.detectable_fraction == pytest.approx(0.03)


def test_the_noise_floor_of_a_hand_worked_drift() -> None:
    # rounds at 1, 1.1, 1.2, 1.3 times the first: logs apart by up to ln 1.3; sorted pairs of one side end ..., ln 1.2, ln 1.3,
    # twice; the 95 % quantile of 12 values lies at 10.45, between the two largest, which are both ln 1.3
    floor = noise_floor(selftest_record(drift=0.1))
    assert floor.fraction == pytest.approx(0.3, rel=0.01)  # the ten samples of each round are not alike
    assert floor.detectable_fraction == pytest.approx(1.3 ** (1 + 0.8416 / 1.96) - 1, rel=0.01)
    assert floor.machine == "a scripted device, a scripted processor"


def test_the_newest_self_test_is_the_last_that_was_not_stopped() -> None:
    first, second, stopped = (
        dataclasses.replace(selftest_record(), run_id=name, created_utc=f"2026-01-0{day}", status=status)
        for day, (name, status) in enumerate((("first", "complete"), ("second", "complete"), ("stopped", "partial")), 1)
    )
    assert newest([second, stopped, first, run_of((1.0,))]) is second
    assert newest([stopped]) is None


def test_a_difference_between_the_sides_is_no_part_of_the_floor() -> None:
    one, other = (noise_floor(selftest_record(drift=0.01, b=b)) for b in (1.0, 3.0))
    assert one.fraction == pytest.approx(other.fraction)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (run_of((1.0,)), "run is not a record of a self-test; make one with: python -m bench selftest"),
        (selftest_record(rounds=2), "has 2 pairs of rounds, expected 3 or more"),
        (dataclasses.replace(selftest_record(), phases=()), "is not a record of a self-test"),
        (dataclasses.replace(selftest_record(), request=Asked(model="selftest", task="selftest")), "holds no rounds of positive times"),
    ],
)
def test_what_holds_no_noise_floor_is_refused(record: Measurement, message: str) -> None:
    with pytest.raises(BadRecordError, match=message):
        noise_floor(record)
