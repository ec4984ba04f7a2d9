"""Figures of one run held against one another, before any model of speed: each rate that they make, and where two of them disagree.

Tokens of a step = micro-batch x tokens of a row x accumulation x replicas; a rate is those over a step's time; a utilization is a rate
times FLOP over peak. Two figures of one run that disagree are the finding, whatever either of them would say alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from estimators.diagnosis.counts import Counts
from estimators.diagnosis.observed import COUNTS, RATES, TIMES, Figure
from estimators.diagnosis.question import DiagnosisQuestion
from estimators.facts.tool_conventions import tools
from estimators.frozen import frozen
from estimators.units import format_duration, format_flop_rate, format_fraction, format_grouped, format_int

EXACT, COUNTED = 0.01, 0.03
"""What two figures may differ by beside their digits: where arithmetic joins them, and where a count of FLOP does (6·N of a rounded N is
2 % off the products, and logs print means of unlike windows)."""


@frozen
class Rate:
    """Items per second that some figures make: tokens, or samples of a model of samples.

    Attributes:
        items_per_s: of the job; of one device where nobody said how many there are.
        figures: that it is made of; the first is the one that a slip would be in.
        how: in words.
        by_count: whether a count of FLOP is in it.
    """

    items_per_s: float
    figures: tuple[Figure, ...]
    how: str
    by_count: bool = False

    @property
    def relative_error(self) -> float:
        """What the digits of its figures leave open."""
        return sum(figure.relative_error for figure in self.figures)


@frozen
class Check:
    """One figure beside what the others make of it.

    Attributes:
        reported: the figure; the one that is asked about where it is one of the two.
        derived: what the others make of it, in its own unit and scope.
        how: the arithmetic, with its numbers.
        ratio: reported over derived, as rates: of times turned over. 1 where they agree.
        tolerance: what they may differ by, relative.
        counted_as: the tool whose count makes them agree, where the usual one does not; empty else.
        other: the figure that the derived one hangs on.
    """

    reported: Figure
    derived: float
    how: str
    ratio: float
    tolerance: float
    by_count: bool = False
    counted_as: str = ""
    other: Figure | None = None

    @property
    def agrees(self) -> bool:
        """Whether they do."""
        return bool(self.counted_as) or abs(math.log(self.ratio)) <= self.tolerance


def rates(q: DiagnosisQuestion, counts: Counts | None) -> list[Rate]:
    """Every rate that the question's figures make, arithmetic before counts of FLOP, the main figure's first."""
    found = [*_plain_rates(q), *(_counted_rates(q, counts) if counts else ())]
    return sorted(found, key=lambda rate: (q.main not in rate.figures, rate.by_count))


def per_device(rate: Rate, num_devices: int | None) -> float | None:
    """A rate of one device; None of a job whose devices nobody counted: it is no device's."""
    if num_devices is None and rate.figures[0].scope == "job":
        return None
    return rate.items_per_s / (num_devices or 1)


def _devices(q: DiagnosisQuestion, figure: Figure) -> int:
    """What turns a figure of its scope into one of the job; 1 where nobody said how many devices there are."""
    return (q.num_devices or 1) if figure.scope == "device" else 1


def _plain_rates(q: DiagnosisQuestion) -> Iterator[Rate]:
    items, tokens = q.items_per_step, q.item_tokens
    by_quantity = {quantity: [f for f in q.observed.figures if f.quantity == quantity] for quantity in (*RATES, *TIMES, *COUNTS)}
    for figure in by_quantity["tokens_per_s"]:
        yield Rate(items_per_s=figure.value * _devices(q, figure), figures=(figure,), how=str(figure))
    for figure in by_quantity["samples_per_s"]:
        if tokens is not None:
            how = f"{figure}" if tokens == 1 else f"{figure} x {format_int(tokens)} tokens"
            yield Rate(items_per_s=figure.value * _devices(q, figure) * tokens, figures=(figure,), how=how)
    for figure in by_quantity["step_time_s"]:
        if items is not None:
            how = f"{_items(q, items)} a step in {format_duration(figure.value)}"
            yield Rate(items_per_s=items / figure.value, figures=(figure,), how=how)
    for figure in by_quantity["steps_per_s"]:
        if items is not None:
            yield Rate(items_per_s=items * figure.value, figures=(figure,), how=f"{figure} x {_items(q, items)} a step")
    for wall in by_quantity["wall_time_s"]:
        yield from _whole_runs(q, wall, items, tokens)


def _whole_runs(q: DiagnosisQuestion, wall: Figure, items: int | None, tokens: int | None) -> Iterator[Rate]:
    """Rates of a whole run from its wall time."""
    took = format_duration(wall.value, 5)
    for figure in q.observed.figures:
        if figure.quantity == "tokens" and not figure.includes:
            how = f"{format_grouped(figure.value)} tokens in {took}"
            yield Rate(items_per_s=figure.value / wall.value, figures=(wall, figure), how=how)
        if figure.quantity == "samples" and tokens is not None:
            how = f"{format_grouped(figure.value)} samples{'' if tokens == 1 else f' of {format_int(tokens)} tokens'} in {took}"
            yield Rate(items_per_s=figure.value * tokens / wall.value, figures=(wall, figure), how=how)
        if figure.quantity == "steps" and items is not None:
            how = f"{format_grouped(figure.value)} steps of {_items(q, items)} in {took}"
            yield Rate(items_per_s=figure.value * items / wall.value, figures=(wall, figure), how=how)


def _counted_rates(q: DiagnosisQuestion, counts: Counts) -> Iterator[Rate]:
    for figure in q.observed.figures:
        if figure.quantity == "flop_per_s":
            rate = figure.value * _devices(q, figure) / counts.printed
            yield Rate(items_per_s=rate, figures=(figure,), how=f"{figure} at {_per_item(q, counts)}", by_count=True)
        if figure.quantity == "mfu_fraction" and q.peak_flop_per_s:
            again = "recomputation" in figure.includes
            rate = figure.value * q.peak_flop_per_s * (q.num_devices or 1) / (counts.hardware if again else counts.printed)
            how = f"{figure} at {_per_item(q, counts)}{' and recomputation' * again}, of {format_flop_rate(q.peak_flop_per_s)}"
            yield Rate(items_per_s=rate, figures=(figure,), how=how, by_count=True)


def _per_item(q: DiagnosisQuestion, counts: Counts) -> str:
    whose = f", as {q.tool.name} counts" if q.tool is not None and counts.printed != counts.usual else ""
    return f"{counts.printed / 1e9:.4g} GFLOP a {item_word(q)}{whose}"


def item_word(q: DiagnosisQuestion) -> str:
    """What is counted: token, or sample."""
    return "sample" if q.counts_samples else "token"


def _items(q: DiagnosisQuestion, items: int) -> str:
    return f"{format_int(items)} {item_word(q)}s"


def checks(q: DiagnosisQuestion, counts: Counts | None) -> list[Check]:
    """The main figure beside every other way to it, then the rest: what disagrees first, and of that what arithmetic alone finds."""
    found = [*_of_counts(q), *_of_padding(q), *_of_rates(q, counts), *_of_peaks(q), *_of_scopes(q)]
    return sorted(found, key=lambda check: (check.agrees, check.reported is not q.main, check.by_count))


def _of_rates(q: DiagnosisQuestion, counts: Counts | None) -> Iterator[Check]:
    """The first rate beside each other that shares no figure with it."""
    known = rates(q, counts)
    if not known:
        return
    first = known[0]
    for other in known[1:]:
        if set(map(id, first.figures)) & set(map(id, other.figures)):
            continue
        if q.num_devices is None and first.figures[0].scope != other.figures[0].scope:
            continue  # one device's and all devices', and nobody says how many there are
        ratio = first.items_per_s / other.items_per_s
        reported = first.figures[0]
        by_count = first.by_count or other.by_count
        tolerance = first.relative_error + other.relative_error + (COUNTED if by_count else EXACT)
        derived = reported.value * ratio if reported.quantity in TIMES else reported.value / ratio
        yield Check(
            reported=reported,
            derived=derived,
            how=other.how,
            ratio=ratio,
            tolerance=tolerance,
            by_count=by_count,
            counted_as=_tool_that_agrees(q, counts, first, other, ratio, tolerance) if by_count and counts else "",
            other=other.figures[0],
        )


def _tool_that_agrees(q: DiagnosisQuestion, counts: Counts, first: Rate, other: Rate, ratio: float, tolerance: float) -> str:
    """A tool by whose count a utilization and a rate agree; the run's own first.

    Nothing of what is trained in part: no tool looks. Of others than the run's own, none that counts what is run again or looked up, or
    the whole square where that overstates: those are slips with a name.
    """
    if abs(math.log(ratio)) <= tolerance or first.by_count == other.by_count or q.setting.method not in ("", "full"):
        return ""
    own = q.tool.id if q.tool else ""
    for name in sorted(counts.by_tool, key=lambda name: name != own):
        tool = tools()[name]
        looked_up = tool.weights in ("all parameters", "without positions") and tool.attention != "none"
        square = tool.attention in ("full", "window") and counts.usual < counts.full
        over = (tool.recompute != "never" or looked_up or square) and name != own
        scaled = ratio * (counts.printed / counts.by_tool[name] if first.by_count else counts.by_tool[name] / counts.printed)
        if not over and abs(math.log(scaled)) <= tolerance:
            return name
    return ""


def _of_counts(q: DiagnosisQuestion) -> Iterator[Check]:
    """Tokens that were counted beside the steps that were made; of one step where nobody said how many."""
    steps, items = q.observed.figure("steps"), q.items_per_step
    for figure in q.observed.figures:
        if figure.quantity == "tokens" and items is not None and steps is not None and not figure.includes:
            derived = items * steps.value
            how = f"{format_grouped(steps.value)} steps x {format_int(items)} tokens"
            yield Check(reported=figure, derived=derived, how=how, ratio=figure.value / derived, tolerance=EXACT, other=steps)


def _of_padding(q: DiagnosisQuestion) -> Iterator[Check]:
    """A rate of padded tokens beside that of real ones, where both counts and the time are known."""
    wall, padded = q.observed.figure("wall_time_s"), [f for f in q.observed.figures if f.quantity == "tokens" and "padding" in f.includes]
    real = [f for f in q.observed.figures if f.quantity == "tokens" and not f.includes]
    if wall is None or not padded or not real:
        return
    for figure in q.observed.figures:
        if figure.quantity == "tokens_per_s":
            derived = real[0].value / wall.value
            how = f"{format_grouped(real[0].value)} tokens without padding in {format_duration(wall.value, 4)}"
            tolerance = EXACT + figure.relative_error
            yield Check(reported=figure, derived=derived, how=how, ratio=figure.value / derived, tolerance=tolerance, other=padded[0])


def _of_peaks(q: DiagnosisQuestion) -> Iterator[Check]:
    """A utilization beside the FLOP/s that it is a share of, and a peak beside the data sheet's."""
    peak, mfu, flop = q.peak_flop_per_s, q.observed.figure("mfu_fraction"), q.observed.figure("flop_per_s")
    if peak and mfu is not None and flop is not None:
        of_device = flop.value / ((q.num_devices or 1) if flop.scope == "job" else 1)
        how = f"{format_flop_rate(of_device, 4)} of {format_flop_rate(peak, 4)} are {format_fraction(of_device / peak)}"
        tolerance = EXACT + mfu.relative_error + flop.relative_error
        yield Check(reported=mfu, derived=of_device / peak, how=how, ratio=mfu.value * peak / of_device, tolerance=tolerance, other=flop)
    stated = q.observed.figure("peak_flop_per_s")
    if peak and stated is not None:
        how = f"{q.hardware.id if q.hardware else ''}: {format_flop_rate(peak, 4)} dense in {q.dtype}, fp32 accumulate"
        tolerance = EXACT + stated.relative_error
        yield Check(reported=stated, derived=peak, how=how, ratio=stated.value / peak, tolerance=tolerance)


def _of_scopes(q: DiagnosisQuestion) -> Iterator[Check]:
    """The job's figure beside the device's, where both are printed."""
    for figure in q.observed.figures:
        if figure.scope != "job" or figure.quantity not in ("flop_per_s",) or not q.num_devices:
            continue
        for other in q.observed.figures:
            if other.quantity == figure.quantity and other.scope == "device":
                derived = other.value * q.num_devices
                how = f"{other} x {format_int(q.num_devices)} devices"
                tolerance = EXACT + figure.relative_error + other.relative_error
                yield Check(reported=figure, derived=derived, how=how, ratio=figure.value / derived, tolerance=tolerance, other=other)
