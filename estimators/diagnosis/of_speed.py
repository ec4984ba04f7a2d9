"""Verdicts on speed: physics, what is predicted, published runs, and other runs, in this order."""

from __future__ import annotations

import math
from collections.abc import Sequence

from estimators.diagnosis.causes import Explained, Slip, could_be, slips
from estimators.diagnosis.compared import MISTIMED, NOISE, ORDINARY, suspects_of
from estimators.diagnosis.decoding import KEEPS_ON_HOST, DecodeExpected, is_hosts_rate
from estimators.diagnosis.evidence import Evidence, Judged, Suspected, corrected_by, suspected
from estimators.diagnosis.expected import Expected, slow_share
from estimators.diagnosis.observed import TIMES, Figure
from estimators.diagnosis.question import DiagnosisQuestion
from estimators.diagnosis.slow import measured_shares, slow_suspects
from estimators.facts.registry import utilization_range
from estimators.units import format_bytes, format_fraction, format_ratio

SPREADS = 3.0
"""Standard deviations from the prediction beyond which an honest run is not expected; the 80 % interval's ends are 1.28 of them."""

MOSTLY = 0.2
"""Of a step's time, for one thing beside the model's work, from which a run is slow whatever else it does. Assumed: a run without it would
be a quarter faster."""

OF_80 = 1.2816
CLEAR = 1.2
"""A slip is claimed of a possible figure only where it brings the figure nearer to the prediction by more than this."""


def decoding(e: Evidence) -> Judged | None:
    """Tokens of a generation beside bytes over bandwidth, and the predicted step."""
    q, d, rate = e.question, e.decode, e.decoded
    if d is None or rate is None:
        return None
    share = rate / d.bound
    said = (
        f"{format_fraction(share)} of the {d.bound:,.4g} tokens/s at which {format_bytes(d.weight_bytes)} of weights "
        f"({d.bits:g} bits{'' if d.is_stated else ', assumed'}) are read"
    )
    if share > (1 if d.is_stated else d.bits):  # of weights of a format that nobody said, no fewer than one bit each is read
        return Judged(verdict="IMPOSSIBLE", suspects=(Suspected(id="above_bandwidth_bound", evidence=said, factor=share),), reason=said)
    low, high = d.low or d.bound * ORDINARY / 2, d.high or d.bound
    if rate < low:
        return Judged(verdict="SLOW", suspects=_slow_decoding(q, d, rate), reason=said)
    if rate > high:
        return Judged(verdict="FAST BUT POSSIBLE", reason=said)
    return Judged(verdict="NORMAL", reason=said)


def _slow_decoding(q: DiagnosisQuestion, d: DecodeExpected, rate: float) -> tuple[Suspected, ...]:
    names = []
    software = f"{q.setting.software} {q.setting.precision}".casefold()
    host = f"{rate * d.weight_bytes / 1e9:,.3g} GB/s are read, where a host's memory has about 100 and the device "
    host += f"{d.bandwidth_bytes_per_s / 1e9:,.4g}"
    if is_hosts_rate(d, rate) and any(name in software for name in KEEPS_ON_HOST):
        names.append(Suspected(id="layers_not_offloaded", evidence=host))
    if d.bits < 16 or not d.is_stated:
        names.append(Suspected(id="weight_format_kernel", evidence=f"weights of {d.bits:g} bits on {q.setting.software or 'this engine'}"))
    if is_hosts_rate(d, rate) and not names:
        names.append(Suspected(id="layers_not_offloaded", evidence=host))
    if (q.num_devices or 1) > 1 and q.hardware is not None and q.hardware.link_bytes_per_s is None:
        names.append(Suspected(id="interconnect_pcie", evidence=f"{q.hardware.id} has no link but PCIe"))
    return (*names, Suspected(id="implementation"), Suspected(id="throttling"), Suspected(id="noisy_machine"))


def beyond_physics(e: Evidence) -> Judged | None:
    """A figure that no machine can have made, and the slips that would bring it to what is expected."""
    q, main = e.question, e.question.main
    if main is None:
        return None
    over = e.least if e.least is not None and e.least > 1 else e.share if e.share is not None and e.share > 1 else None
    if over is None:
        return None
    said = f"{main} takes {format_fraction(over, 4)} of the dense peak" + (" by what no kernel may skip" if e.least else "")
    tried = slips(q, e.counts, main)
    found = _that_meet(e, tried, main)
    may = could_be(over, tried, main)
    suspects = (*suspected(found), *suspected(may))
    corrected = corrected_by(main, found[0].slip) if found else None
    return Judged(verdict="IMPOSSIBLE", suspects=suspects, reason=said, corrected=corrected, ties=_tie(found))


def _tie(found: Sequence[Explained]) -> bool:
    return len(found) > 1 and found[1].slip.sure == found[0].slip.sure


def _that_meet(e: Evidence, tried: Sequence[Slip], figure: Figure, *, wide: bool = False) -> list[Explained]:
    """Slips after which the figure lies within SPREADS of the prediction, the nearest first.

    Args:
        wide: also those after which it lies among the published runs, as it may: of what is too fast always.
    """
    interval = _interval(e)
    if interval is None:
        return []
    value, (low, middle, high) = interval
    below, above = low, high
    if e.expected is not None and e.expected.predictions:
        below, above = (middle * (end / middle) ** (SPREADS / OF_80) for end in (low, high))
        below = min(below, e.expected.low) if wide or value > high else below
    near = []
    for slip in tried:
        if slip.factor is None or slip.id == "decimal_slip" or not below <= value / slip.factor <= above:
            continue
        near.append(Explained(slip=slip, figure=figure, off=value / slip.factor / middle - 1))
    once: dict[str, Explained] = {}
    for each in sorted(near, key=lambda each: (not each.slip.sure, abs(math.log1p(each.off)))):
        once.setdefault(each.slip.id, each)
    return list(once.values())


def _interval(e: Evidence) -> tuple[float, tuple[float, float, float]] | None:
    """The observed rate with the predicted interval, published runs left out; else the share of peak with theirs."""
    if e.rate is not None and e.expected is not None:
        x = e.expected
        return e.rate, (_predicted_low(x), x.middle, x.high)
    if e.share is not None and e.question.hardware is not None:
        known = utilization_range(e.question.hardware)
        return e.share, (known.low, known.median, known.high)
    return None


def _predicted_low(x: Expected) -> float:
    """The slow end of the predictions; `low` may be that of the published runs."""
    if x.published_low is None:
        return x.low
    return min(p.tokens_per_step / p.high_s / p.layout.num_devices for p in x.predictions)


def beside_expected(e: Evidence) -> Judged | None:
    """A rate beside the interval."""
    q, x, rate, main = e.question, e.expected, e.rate, e.question.main
    if x is None or rate is None or main is None:
        return None
    said = (
        f"{format_ratio(rate / x.middle, 3)} of what is predicted" if x.predictions else f"{format_ratio(rate / x.middle, 3)} of the median"
    )
    if x.holds(rate):
        passes = q.accumulation or 1
        if main.quantity == "step_time_s" and passes > 1:
            evidence = f"a step is {passes} micro-batches: {passes} times the time of one"
            return Judged(verdict="NORMAL", suspects=(Suspected(id="grad_accum_in_step", evidence=evidence, factor=passes),), reason=said)
        return Judged(verdict="NORMAL", reason=said)
    tried = slips(q, e.counts, main)
    found = _that_meet(e, tried, main)
    spread = math.log(x.high / x.middle if rate > x.high else x.middle / _predicted_low(x)) / OF_80
    is_far = abs(math.log(rate / x.middle)) > SPREADS * max(spread, 1e-3)
    claimed = [each for each in found if each.slip.sure and abs(math.log1p(each.off)) * CLEAR < abs(math.log(rate / x.middle))]
    if is_far and claimed and x.predictions:
        return Judged(
            verdict="MISCOUNTED",
            suspects=suspected(found),
            reason=said,
            corrected=corrected_by(main, claimed[0].slip),
            ties=_tie(found),
        )
    listed = _that_meet(e, tried, main, wide=True)
    sure, unsure = ([each for each in listed if each.slip.sure is said_so] for said_so in (True, False))
    if rate > x.high:
        far = suspected([*unsure, *could_be(rate / x.middle, tried, main)]) if is_far else ()
        return Judged(verdict="FAST BUT POSSIBLE", suspects=(*suspected(sure), *far), reason=said)
    slow = tuple(Suspected(id=s.id, evidence=s.evidence, saves_fraction=s.saves_fraction) for s in slow_suspects(q, x, rate))
    counted = main.quantity == "mfu_fraction"  # a utilization is slow by its peak as often as by its run
    first, after = suspected([*sure, *unsure] if counted else sure), suspected([] if counted else unsure)
    if "first steps" in main.includes or main.cumulative:
        first = (*first, Suspected(id="first_step_included", evidence="the mean is over all steps"))
    return Judged(verdict="SLOW", suspects=(*first, *slow, *after), reason=said)


def by_share(e: Evidence) -> Judged | None:
    """A share of peak beside those of published runs, where no model is known to predict."""
    q, main = e.question, e.question.main
    if e.share is None or main is None or q.hardware is None or main.quantity not in ("mfu_fraction", "flop_per_s"):
        return None
    known = utilization_range(q.hardware)
    reach = f"{format_fraction(known.low)} to {format_fraction(known.high)}"
    said = f"{format_fraction(e.share)} of peak; published runs on {known.scope} reach {reach}"
    if e.share < slow_share(q.hardware):
        suspects = tuple(
            Suspected(id=s.id, evidence=s.evidence, saves_fraction=s.saves_fraction) for s in slow_suspects(q, e.expected, None)
        )
        if main.quantity == "mfu_fraction":
            suspects = (*suspected(_that_meet(e, slips(q, e.counts, main), main)), *suspects)
        return Judged(verdict="SLOW", suspects=suspects, reason=said)
    return Judged(verdict="NORMAL" if e.share <= known.high else "FAST BUT POSSIBLE", reason=said)


def beside_other(e: Evidence) -> Judged | None:
    """A run beside another, where neither a model nor a share of peak decides."""
    c, main, q = e.comparison, e.question.main, e.question
    if c is None or main is None:
        return None
    if c.efficiency >= ORDINARY:
        if c.efficiency > MISTIMED and c.same and main.quantity not in TIMES:
            evidence = f"{format_ratio(c.efficiency, 3)} times another measurement of the same"
            return Judged(
                verdict="MISCOUNTED",
                suspects=(Suspected(id="async_timing", evidence=evidence, factor=c.efficiency), Suspected(id="padding_counted")),
                reason=c.said,
                corrected=c.expected,
            )
        noise = c.same and abs(c.efficiency - 1) < NOISE
        return Judged(verdict="NORMAL", suspects=(Suspected(id="machine_noise", evidence=c.said),) if noise else (), reason=c.said)
    if "first steps" in main.includes and main.quantity in TIMES:
        suspects = (Suspected(id="first_step_included", evidence=f"the mean is over all steps; {c.said}"),)
        return Judged(verdict="MISCOUNTED", suspects=suspects, reason=c.said, corrected=c.expected)
    return Judged(verdict="SLOW", suspects=tuple(Suspected(id=name, evidence=c.said) for name in suspects_of(q, c)), reason=c.said)


def by_waits(e: Evidence) -> Judged | None:
    """What was measured to take a step's time beside the model's work, where nothing says how fast the run should be."""
    found = measured_shares(e.question)
    if not found or (found[0].saves_fraction or 0.0) < MOSTLY:
        return None
    suspects = tuple(Suspected(id=s.id, evidence=s.evidence, saves_fraction=s.saves_fraction) for s in found)
    return Judged(verdict="SLOW", suspects=suspects, reason=found[0].evidence)
