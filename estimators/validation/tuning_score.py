"""The score of predicted steps of fine-tuning: every measured run once, whichever table holds it and whatever its meters."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from estimators.frozen import frozen
from estimators.validation.score import Score, Scored, score_of
from estimators.validation.tuned_step import KINDS, tuned_job
from estimators.validation.tuning_time import ScoredStep


@frozen
class TunedRun:
    """One measured run beside what is predicted of it by constants that never saw its source.

    Attributes:
        kind: full, LoRA, or the format under it; and the software where it cuts the model.
        error: predicted over measured, less 1.
        is_held: whether the interval holds the measured step.
    """

    source: str
    kind: str
    error: float
    is_held: bool


def tuned_runs(steps: Sequence[ScoredStep], rows: Sequence[Scored] = ()) -> list[TunedRun]:
    """The runs that are predicted.

    Args:
        steps: rows of tables of fine-tunings; a run whose memory two meters read has two.
        rows: of tables of trainings, among which are some.
    """
    runs: dict[tuple[object, ...], TunedRun] = {}
    for each in steps:
        if each.step is not None and each.error is not None:
            run = TunedRun(source=each.step.source, kind=each.step.kind, error=each.error, is_held=each.held)
            runs.setdefault(each.step.run, run)
    return [*runs.values(), *(_of_row(row) for row in rows if is_tuned(row) and row.error is not None)]


def is_tuned(row: Scored) -> bool:
    """Whether a row of a table of trainings is a fine-tuning that a fair score may have."""
    return row.step is not None and row.step.kind in KINDS and not row.step.apart


def _of_row(row: Scored) -> TunedRun:
    assert row.step is not None
    assert row.error is not None
    job = tuned_job(row.step)
    if job is None:
        kind = f"lora under {row.step.stack.id}" if row.step.kind == "lora" else f"full under {row.step.stack.id}"
    else:
        base = job.method.base_format
        kind = "full" if not job.method.rank else "lora" if base == "16-bit" else f"qlora over {base}"
    return TunedRun(source=row.step.source, kind=kind, error=row.error, is_held=row.covered)


def tuned_score(runs: Sequence[TunedRun]) -> Score | None:
    """Of all runs, each weighing the same; None without any."""
    return score_of([run.error for run in runs], [run.is_held for run in runs]) if runs else None


def score_by(runs: Sequence[TunedRun], name: Callable[[TunedRun], str]) -> dict[str, Score]:
    """The score of each group of runs, by name."""
    groups: dict[str, list[TunedRun]] = {}
    for run in runs:
        groups.setdefault(name(run), []).append(run)
    return {group: found for group in sorted(groups) if (found := tuned_score(groups[group]))}
