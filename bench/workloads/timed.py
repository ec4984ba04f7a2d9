"""A step timed as its run asks: the call that compiles first, then samples; and what is kept of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.machine.meters.instruments import Watch
from bench.records.draft import Draft
from bench.records.proof import Proof
from bench.records.record import Phase
from bench.sampling.progress import sampling
from bench.sampling.timing_loop import Samples, sample
from bench.workloads.step_run import StepRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Samples of a step, as a phase, and what proves that it was done."""

    phase: Phase
    samples: Samples
    proof: Proof

    def keep(self, draft: Draft) -> None:
        """Add it to the draft; an interrupted phase then stops the run."""
        draft.proof |= self.proof
        draft.warnings += self.samples.findings(self.phase.name)
        draft.add_phase(self.phase)


def after(warmup_s: tuple[float, ...], phase: Phase) -> Phase:
    """The phase with a warm-up before its own."""
    return replace(phase, warmup_s=warmup_s + phase.warmup_s)


def sampled(
    step: Callable[[], None], run: StepRun, name: str, watch: Watch, *, warmup_max: int | None = None, shown: bool = True
) -> tuple[tuple[float, ...], Samples]:
    """Time a step by the run's preset.

    Args:
        name: of the phase.
        warmup_max: warm-up samples at most; the preset's for the device unless given.
        shown: whether progress is drawn.

    Returns:
        Seconds of the first call where it compiles, which is before the sampling loop, whose time it would use up; and the samples.
    """
    asked, clock = run.preset, run.device.clock()
    compiling_s = (clock.time(step),) if run.compile else ()
    with sampling(name, max_samples=run.steps, max_time_s=run.max_time_s, shown=shown) as on_sample:
        samples = sample(
            step,
            clock=clock,
            warmup_max=asked.warmup_max[run.device.kind] if warmup_max is None else warmup_max,
            min_samples=min(asked.min_samples, run.steps),
            max_samples=run.steps,
            max_time_s=run.max_time_s,
            target_fraction=asked.target_fraction,
            on_sample=on_sample,
            steady=watch(name),
        )
    return compiling_s, samples
