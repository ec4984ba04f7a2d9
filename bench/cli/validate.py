"""Predicted step times against measured ones, shipped or your own: errors by source, and how often the interval held.

python -m bench validate
python -m bench validate --rows my-steps.csv
python -m bench validate --task fit
python -m bench validate --task serve
python -m bench validate --task diagnose
python -m bench validate --format json

A table of your own has the columns of one of the shipped ones (python -m bench list measured); `stack` and `cluster` may be added.
A row that cannot be read is skipped with its reason; one that leaves cells out is completed by rules, and says by which.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bench.cli import arguments
from bench.cli.output import Output
from estimators.cost.efficiency import efficiency_file
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.validation.compared import Compared, compared_kernel, compared_memory, compared_rollout, compared_run, compared_tuning
from estimators.validation.loss_kernels import ScoredKernel, scored_kernels
from estimators.validation.memory_score import memory_score
from estimators.validation.over_count import over_counts
from estimators.validation.rollouts import ScoredRollout, scored_rollout
from estimators.validation.score import Scored, scored
from estimators.validation.table import (
    DIAGNOSIS,
    KERNELS,
    ROLLOUTS,
    RUNS,
    SERVED,
    TUNING,
    Record,
    read_table,
    shipped,
    shipped_diagnoses,
    shipped_kernels,
    shipped_rollouts,
    shipped_serving,
    shipped_tuning,
)
from estimators.validation.tuning_memory import ScoredMemory, scored_memory
from estimators.validation.tuning_score import is_tuned, tuned_runs, tuned_score
from estimators.validation.tuning_time import ScoredStep, scored_step
from reports.pages.accuracy import step_pictures
from reports.table import Table
from reports.views.left_out import left_out_table
from reports.views.training import accuracy, by_class, loss_kernels, rollout_steps, tuning_memory, tuning_steps, whole_runs
from reports.views.training.accuracy_screen import accuracy_screen, fit_accuracy_screen

HAS_PICTURES = True


@frozen
class Options:
    """Options of `validate`."""

    rows: list[str] | None
    task: str | None
    strict: bool
    each: bool
    constants: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `validate`."""
    parser.add_argument(
        "--rows", action="append", metavar="FILE", help="a CSV file of measured steps, instead of the shipped tables; repeatable"
    )
    parser.add_argument(
        "--task",
        choices=("fit", "serve", "diagnose"),
        metavar="{fit,serve,diagnose}",
        help="fit: fine-tunings alone: memory, verdicts, loss kernels, rollout steps; serve: served models: latencies, caches, energy; "
        "diagnose: runs whose speed is asked about, and published ones with a slip in them",
    )
    parser.add_argument("--strict", action="store_true", help="leave out rows that rules had to complete; each says which cells")
    parser.add_argument("--each", action="store_true", help="print every row; json and csv always have them")
    parser.add_argument("--constants", action="store_true", help="print the cost model's constants instead: priors, values and ranges")


def run(options: Options, out: Output) -> int:
    """Predict every row and say how far off it is; 1 where no row could be scored. Raises BadValueError."""
    if options.constants:
        constants = [accuracy.constants_table(efficiency_file())]
        out.emit(constants, replace(accuracy_screen(constants), is_list=True))
        return 0
    if options.task == "fit":
        return _fit(options, out)
    if options.task == "serve":
        return _serve(options, out)
    if options.task == "diagnose":
        return _diagnose(options, out)
    paths: Sequence[str] = options.rows or [*shipped().values(), shipped_tuning()]
    records = [record for path in paths for record in read_table(path)]
    if records and all(record.kind in SERVED for record in records):
        return _serve(options, out)
    if records and all(record.kind == DIAGNOSIS for record in records):
        return _diagnose(options, out)
    if apart := {record.kind for record in records if record.kind in (*SERVED, DIAGNOSIS)}:
        raise BadValueError(
            f"--rows has {' and '.join(sorted(apart))} tables beside others, which are scored apart; add --task serve or "
            "--task diagnose, or leave them out"
        )
    rows = [scored(record, strict=options.strict) for record in records if record.kind not in (RUNS, TUNING, KERNELS, ROLLOUTS)]
    tuned = _tuned(records, strict=options.strict)
    runs = [compared_run(record, strict=options.strict) for record in records if record.kind == RUNS]
    whole = options.each or out.format in ("json", "csv")
    shown = tables(rows, runs, tuned, whole=whole, first=out.format == "json")
    data = [] if whole or not out.draws else [accuracy.rows_table(rows)]
    pictures = step_pictures(rows) if out.draws else []
    out.emit(shown, accuracy_screen(shown, asked=shown[-1:] if options.each else ()), pictures, data=data)
    return 0 if any(row.error is not None for row in rows) or tuned.any_scored or any(run.predicted for run in runs) else 1


FINE_TUNING = (shipped_tuning(), shipped_kernels(), shipped_rollouts())
"""Tables of fine-tunings that ship, which --task fit reads: runs, loss kernels, and steps of reinforcement learning."""


@frozen
class Tuned:
    """Rows of fine-tunings: steps, memory, loss kernels, and steps of reinforcement learning."""

    steps: tuple[ScoredStep, ...] = ()
    memory: tuple[ScoredMemory, ...] = ()
    kernels: tuple[ScoredKernel, ...] = ()
    rollouts: tuple[ScoredRollout, ...] = ()

    @property
    def any_scored(self) -> bool:
        """Whether anything was compared."""
        return any(row.error is not None for some in (self.steps, self.memory, self.kernels) for row in some) or any(
            row.ratio for row in self.rollouts
        )

    @property
    def compared(self) -> tuple[list[Compared], list[Compared], list[Compared]]:
        """What each is compared in: fine-tunings, kernels, rollouts."""
        return (
            [*map(compared_tuning, self.steps), *map(compared_memory, self.memory)],
            [*map(compared_kernel, self.kernels)],
            [*map(compared_rollout, self.rollouts)],
        )


def _tuned(records: Sequence[Record], *, strict: bool, steps: bool = True) -> Tuned:
    tuned = [record for record in records if record.kind == TUNING]
    return Tuned(
        steps=tuple(scored_step(record, strict=strict) for record in tuned if steps),
        memory=tuple(scored_memory(record, strict=strict) for record in tuned),
        kernels=tuple(scored_kernels([record for record in records if record.kind == KERNELS])),
        rollouts=tuple(scored_rollout(record, strict=strict) for record in records if record.kind == ROLLOUTS),
    )


def _fit(options: Options, out: Output) -> int:
    """Memory and verdicts of fine-tunings, loss kernels, and steps of reinforcement learning."""
    records = [record for path in options.rows or FINE_TUNING for record in read_table(path)]
    tuned = _tuned(records, strict=options.strict, steps=False)
    if not (tuned.memory or tuned.kernels or tuned.rollouts):
        raise BadValueError("--task fit scores fine-tunings; none of these files is a table of them: python -m bench list measured")
    each = accuracy.rows_table([], [], *tuned.compared)
    shown = _tuned_tables(tuned)
    whole = options.each or out.format in ("json", "csv")
    emitted = arguments.with_all_facts([each, *shown] if out.format == "json" else [*shown, *([each] if whole else [])])
    out.emit(emitted, fit_accuracy_screen(shown, asked=[each] if options.each else ()))
    return 0 if tuned.any_scored or any(row.is_judged for row in tuned.memory) else 1


def _serve(options: Options, out: Output) -> int:
    """Latencies, caches and energy of served models."""
    from estimators.validation.serving_score import scored_serving
    from reports.views.serving.accuracy import each_table, serving_screen, serving_tables

    records = [record for path in options.rows or shipped_serving() for record in read_table(path)]
    figures = [figure for record in records if record.kind in SERVED for figure in scored_serving(record, strict=options.strict)]
    if not figures:
        raise BadValueError("--task serve scores served models; none of these files is a table of them: python -m bench list measured")
    shown, each = serving_tables(figures), each_table(figures)
    whole = options.each or out.format in ("json", "csv")
    emitted = arguments.with_all_facts([each, *shown] if out.format == "json" else [*shown, *([each] if whole else [])])
    out.emit(emitted, serving_screen(shown, asked=[each] if options.each else ()))
    return 0 if any(figure.error is not None for figure in figures) else 1


def _diagnose(options: Options, out: Output) -> int:
    """Runs whose speed is asked about; without files of one's own the labelled ones that ship, and published runs with a slip."""
    from estimators.validation.diagnosis_mutations import mutated
    from estimators.validation.diagnosis_mutations import score_of as mutation_score
    from estimators.validation.diagnosis_score import diagnosed, score_of
    from reports.views.diagnosis.cases import cases_screen, cases_table, mutations_table, score_table

    records = [record for path in options.rows or [shipped_diagnoses()] for record in read_table(path) if record.kind == DIAGNOSIS]
    if not records:
        raise BadValueError("--task diagnose takes runs whose speed is asked about; none of these files is a table of them")
    rows = [diagnosed(record) for record in records]
    score = score_of(rows)
    shown = [cases_table(rows, score), *([score_table(score)] if score.rows else [])]
    if not options.rows and (options.each or out.shows_everything):
        shown.append(mutations_table(mutation_score(mutated(every=EVERY))))
    emitted = arguments.with_all_facts(shown)
    out.emit(emitted, cases_screen(emitted, asked=emitted[:1] if options.each else ()))
    return 0 if any(row.diagnosis is not None for row in rows) else 1


EVERY = 2
"""Of the published runs, one of so many is mutated: all of them take a minute."""


def _tuned_tables(tuned: Tuned, rows: Sequence[Scored] = ()) -> list[Table]:
    shown = tuning_steps.tuning_tables(tuned.steps, rows) if tuned.steps or any(map(is_tuned, rows)) else []
    shown += tuning_memory.memory_tables(tuned.memory) if tuned.memory else []
    shown += [loss_kernels.kernels_table(tuned.kernels)] if tuned.kernels else []
    return shown + ([rollout_steps.rollouts_table(tuned.rollouts)] if tuned.rollouts else [])


def tables(
    rows: Sequence[Scored],
    runs: Sequence[Compared] = (),
    tuned: Tuned | None = None,
    *,
    whole: bool,
    first: bool = False,
) -> list[Table]:
    """Every table of the answer; the rows themselves first in json, where `rows` are expected at top level."""
    tuned = tuned or Tuned()
    summary = accuracy.summary_table(rows, tuned_score(tuned_runs(tuned.steps, rows)))
    each = replace(accuracy.rows_table(rows, runs, *tuned.compared), facts=summary.facts)
    shown = [replace(summary, key="score")] if rows else []
    if any(row.counts for row in rows):
        shown += [
            by_class.class_table(rows),
            accuracy.grouped_table(rows, "By source, left out of the fit", "source", lambda row: row.step.source if row.step else ""),
            accuracy.grouped_table(rows, "By device", "device", lambda row: row.step.hardware.id if row.step else ""),
            accuracy.grouped_table(rows, "By number of devices", "scale", accuracy.scale_of),
            accuracy.worst_table(rows),
        ]
    steps = [row.step for row in rows if row.step]
    of_steps = memory_score(steps)
    if of_steps:
        shown.append(accuracy.memory_table(of_steps))
    if steps:
        shown.append(accuracy.over_count_table(over_counts(steps)))
    if any(row.step and row.step.assumed and not row.skipped_reason for row in rows):
        shown.append(accuracy.assumed_table(rows))
    shown += _tuned_tables(tuned, rows)
    if runs:
        shown.append(whole_runs.runs_table(runs))
    if any(row.skipped_reason for row in rows):
        shown.append(left_out_table((row.skipped_reason for row in rows), "rows are not predicted", key="left_out"))
    return [each, *shown] if first else [*shown, *([each] if whole else [])]
