"""From a question's figures to a verdict and its causes: arithmetic first, then physics, then what is expected, then other runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from estimators.diagnosis import of_figures, of_speed
from estimators.diagnosis.evidence import Evidence, Judged


def judge(e: Evidence) -> Judged:
    """The first rule that finds something, in this order."""
    rules: Sequence[Callable[[Evidence], Judged | None]] = (
        of_figures.wrong_model,
        of_figures.turned_over,
        of_figures.tools_peak,
        of_figures.disagreement,
        of_speed.decoding,
        of_speed.beyond_physics,
        of_speed.beside_expected,
        of_speed.by_share,
        of_speed.beside_other,
        of_speed.by_waits,
        of_figures.agreement,
    )
    for rule in rules:
        if (found := rule(e)) is not None:
            return found
    return Judged(verdict="UNKNOWN", reason="nothing that was given decides it")
