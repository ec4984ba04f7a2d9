"""What a timed phase reached: FLOP/s, bytes/s, MFU, and its share of what this machine was measured to reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.records.environment import DeviceFacts
from bench.records.estimated import EstimatedPhase, EstimatedStep
from bench.records.record import Measurement, Phase
from bench.statistics import bootstrap, robust
from bench.statistics.step_sizes import UnlikeSteps, steps_of_unlike_size

MAIN_PHASE = {"generate": "generate", "decode": "decode", "prefill": "prefill", "train": "train_step", "forward": "forward"}
"""Task to the phase that answers it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one timed sample of a phase is, by the estimate.

    Attributes:
        flop: the numerator of an MFU, as the phase's `convention` counts it: full, or causal of layers with windows.
        min_flop, min_bytes: what no kernel may skip, what must move at least once; the first is None of the mean of unlike steps.
        bound_s: physics; None without a datasheet peak.
        rule_flop, rule_bytes: by rule of thumb: 6·N·D or 2·N·D, N the parameters that a token uses, and every weight once per pass.
    """

    flop: float
    min_flop: int | None
    min_bytes: int
    bound_s: float | None
    rule_flop: int | None
    rule_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What a phase reached.

    Attributes:
        seconds_s: the median of the samples, the mean of steps that differ in size, or the extrapolated value.
        tag: measured or extrapolated.
        mfu, ceiling_fraction: work.flop over time, as a share of the dense peak, of the matmul rate measured here.
        bandwidth_fraction, bandwidth_ceiling_fraction: likewise for the bytes that must move.
        floor_s: what the ceilings measured here allow at best; rule_s: the same for the rule of thumb's FLOP and bytes.
    """

    phase: str
    seconds_s: float
    tag: str
    work: Work
    flop_per_s: float
    bytes_per_s: float
    floor_s: float | None
    rule_s: float | None
    mfu: float | None
    ceiling_fraction: float | None
    bandwidth_fraction: float | None
    bandwidth_ceiling_fraction: float | None


AGAIN = "again"
"""Behind the kind of a ceiling that a run had passed, and that was measured once more after it."""


def ceiling(record: Measurement, kind: str) -> float | None:
    """The best rate of that kind, in FLOP/s or bytes/s: just before the run, and after it where the run had passed that."""
    return max((c.value for c in record.ceilings if c.kind in (kind, f"{kind} {AGAIN}")), default=None)


def only(record: Measurement, kind: str) -> float | None:
    """The best rate of exactly that kind, in FLOP/s or bytes/s."""
    return max((c.value for c in record.ceilings if c.kind == kind), default=None)


def drift(record: Measurement) -> dict[str, float]:
    """How much higher or lower each rate of the machine was after the run than before it, as a fraction; empty where not looked at."""
    pairs = {kind: (only(record, kind), only(record, f"{kind} after")) for kind in ("matmul", "bandwidth")}
    return {kind: after / before - 1 for kind, (before, after) in pairs.items() if before and after}


def passed(record: Measurement) -> dict[str, float]:
    """Kind of each ceiling that a phase passes -> the highest rate that does; of bytes that fit into the caches none is held against it."""
    cache_bytes = (record.environment.device or DeviceFacts()).cache_bytes or 0
    found: dict[str, float] = {}
    for reached in all_rates(record):
        if (reached.ceiling_fraction or 0.0) > 1:
            found["matmul"] = max(found.get("matmul", 0.0), reached.flop_per_s)
        if (reached.bandwidth_ceiling_fraction or 0.0) > 1 and reached.work.min_bytes > cache_bytes:
            found["bandwidth"] = max(found.get("bandwidth", 0.0), reached.bytes_per_s)
    return found


def floor_s(record: Measurement, flop: int | None, num_bytes: int | None) -> float | None:
    """Seconds that the measured ceilings demand at least; None where they were not measured, or the work is not known."""
    if flop is None or num_bytes is None:
        return None
    matmul, bandwidth = ceiling(record, "matmul"), ceiling(record, "bandwidth")
    return max(flop / matmul, num_bytes / bandwidth) if matmul and bandwidth else None


def _work(phase: EstimatedPhase, step: EstimatedStep | None = None) -> Work:
    """The work of a sample of a phase, or of one decode step in it."""
    of = step or phase
    counted = phase.flop.causal if phase.convention == "causal" else phase.flop.full
    return Work(
        flop=(phase.flop.full if counted is None else counted) if step is None else step.flop,
        min_flop=of.min_flop,
        min_bytes=of.min_bytes,
        bound_s=of.bound_s,
        rule_flop=phase.rule_flop,
        rule_bytes=phase.rule_bytes,
    )


def works(record: Measurement, phase: Phase) -> list[Work]:
    """The work of each sample, in order; decode steps differ by their context.

    Empty for a phase without an estimate, and for steps that differ in size, since the estimate is of the usual one.
    """
    said = record.estimate.phases.get(phase.name)
    if said is None or steps_of_unlike_size(record, phase):
        return []
    steps = {step.context_len: step for step in said.steps}
    if not phase.context_lens or not steps:
        return [_work(said)] * len(phase.samples_s)
    return [_work(said, steps.get(context)) for context in phase.context_lens]


def _rates(record: Measurement, name: str, seconds_s: float, tag: str, work: Work) -> Rates:
    peak, peak_bytes = record.estimate.peak_flop_per_s, record.estimate.peak_bytes_per_s
    matmul, bandwidth = ceiling(record, "matmul"), ceiling(record, "bandwidth")
    flop_per_s, bytes_per_s = work.flop / seconds_s, work.min_bytes / seconds_s
    return Rates(
        phase=name,
        seconds_s=seconds_s,
        tag=tag,
        work=work,
        flop_per_s=flop_per_s,
        bytes_per_s=bytes_per_s,
        floor_s=floor_s(record, work.min_flop, work.min_bytes),
        rule_s=floor_s(record, work.rule_flop, work.rule_bytes),
        mfu=flop_per_s / peak if peak else None,
        ceiling_fraction=flop_per_s / matmul if matmul else None,
        bandwidth_fraction=bytes_per_s / peak_bytes if peak_bytes else None,
        bandwidth_ceiling_fraction=bytes_per_s / bandwidth if bandwidth else None,
    )


def rates(record: Measurement, phase: Phase) -> Rates | None:
    """Rates of a phase that the estimate knows, by its median sample and the work of the median one; of unlike steps by their sums."""
    if not phase.samples_s or min(phase.samples_s) <= 0:
        return None
    unlike = steps_of_unlike_size(record, phase)
    if unlike is not None:
        return _rates_of_sums(record, phase, unlike)
    done = works(record, phase)
    if not done:
        return None
    typical = sorted(done, key=lambda work: work.flop)[len(done) // 2] if phase.context_lens else done[0]
    return _rates(record, phase.name, robust.median(phase.samples_s), "measured", typical)


def _rates_of_sums(record: Measurement, phase: Phase, unlike: UnlikeSteps) -> Rates | None:
    """By the FLOP of all timed steps over all their time; what a kernel may skip of them is not known."""
    seen, said = record.proof.watched, record.estimate.phases.get(phase.name)
    if said is None or seen is None or seen.steady_training_flop is None:
        return None
    flop = seen.steady_training_flop / len(phase.samples_s) / (record.proof.num_ranks or 1)
    work = Work(flop=flop, min_flop=None, min_bytes=said.min_bytes, bound_s=None, rule_flop=None, rule_bytes=None)
    return _rates(record, phase.name, unlike.mean_s, "measured", work)


def typical_s(record: Measurement, phase: Phase) -> float:
    """Time of a typical sample: the median, or the mean of steps that differ in size."""
    unlike = steps_of_unlike_size(record, phase)
    return robust.median(phase.samples_s) if unlike is None else unlike.mean_s


def items_per_sample(record: Measurement, phase: Phase) -> float:
    """Tokens or samples of a typical sample: over `typical_s` they are the rate, of steps that differ in size the sum over the sum."""
    unlike = steps_of_unlike_size(record, phase)
    return phase.items_per_sample if unlike is None else unlike.mean_items


def interval_s(record: Measurement, phase: Phase) -> tuple[float, float] | None:
    """The interval of `typical_s` at 95 %; None where there are too few samples."""
    unlike = steps_of_unlike_size(record, phase)
    return bootstrap.median_interval(phase.samples_s) if unlike is None else bootstrap.mean_interval(phase.samples_s, unlike.items.tolist())


def all_rates(record: Measurement) -> Iterator[Rates]:
    """Rates of every timed phase that the estimate knows, and of the value extrapolated from slices."""
    for phase in record.phases:
        reached = rates(record, phase)
        if reached is not None:
            yield reached
    line = record.extrapolation
    if line and line.value_s > 0 and line.phase in record.estimate.phases:
        yield _rates(record, line.phase, line.value_s, "extrapolated", _work(record.estimate.phases[line.phase]))


def main_rates(record: Measurement) -> Rates | None:
    """Rates of the phase that answers the request; None where it was not timed."""
    name = MAIN_PHASE.get(record.request.task)
    return next((reached for reached in all_rates(record) if reached.phase == name), None)


def main_phase(record: Measurement) -> Phase | None:
    """The phase that answers the request's question; None where only slices or nothing was timed."""
    return record.phase(MAIN_PHASE.get(record.request.task, ""))


def headline_s(record: Measurement) -> tuple[float, str] | None:
    """Seconds of the main step and whether they were measured or extrapolated."""
    if record.extrapolation:
        return record.extrapolation.value_s, "extrapolated"
    phase = main_phase(record)
    return (typical_s(record, phase), "measured") if phase and phase.samples_s else None
