"""The sampling loop: warm up until it settles, then sample until it is enough, and say why it stopped.

Knows nothing of torch. A clock times one call; what a device needs for that (synchronisation, events) is the
clock's affair.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Literal

from bench.records.record import Finding, Phase
from bench.sampling.clock import Clock, HostClock, Step
from bench.statistics import robust

__all__ = ["Clock", "HostClock", "Samples", "sample"]

StoppedBy = Literal["count", "time", "target", "interrupt"]
OnSample = Callable[[str, float], None]
"""Called between samples, outside the timed region, with "warmup" or "steady" and the sample in seconds per call."""

LEAST_TICKS, WANTED_TICKS = 100, 1000
"""Clock resolutions in a sample: below the first the clock alone is off by more than about 1 %, which is reported;
steps that may be repeated are, up to the second."""

UNSTABLE_FRACTION = 0.1
"""Robust relative spread above which a reader is warned; pyperf warns at the same share of the mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Raw samples in seconds per call, in order, unfiltered.

    Attributes:
        steady_s: after the warm-up.
        warmup_s: before; the first may hold compilation and allocation.
        calls_per_sample: calls that one steady sample is the mean of.
        settled: whether the warm-up reached a steady state; None where it was too short to be judged.
        stopped_by: count, time, target, interrupt.
        clock: the name of the clock.
        resolution_s: what the clock reads for an empty step.
    """

    steady_s: tuple[float, ...]
    warmup_s: tuple[float, ...]
    calls_per_sample: int
    settled: bool | None
    stopped_by: StoppedBy
    clock: str
    resolution_s: float

    def to_phase(self, name: str, *, items_per_sample: int = 1, item: str = "token", context_lens: Sequence[int] = ()) -> Phase:
        """The samples as a record keeps them. `items_per_sample` counts the tokens or samples of one call."""
        return Phase(
            name=name,
            samples_s=self.steady_s,
            warmup_s=self.warmup_s,
            items_per_sample=items_per_sample,
            item=item,
            context_lens=tuple(context_lens),
            clock=self.clock,
            stopped_by=self.stopped_by,
            settled=self.settled,
            calls_per_sample=self.calls_per_sample,
        )

    def findings(self, name: str) -> tuple[Finding, ...]:
        """What a reader of the phase `name` should know: NeverSettled, ClockTooCoarse, Unstable."""
        findings = []
        if self.settled is False:
            text, advice = "the warm-up reached its cap before the times settled", "warm up longer, or look for what still changes"
            findings.append(Finding(code="NeverSettled", text=f"{name}: {text}", advice=advice))
        if self.steady_s and robust.median(self.steady_s) * self.calls_per_sample < LEAST_TICKS * self.resolution_s:
            text = f"a sample takes less than {LEAST_TICKS} times what the clock reads for an empty step"
            advice = "give one step more work, such as a larger batch"
            findings.append(Finding(code="ClockTooCoarse", text=f"{name}: {text}", advice=advice))
        spread = robust.relative_spread(self.steady_s) if self.steady_s else None
        if spread is not None and spread > UNSTABLE_FRACTION:
            text, advice = f"the samples spread by {100 * spread:.0f} % of their median", "close other programs, or take more samples"
            findings.append(Finding(code="Unstable", text=f"{name}: {text}", advice=advice))
        return tuple(findings)


def sample(
    step: Step,
    *,
    clock: Clock,
    warmup_max: int = 20,
    min_samples: int = 5,
    max_samples: int = 100,
    max_time_s: float = 10.0,
    target_fraction: float | None = 0.01,
    settle_window: int = 3,
    settle_fraction: float = 0.02,
    max_calls_per_sample: int = 1,
    on_sample: OnSample | None = None,
    steady: AbstractContextManager[object] | None = None,
) -> Samples:
    """Time `step` again and again.

    The warm-up ends when the medians of its last two windows agree, or at its cap. Sampling ends at the first of:
    the interval of the median is narrow enough (target), `max_samples` (count), `max_time_s` (time), Ctrl-C
    (interrupt). Ctrl-C returns what there is; the caller keeps it and then stops (`bench.records.record.Draft.add_phase` does).

    Any other exception of `step` passes through; `on_sample` has seen every sample before it.

    Args:
        step: called without arguments; what it returns is dropped.
        clock: times one call.
        warmup_max: cap of the warm-up, in samples; 0 for steps whose work changes from call to call.
        min_samples: steady samples before the target may stop the loop.
        max_samples: steady samples at most, 1 or more.
        max_time_s: for warm-up and sampling together; the warm-up takes half of it at most. At least one steady
            sample is taken, however long it is.
        target_fraction: half width of the median's 95 % interval, as a share of the median; None never stops early.
        settle_window: samples in a window of the warm-up; a warm-up shorter than two windows is not judged.
        settle_fraction: difference of two windows' medians, as a share of the later one, that counts as settled; a
            difference within the later window's robust spread counts as well.
        max_calls_per_sample: above 1, short steps are called several times per sample until the clock is fine enough;
            only for steps that may be repeated freely.
        on_sample: sees each sample, between samples.
        steady: entered after the warm-up and left after the last sample, as a window of a power meter is.

    Returns:
        Samples, every one in seconds per call.
    """
    assert min(min_samples, max_samples, max_calls_per_sample, settle_window - 1) >= 1, "counts start at 1, a window at 2"
    warmup_s: list[float] = []
    steady_s: list[float] = []
    calls, settled = 1, None
    stopped_by: StoppedBy = "interrupt"

    def take(kind: str, kept: list[float]) -> None:
        kept.append(clock.time(_repeated(step, calls)) / calls)
        if on_sample:
            on_sample(kind, kept[-1])
        gc.collect(1)

    with no_collection(), ExitStack() as stack:
        start_s = clock.now()
        try:
            while len(warmup_s) < warmup_max and not settled and clock.now() - start_s < max_time_s / 2:
                take("warmup", warmup_s)
                calls = max(calls, _calls_needed(warmup_s[-1], clock.resolution_s, max_calls_per_sample))
                settled = has_settled(warmup_s, settle_window, settle_fraction)
            stack.enter_context(steady or nullcontext())
            check_at = min_samples
            while True:
                take("steady", steady_s)
                if len(steady_s) >= check_at and target_fraction is not None:
                    check_at = math.ceil(1.25 * check_at)
                    if _is_narrow(steady_s, target_fraction):
                        stopped_by = "target"
                        break
                if len(steady_s) >= max_samples:
                    stopped_by = "count"
                    break
                if clock.now() - start_s >= max_time_s:
                    stopped_by = "time"
                    break
        except KeyboardInterrupt:
            stopped_by = "interrupt"
    return Samples(
        steady_s=tuple(steady_s),
        warmup_s=tuple(warmup_s),
        calls_per_sample=calls,
        settled=settled,
        stopped_by=stopped_by,
        clock=clock.name,
        resolution_s=clock.resolution_s,
    )


def has_settled(warmup_s: Sequence[float], window: int, fraction: float) -> bool | None:
    """Whether the last two windows of a warm-up agree; None before there are two.

    Their medians may differ by `fraction` of the later one, or by the later window's scaled MAD where that is more.
    A steady drift of d per sample moves the median by `window` times d and the scaled MAD by less than half of that,
    so a drift is not taken for noise.

    >>> has_settled([9.0, 5.0, 3.0, 2.0, 2.0, 2.0], 3, 0.02), has_settled([2.0] * 6, 3, 0.02)
    (False, True)
    """
    if len(warmup_s) < 2 * window:
        return None
    before, after = warmup_s[-2 * window : -window], warmup_s[-window:]
    allowed = max(fraction * robust.median(after), robust.MAD_TO_SIGMA * robust.mad(after))
    return abs(robust.median(after) - robust.median(before)) <= allowed


def _repeated(step: Step, calls: int) -> Step:
    if calls == 1:
        return step

    def several() -> None:
        for _ in range(calls):
            step()

    return several


def _calls_needed(per_call_s: float, resolution_s: float, most: int) -> int:
    if most == 1 or per_call_s >= WANTED_TICKS * resolution_s:
        return 1
    return min(most, math.ceil(WANTED_TICKS * resolution_s / per_call_s)) if per_call_s > 0 else most


def _is_narrow(samples_s: Sequence[float], fraction: float) -> bool:
    interval = robust.median_interval(samples_s)
    return interval is not None and (interval[1] - interval[0]) / 2 <= fraction * robust.median(samples_s)


@contextmanager
def no_collection() -> Iterator[None]:
    """No garbage is collected inside, where it would fall on whatever is being timed; the caller collects between samples."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
