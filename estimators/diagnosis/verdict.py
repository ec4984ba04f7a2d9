"""From a question's figures to a verdict and its causes: arithmetic first, then physics, then what is expected, then other runs."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Literal

from estimators.diagnosis.arithmetic import COUNTED, Check
from estimators.diagnosis.causes import Explained, Slip, could_be, explained, known_peak, slips
from estimators.diagnosis.compared import MISTIMED, NOISE, ORDINARY, Comparison, suspects_of
from estimators.diagnosis.counts import Counts
from estimators.diagnosis.decoding import KEEPS_ON_HOST, DecodeExpected, is_hosts_rate
from estimators.diagnosis.expected import Expected, slow_share
from estimators.diagnosis.observed import COUNTS, TIMES, Figure
from estimators.diagnosis.question import DiagnosisQuestion
from estimators.diagnosis.slow import slow_suspects
from estimators.facts.registry import utilization_range
from estimators.frozen import frozen
from estimators.units import format_bytes, format_flop_rate, format_fraction, format_ratio

Verdict = Literal["NORMAL", "SLOW", "FAST BUT POSSIBLE", "IMPOSSIBLE", "MISCOUNTED", "UNKNOWN"]

SPREADS = 3.0
"""Standard deviations from the prediction beyond which an honest run is not expected; the 80 % interval's ends are 1.28 of them."""

OF_80 = 1.2816
WRONG_MODEL = 0.25
"""Relative difference of two sizes that no rounding and no vocabulary explains."""

CLEAR = 1.2
"""A slip is claimed of a possible figure only where it brings the figure nearer to the prediction by more than this."""


@frozen
class Suspected:
    """A cause with what speaks for it.

    Attributes:
        id: of causes.csv.
        evidence: in words.
        factor: reported over true; None where the cause has no factor of its own.
    """

    id: str
    evidence: str = ""
    factor: float | None = None


@frozen
class Judged:
    """A verdict.

    Attributes:
        suspects: the likeliest first.
        reason: in a sentence, the figures that it rests on.
        corrected: what the main figure would read without the first suspect's slip, in its own unit; None where it stands.
        ties: whether the first two explain the figure alike.
        wrong: another figure than the main one that is printed and wrong; None where none is known to be.
    """

    verdict: Verdict
    suspects: tuple[Suspected, ...] = ()
    reason: str = ""
    corrected: float | None = None
    ties: bool = False
    wrong: Figure | None = None


@frozen
class Evidence:
    """All that a verdict is made of.

    Attributes:
        rate: items per second and device that the figures make; None where they make none.
        share: of the dense peak that the main figure says, where no count of FLOP is needed for it.
    """

    question: DiagnosisQuestion
    counts: Counts | None
    checks: tuple[Check, ...]
    rate: float | None
    share: float | None
    least: float | None
    expected: Expected | None
    decode: DecodeExpected | None
    comparison: Comparison | None


def judge(e: Evidence) -> Judged:
    """The first rule that finds something, in this order."""
    rules: Sequence[Callable[[Evidence], Judged | None]] = (
        _wrong_model,
        _turned_over,
        _tools_peak,
        _disagreement,
        _decoding,
        _beyond_physics,
        _beside_expected,
        _by_share,
        _beside_other,
        _agreement,
    )
    for rule in rules:
        if (found := rule(e)) is not None:
            return found
    return Judged(verdict="UNKNOWN", reason="nothing that was given decides it")


def _wrong_model(e: Evidence) -> Judged | None:
    """A model that is said to be of one size, while its configuration is of another."""
    q = e.question
    if not q.setting.claimed_model or q.model is None:
        return None
    said = size_in(q.setting.claimed_model)
    size = _params(q)
    if said is None or abs(math.log(said / size)) < math.log1p(WRONG_MODEL):
        return None
    evidence = f"the configuration has {size / 1e9:.3g} B parameters, the name says {said / 1e9:.3g} B: {format_ratio(said / size)} times"
    return Judged(verdict="MISCOUNTED", suspects=(Suspected(id="wrong_model", evidence=evidence, factor=said / size),), reason=evidence)


def _params(q: DiagnosisQuestion) -> int:
    from estimators.counting.estimate import count_params
    from estimators.spec import Workload

    assert q.model is not None
    return count_params(q.model.ops(Workload(phase="train", seq_len=q.item_tokens or 1)))


_SIZE = re.compile(r"(?<![\w.])(\d+(?:\.\d+)?)([BM])(?![\w])")


def size_in(name: str) -> float | None:
    """Parameters that a name says; None where it says none.

    >>> size_in("MPT-7B"), size_in("GPT-2 124M, vocab 44,902"), size_in("Mixtral 8x7B")
    (7000000000.0, 124000000.0, None)
    """
    found = _SIZE.search(name)
    return float(found[1]) * (1e9 if found[2] == "B" else 1e6) if found else None


def _turned_over(e: Evidence) -> Judged | None:
    """A ratio of two ways to count that is said the wrong way round, or right."""
    main, own = e.question.main, e.question.peak_flop_per_s
    if main is None or main.quantity != "reported_over_true" or own is None:
        return None
    mfu = Figure(quantity="mfu_fraction", value=0.5)
    peaks = [s for s in slips(e.question, e.counts, mfu) if s.id in ("wrong_peak", "wrong_variant", "sparse_peak")]
    tolerance = COUNTED + main.relative_error
    if right := explained(main.value, tolerance, peaks, main):
        return Judged(verdict="NORMAL", suspects=_suspected(right), reason=right[0].slip.how)
    turned = explained(1 / main.value, tolerance, peaks, main)
    if not turned:
        return None
    evidence = (
        f"a utilization over {turned[0].slip.how}, is {format_ratio(1 / main.value)} of the one over {format_flop_rate(own, 4)}: too small"
    )
    suspects = (Suspected(id="direction", evidence=evidence, factor=main.value**2), *_suspected(turned))
    return Judged(verdict="MISCOUNTED", suspects=suspects, reason=evidence, corrected=1 / main.value)


def _tools_peak(e: Evidence) -> Judged | None:
    """A utilization that a tool prints over a peak of its own, whatever the device is."""
    q, main = e.question, e.question.main
    known = known_peak(q)
    if main is None or main.quantity != "mfu_fraction" or known is None or not q.peak_flop_per_s:
        return None
    corrected = main.value * known / q.peak_flop_per_s
    evidence = (
        f"{q.setting.software} divides by {format_flop_rate(known, 4)}; of the device's own {format_flop_rate(q.peak_flop_per_s, 4)} "
        f"it is {format_fraction(corrected)}"
    )
    suspects = (Suspected(id="wrong_peak", evidence=evidence, factor=q.peak_flop_per_s / known),)
    return Judged(verdict="IMPOSSIBLE" if main.value > 1 else "MISCOUNTED", suspects=suspects, reason=evidence, corrected=corrected)


def _disagreement(e: Evidence) -> Judged | None:
    """Two figures of one run that do not agree."""
    q = e.question
    for check in e.checks:
        if check.agrees:
            continue
        on_main = explained(check.ratio, check.tolerance, slips(q, e.counts, check.reported), check.reported)
        other = check.other
        on_other = (
            explained(1 / check.ratio, check.tolerance, slips(q, e.counts, other), other)
            if other is not None and other is not check.reported and other.quantity not in COUNTS
            else []
        )
        if check.reported.quantity == "peak_flop_per_s":
            on_other = []
        if on_other and not on_main and other is not q.main and on_other[0].slip.id == "wrong_peak" and known_peak(q) is not None:
            continue  # a tool's own constant: the printed share is wrong, the run's other figures are not
        found = sorted([*on_main, *on_other], key=lambda each: (not each.slip.sure, abs(each.off) > check.tolerance / 2))
        disagrees = f"{check.reported} against {check.how}: {format_ratio(check.ratio)} times"
        if found:
            first = found[0]
            wrong = None if first.figure is check.reported else first.figure
            corrected = _corrected(check.reported, first.slip) if wrong is None and check.by_count else None
            ties = len(found) > 1 and found[1].slip.sure == first.slip.sure
            return Judged(
                verdict=_stated_verdict(e, check.reported if wrong is None else first.figure),
                suspects=_suspected(found, check),
                reason=disagrees,
                corrected=check.derived if corrected is None and wrong is None else corrected,
                ties=ties,
                wrong=wrong,
            )
        name = "mfu_disagrees_with_rate" if "mfu_fraction" in (check.reported.quantity, other and other.quantity) else "figures_disagree"
        may = could_be(check.ratio, slips(q, e.counts, check.reported), check.reported)
        sure = [each for each in may if each.slip.sure]
        plain = Suspected(id=name, evidence=disagrees, factor=check.ratio)
        suspects = (*_suspected(sure), *(() if sure else (plain,)), *_suspected([m for m in may if m not in sure]))
        return Judged(verdict=_stated_verdict(e, check.reported), suspects=suspects, reason=disagrees, corrected=check.derived)
    return None


def _stated_verdict(e: Evidence, figure: Figure) -> Verdict:
    """IMPOSSIBLE where the wrong figure by itself is."""
    return "IMPOSSIBLE" if figure.quantity == "mfu_fraction" and figure.value > 1 else "MISCOUNTED"


def _corrected(figure: Figure, slip: Slip) -> float | None:
    if slip.factor is None:
        return None
    return figure.value * slip.factor if figure.quantity in TIMES else figure.value / slip.factor


def _suspected(found: Sequence[Explained], check: Check | None = None) -> tuple[Suspected, ...]:
    return tuple(Suspected(id=each.slip.id, evidence=_evidence(each), factor=each.slip.factor) for each in found)


def _evidence(each: Explained) -> str:
    if each.slip.factor is None:
        return each.slip.how
    return f"{each.slip.how}: a factor of {format_ratio(each.slip.factor)}, which meets it to {format_fraction(abs(each.off), 2)}"


def _decoding(e: Evidence) -> Judged | None:
    """Tokens of a generation beside bytes over bandwidth, and the predicted step."""
    q, d, main = e.question, e.decode, e.question.main
    if d is None or main is None or not q.is_decode or main.quantity not in ("decode_tokens_per_s", "tokens_per_s"):
        return None
    share = main.value / d.bound
    said = (
        f"{format_fraction(share)} of the {d.bound:,.4g} tokens/s at which {format_bytes(d.weight_bytes)} of weights "
        f"({d.bits:g} bits{'' if d.is_stated else ', assumed'}) are read"
    )
    if share > 1 and d.is_stated:
        return Judged(verdict="IMPOSSIBLE", suspects=(Suspected(id="above_bandwidth_bound", evidence=said, factor=share),), reason=said)
    low, high = d.low or d.bound * ORDINARY / 2, d.high or d.bound
    if main.value < low:
        return Judged(verdict="SLOW", suspects=_slow_decoding(q, d, main.value), reason=said)
    if main.value > high:
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


def _beyond_physics(e: Evidence) -> Judged | None:
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
    suspects = (*_suspected(found), *_suspected(may))
    corrected = _corrected(main, found[0].slip) if found else None
    return Judged(verdict="IMPOSSIBLE", suspects=suspects, reason=said, corrected=corrected, ties=_tie(found))


def _tie(found: Sequence[Explained]) -> bool:
    return len(found) > 1 and found[1].slip.sure == found[0].slip.sure


def _that_meet(e: Evidence, tried: Sequence[Slip], figure: Figure) -> list[Explained]:
    """Slips after which the figure lies where it is expected, those nearest to the prediction first."""
    interval = _interval(e)
    if interval is None:
        return []
    value, (low, middle, high) = interval
    near = []
    for slip in tried:
        if slip.factor is None or slip.id == "decimal_slip" or not low <= value / slip.factor <= high:
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


def _beside_expected(e: Evidence) -> Judged | None:
    """A rate beside the interval."""
    q, x, rate, main = e.question, e.expected, e.rate, e.question.main
    if x is None or rate is None or main is None:
        return None
    said = f"{format_ratio(rate / x.middle, 3)} of what is predicted" if x.predictions else f"{format_ratio(rate / x.middle, 3)} of the median"
    if x.holds(rate):
        passes = q.accumulation or 1
        if main.quantity == "step_time_s" and passes > 1:
            evidence = f"a step is {passes} micro-batches: {format_ratio(passes)} times the time of one"
            return Judged(verdict="NORMAL", suspects=(Suspected(id="grad_accum_in_step", evidence=evidence, factor=passes),), reason=said)
        return Judged(verdict="NORMAL", reason=said)
    tried = slips(q, e.counts, main)
    found = _that_meet(e, tried, main)
    spread = math.log(x.high / x.middle if rate > x.high else x.middle / _predicted_low(x)) / OF_80
    is_far = abs(math.log(rate / x.middle)) > SPREADS * max(spread, 1e-3)
    claimed = [each for each in found if each.slip.sure and abs(math.log1p(each.off)) * CLEAR < abs(math.log(rate / x.middle))]
    if is_far and claimed:
        return Judged(
            verdict="MISCOUNTED",
            suspects=_suspected(found),
            reason=said,
            corrected=_corrected(main, claimed[0].slip),
            ties=_tie(found),
        )
    if rate > x.high:
        return Judged(verdict="FAST BUT POSSIBLE", suspects=(*_suspected(found), *_suspected(could_be(rate / x.middle, tried, main))), reason=said)
    slow = tuple(Suspected(id=s.id, evidence=s.evidence) for s in slow_suspects(q, x, rate))
    first = _suspected(found) if main.quantity == "mfu_fraction" else ()
    after = () if first else _suspected(found)
    if "first steps" in main.includes or main.cumulative:
        first = (*first, Suspected(id="first_step_included", evidence="the mean is over all steps"))
    return Judged(verdict="SLOW", suspects=(*first, *slow, *after), reason=said)


def _by_share(e: Evidence) -> Judged | None:
    """A share of peak beside those of published runs, where no model is known to predict."""
    q, main = e.question, e.question.main
    if e.share is None or main is None or q.hardware is None or main.quantity not in ("mfu_fraction", "flop_per_s"):
        return None
    known = utilization_range(q.hardware)
    said = f"{format_fraction(e.share)} of peak; published runs on {known.scope} reach {format_fraction(known.low)} to {format_fraction(known.high)}"
    if e.share < slow_share(q.hardware):
        suspects = tuple(Suspected(id=s.id, evidence=s.evidence) for s in slow_suspects(q, e.expected, None))
        if main.quantity == "mfu_fraction":
            suspects = (*_suspected(_that_meet(e, slips(q, e.counts, main), main)), *suspects)
        return Judged(verdict="SLOW", suspects=suspects, reason=said)
    return Judged(verdict="NORMAL" if e.share <= known.high else "FAST BUT POSSIBLE", reason=said)


def _beside_other(e: Evidence) -> Judged | None:
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


def _agreement(e: Evidence) -> Judged | None:
    """A count, a peak, or one figure in two scopes, that agrees; two ways to one rate say nothing of its speed."""
    main = e.question.main
    for check in e.checks:
        counted = check.reported.quantity in (*COUNTS, "peak_flop_per_s")
        if check.reported is main and (counted or (check.other is not None and check.other.quantity == main.quantity)):
            return Judged(verdict="NORMAL", reason=f"{main} agrees with {check.how}")
    return None
