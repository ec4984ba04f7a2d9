"""Two sides of records judged: the same, faster, slower, too noisy to tell, or not to be compared. No torch, no printing.

A difference counts where it passes two gates: the interval of the ratio excludes 1 (statistical), and the ratio itself passes
the threshold (practical). Equality is claimed only where the whole interval lies within the threshold.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any, Literal

import numpy as np

from bench.records.record import Measurement, Phase
from bench.records.typed_json import LONGEST_S
from bench.statistics.bootstrap import SEED
from bench.statistics.comparable import (
    ComparedCase,
    apart,
    cases,
    counterparts,
    differing,
    no_counterpart,
    unlike_steps,
)
from bench.statistics.noise_floor import POWER, NoiseFloor
from bench.statistics.ratio import pooled, ratio_draws
from bench.statistics.step_sizes import steps_of_unlike_size

Verdict = Literal["SAME", "FASTER", "SLOWER", "AMBIGUOUS", "INCOMPARABLE"]


def verdict_on(ratio: float, low: float, high: float, threshold: float) -> tuple[Verdict, str]:
    """The verdict on a log ratio of times and its interval, and why it is no clearer."""
    if -threshold <= low and high <= threshold:
        return "SAME", ""
    if low > 0 and ratio > threshold:
        return "SLOWER", ""
    if high < 0 and ratio < -threshold:
        return "FASTER", ""
    if low > 0 or high < 0:
        return "AMBIGUOUS", "there is a difference, but perhaps none that matters; take more samples"
    return "AMBIGUOUS", "the interval holds both no difference and one that matters; take more samples"


def overall(verdicts: Set[Verdict], main: Set[Verdict]) -> Verdict:
    """The worst that any phase says; FASTER or SAME by the phases that answer the tasks, where those are decided.

    Args:
        verdicts: of all phases.
        main: of those that answer the tasks.

    >>> overall({"SAME", "FASTER"}, {"SAME"}), overall({"FASTER", "SLOWER"}, {"FASTER"}), overall(set(), set())
    ('SAME', 'SLOWER', 'INCOMPARABLE')
    """
    if "SLOWER" in verdicts:
        return "SLOWER"
    if not verdicts or "INCOMPARABLE" in verdicts:
        return "INCOMPARABLE"
    decisive = main or verdicts
    if "AMBIGUOUS" in decisive:
        return "AMBIGUOUS"
    return "FASTER" if "FASTER" in decisive else "SAME"


Scale = Callable[[Measurement, Phase], float | None]
"""What a time is divided by before it is compared: seconds that the record's own ceilings demand; None where unknown."""

Unit = Literal["s", "s_per_item", "of_ceilings"]
"""Of compared times: seconds; seconds of a token or sample; multiples of what the ceilings demand."""

NOT_JUDGED = ("load", "first")
"""Phases that happen once in a process, so that one record cannot say how much they vary."""

SHORTEST_S = 1e-11
"""Less than a tenth of a cycle at 10 GHz: no clock gives such times."""

THRESHOLD, CONFIDENCE = 0.03, 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseComparison:
    """One phase of one case.

    Attributes:
        verdict: of B against A.
        reason: why it is no more than that; empty where the figures say it.
        a, b: geometric mean of the records' medians: seconds, or times what the ceilings demand where normalised.
        change_fraction: b / a - 1; low_fraction, high_fraction: its interval at `confidence`.
        detectable_fraction: the smallest difference that would be found in 80 % of such comparisons.
        confidence: of this phase alone, so that all phases together keep the one asked for.
        records_a, records_b, samples_a, samples_b: how much went in.
        main: whether it is the phase that answers the task.
    """

    case: str
    phase: str
    verdict: Verdict
    reason: str = ""
    a: float | None = None
    b: float | None = None
    change_fraction: float | None = None
    low_fraction: float | None = None
    high_fraction: float | None = None
    detectable_fraction: float | None = None
    confidence: float | None = None
    records_a: int = 0
    records_b: int = 0
    samples_a: int = 0
    samples_b: int = 0
    main: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What became of two sides.

    Attributes:
        verdict: of all together.
        phases: one row per phase and case; one without a phase for a case that has no counterpart.
        only_in_b: cases that A has nothing to hold against.
        unit: of the times that were compared.
        stated: what differs as it was said it would: a name, and the values of both sides.
        threshold_fraction, confidence: as asked for.
        floor: the noise floor that went in.
    """

    verdict: Verdict
    phases: tuple[PhaseComparison, ...]
    only_in_b: tuple[str, ...]
    unit: Unit
    stated: tuple[tuple[str, str, str], ...]
    threshold_fraction: float
    confidence: float
    floor: NoiseFloor | None

    @property
    def decisive(self) -> PhaseComparison | None:
        """The row that the verdict rests on: of those that say the same the one that answers a task, and of these the largest change."""
        rows = [row for row in self.phases if row.verdict == self.verdict]
        return max(rows, key=lambda row: (row.main, abs(math.log1p(row.change_fraction or 0.0))), default=None)


def compare(
    side_a: Sequence[Measurement],
    side_b: Sequence[Measurement],
    *,
    main_phase: Mapping[str, str],
    threshold_fraction: float = THRESHOLD,
    confidence: float = CONFIDENCE,
    scale: Scale | None = None,
    unit: Unit = "s",
    across: Collection[str] = (),
    floor: NoiseFloor | None = None,
    faults: Callable[[Measurement], str] = lambda _: "",
) -> Comparison:
    """Hold B against A, case by case and phase by phase.

    Args:
        side_a, side_b: records; those of one case are repeats and are pooled record by record.
        main_phase: task to the phase that answers it, which decides between FASTER and SAME.
        threshold_fraction: differences up to it do not matter.
        confidence: of all verdicts together.
        scale: divides times, and `unit` is what they are then; None compares seconds.
        across: what may differ between the sides, names of bench.records.request.ACROSS.
        floor: two single runs of the same thing differ by that much: intervals of sides of one record are made no narrower.
        faults: what disqualifies a record, such as a run that broke off; empty where nothing does.

    >>> from bench.records.asked import Asked
    >>> from bench.records.record import Measurement, Phase
    >>> def run(seconds, run_id):
    ...     phase = Phase(name="train_step", samples_s=tuple(seconds + i % 7 / 1000 for i in range(70)))
    ...     return Measurement(run_id=run_id, created_utc="", status="complete", request=Asked(model="m", task="train"), phases=(phase,))
    >>> one = compare([run(1.0, "a")], [run(1.1, "b")], main_phase={"train": "train_step"}).phases[0]
    >>> one.verdict, round(one.change_fraction, 2)
    ('SLOWER', 0.1)
    """
    in_a, in_b = cases(side_a), cases(side_b)
    found, unclear = counterparts(in_a, in_b, across)
    num_verdicts = sum(len(_common_phases(in_a[key], in_b[found[key]], scale)) for key in found)
    each = 1 - (1 - confidence) / max(1, num_verdicts)
    rows: list[PhaseComparison] = []
    stated: dict[tuple[str, str, str], None] = {}
    for key, one in in_a.items():
        if key not in found:
            rows.append(_none(one, unclear.get(key) or no_counterpart(one, in_a, in_b)))
            continue
        other, main = in_b[found[key]], main_phase.get(one.task, "")
        machines = apart(one, other)
        if machines and "device" not in across and unit != "of_ceilings":
            said = f"A ran on {machines[0]}, B on {machines[1]}; if that is meant: --across device, or --normalise ceiling"
            rows.append(_none(one, said))
        stated |= dict.fromkeys([*differing(one, other), *([("device", *machines)] if machines and "device" in across else [])])
        names = _common_phases(one, other, scale)
        fault = next(filter(None, (faults(record) for case in (one, other) for record in case.records)), "")
        fault = fault or ("" if "batch" in across else unlike_steps(one, other))
        if fault or not names:
            missing = "the two have no phase in common that was timed" + (", estimated and has measured ceilings" if scale else "")
            rows.append(_none(one, fault or missing))
        else:
            judged = (_phase(one, other, name, threshold_fraction, each, scale, floor) for name in names)
            rows += [replace(row, main=row.phase == main) for row in judged]
    return Comparison(
        verdict=overall({row.verdict for row in rows}, {row.verdict for row in rows if row.main}),
        phases=tuple(rows),
        only_in_b=tuple(in_b[key].name for key in in_b if key not in found.values()),
        unit=unit,
        stated=tuple(stated),
        threshold_fraction=threshold_fraction,
        confidence=confidence,
        floor=floor,
    )


def _none(one: ComparedCase, reason: str) -> PhaseComparison:
    """The row of a case that is not to be compared."""
    return PhaseComparison(case=one.name, phase="", verdict="INCOMPARABLE", reason=reason)


def _common_phases(one: ComparedCase, other: ComparedCase, scale: Scale | None) -> list[str]:
    """Phases that both sides timed, and that can be scaled where they must, in the order of A's first record that has them."""

    def timed(case: ComparedCase) -> dict[str, None]:
        held = ((record, phase) for record in case.records for phase in record.phases if phase.samples_s)
        return {phase.name: None for record, phase in held if scale is None or scale(record, phase)}

    return [name for name in timed(one) if name in timed(other) and name not in NOT_JUDGED]


def series_of(case: ComparedCase, name: str, scale: Scale | None) -> tuple[list[list[float]], str]:
    """The samples of each record, scaled; or why there are none to compare."""
    series = []
    for record in case.records:
        phase = record.phase(name)
        if phase is None or not phase.samples_s:
            continue
        shortest_s, longest_s = min(phase.samples_s), max(phase.samples_s)
        if shortest_s == 0:
            return [], f"a sample of {record.run_id} took no time: its clock is too coarse"
        if shortest_s < SHORTEST_S or longest_s > LONGEST_S:
            odd_s = shortest_s if shortest_s < SHORTEST_S else longest_s
            return [], f"a sample of {record.run_id} is said to have taken {odd_s:.3g} s, which no clock gives"
        divisor = 1.0 if scale is None else scale(record, phase)
        if not divisor:
            return [], f"{record.run_id} has no measured ceilings, or no estimate of this phase, to normalise by"
        series.append([seconds / divisor for seconds in phase.samples_s])
    return series, ""


def _sizes(one: ComparedCase, other: ComparedCase, name: str) -> tuple[list[list[float]] | None, list[list[float]] | None]:
    """What each sample of each record processes, where a watched training's steps differ in it; None where a median stands for them."""
    held = [[(record, phase) for record in case.records if (phase := record.phase(name)) and phase.samples_s] for case in (one, other)]
    unlike = [[steps_of_unlike_size(record, phase) for record, phase in side] for side in held]
    if not any(found for side in unlike for found in side):
        return None, None

    def sizes(side: int) -> list[list[float]]:
        pairs = zip(held[side], unlike[side], strict=True)
        return [found.items.tolist() if found else [phase.items_per_sample] * len(phase.samples_s) for (_, phase), found in pairs]

    return sizes(0), sizes(1)


def _phase(
    one: ComparedCase, other: ComparedCase, name: str, threshold: float, confidence: float, scale: Scale | None, floor: NoiseFloor | None
) -> PhaseComparison:
    (series_a, why_a), (series_b, why_b) = (series_of(case, name, scale) for case in (one, other))
    if why_a or why_b:
        return PhaseComparison(case=one.name, phase=name, verdict="INCOMPARABLE", reason=why_a or why_b)
    sizes_a, sizes_b = _sizes(one, other, name)
    a, b = pooled(series_a, confidence, SEED, sizes_a), pooled(series_b, confidence, SEED + 1, sizes_b)
    ratio = b.centre - a.centre
    row: dict[str, Any] = {
        "case": one.name,
        "phase": name,
        "a": math.exp(a.centre),
        "b": math.exp(b.centre),
        "change_fraction": math.expm1(ratio),
    }
    row |= {"records_a": a.records, "records_b": b.records, "samples_a": a.samples, "samples_b": b.samples}
    drawn = ratio_draws(a, b, confidence)
    if not drawn.size:
        few = " and ".join(name for name, side in (("A", a), ("B", b)) if side.variance is None and not side.draws.size)
        reason = f"too few independent samples in {few} for an interval; take more, or repeat the run in fresh processes"
        return PhaseComparison(**row, verdict="AMBIGUOUS", reason=reason)
    tail = (1 - confidence) / 2
    low, high = (float(bound) for bound in np.quantile(drawn, (tail, 1 - tail)))
    # two single runs differ by the floor, each by its share; several show by themselves what processes differ by
    singles = [a.records, b.records].count(1)
    noise = math.log1p(floor.fraction) * math.sqrt(singles / 2) if floor else 0.0
    low, high = min(low, ratio - noise), max(high, ratio + noise)
    verdict, reason = verdict_on(ratio, low, high, math.log1p(threshold))
    if verdict == "AMBIGUOUS" and noise > math.log1p(threshold):
        reason = "this machine's noise floor is above the threshold; repeat in fresh processes, or raise --threshold"
    half = (high - low) / 2
    detectable = math.expm1(half * (1 + NormalDist().inv_cdf(POWER) / NormalDist().inv_cdf(1 - tail)))
    row |= {"low_fraction": math.expm1(low), "high_fraction": math.expm1(high), "detectable_fraction": max(detectable, threshold)}
    return PhaseComparison(**row, verdict=verdict, reason=reason, confidence=confidence)
