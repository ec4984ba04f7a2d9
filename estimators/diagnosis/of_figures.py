"""Verdicts on figures alone: what is miscounted by what the run itself states, before any speed is predicted."""

from __future__ import annotations

import math
import re

from estimators.diagnosis.arithmetic import COUNTED, Check
from estimators.diagnosis.causes import could_be, explained, known_peak, slips
from estimators.diagnosis.evidence import Evidence, Judged, Suspected, Verdict, corrected_by, suspected
from estimators.diagnosis.observed import COUNTS, Figure
from estimators.diagnosis.question import DiagnosisQuestion
from estimators.units import format_flop_rate, format_fraction, format_ratio

WRONG_MODEL = 0.25
"""Relative difference of two sizes that no rounding and no vocabulary explains."""


def wrong_model(e: Evidence) -> Judged | None:
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


def turned_over(e: Evidence) -> Judged | None:
    """A ratio of two ways to count that is said the wrong way round, or right."""
    main, own = e.question.main, e.question.peak_flop_per_s
    if main is None or main.quantity != "reported_over_true" or own is None:
        return None
    mfu = Figure(quantity="mfu_fraction", value=0.5)
    peaks = [s for s in slips(e.question, e.counts, mfu) if s.id in ("wrong_peak", "wrong_variant", "sparse_peak")]
    tolerance = COUNTED + main.relative_error
    if right := explained(main.value, tolerance, peaks, main):
        return Judged(verdict="NORMAL", suspects=suspected(right), reason=right[0].slip.how)
    turned = explained(1 / main.value, tolerance, peaks, main)
    if not turned:
        return None
    evidence = (
        f"a utilization over {turned[0].slip.how}, is {format_ratio(1 / main.value)} of the one over {format_flop_rate(own, 4)}: too small"
    )
    suspects = (Suspected(id="direction", evidence=evidence, factor=main.value**2), *suspected(turned))
    return Judged(verdict="MISCOUNTED", suspects=suspects, reason=evidence, corrected=1 / main.value)


def tools_peak(e: Evidence) -> Judged | None:
    """A utilization over a peak that is not the device's: one that is stated beside it, or its tool's own whatever the device is."""
    q, main, own = e.question, e.question.main, e.question.peak_flop_per_s
    stated = q.observed.figure("peak_flop_per_s")
    known = stated.value if stated is not None else known_peak(q)
    if main is None or main.quantity != "mfu_fraction" or known is None or not own or abs(known / own - 1) <= COUNTED:
        return None
    corrected = main.value * known / own
    whose = "it is divided by" if stated is not None else f"{q.setting.software} divides by"
    evidence = f"{whose} {format_flop_rate(known, 4)}; of the device's own {format_flop_rate(own, 4)} it is {format_fraction(corrected)}"
    named = explained(known / own, COUNTED, slips(q, e.counts, stated), stated) if stated is not None else []
    first = Suspected(id=named[0].slip.id if named else "wrong_peak", evidence=evidence, factor=own / known)
    more = suspected(could_be(corrected, slips(q, e.counts, main), main)) if corrected > 1 else ()
    verdict: Verdict = "IMPOSSIBLE" if main.value > 1 else "MISCOUNTED"
    return Judged(verdict=verdict, suspects=(first, *more), reason=evidence, corrected=corrected)


def disagreement(e: Evidence) -> Judged | None:
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
            corrected = corrected_by(check.reported, first.slip) if wrong is None and check.by_count else None
            ties = len(found) > 1 and found[1].slip.sure == first.slip.sure
            return Judged(
                verdict=_stated_verdict(e, check.reported if wrong is None else first.figure),
                suspects=suspected(found),
                reason=disagrees,
                corrected=check.derived if corrected is None and wrong is None else corrected,
                ties=ties,
                wrong=wrong,
            )
        name = "mfu_disagrees_with_rate" if "mfu_fraction" in (check.reported.quantity, other and other.quantity) else "figures_disagree"
        wrong = other if _is_expected(e, check) else None
        doubted = wrong or check.reported
        may = could_be(1 / check.ratio if wrong else check.ratio, slips(q, e.counts, doubted), doubted)
        sure = [each for each in may if each.slip.sure]
        plain = Suspected(id=name, evidence=disagrees, factor=check.ratio)
        suspects = (*suspected(sure), *(() if sure else (plain,)), *suspected([m for m in may if m not in sure]))
        return Judged(
            verdict=_stated_verdict(e, doubted),
            suspects=suspects,
            reason=disagrees,
            corrected=None if wrong else check.derived,
            wrong=wrong,
        )
    return None


def _is_expected(e: Evidence, check: Check) -> bool:
    """Whether the figure that is asked about lies where it is expected, and what the other makes of it does not."""
    if e.expected is None or e.rate is None or check.reported is not e.question.main:
        return False
    return e.expected.holds(e.rate) and not e.expected.holds(e.rate / check.ratio)


def _stated_verdict(e: Evidence, figure: Figure) -> Verdict:
    """IMPOSSIBLE where the wrong figure by itself is."""
    return "IMPOSSIBLE" if figure.quantity == "mfu_fraction" and figure.value > 1 else "MISCOUNTED"


def agreement(e: Evidence) -> Judged | None:
    """A count, a peak, or one figure in two scopes, that agrees; two ways to one rate say nothing of its speed."""
    main = e.question.main
    for check in e.checks:
        counted = check.reported.quantity in (*COUNTS, "peak_flop_per_s")
        if check.reported is main and (counted or (check.other is not None and check.other.quantity == main.quantity)):
            return Judged(verdict="NORMAL", reason=f"{main} agrees with {check.how}")
    return None
