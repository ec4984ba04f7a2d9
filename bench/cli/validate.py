"""Predicted step times against measured ones, shipped or your own: errors by source, and how often the interval held.

python -m bench validate
python -m bench validate --rows my-steps.csv
python -m bench validate --task fit
python -m bench validate --format json

A table of your own has the columns of one of the shipped ones (python -m bench list measured); `stack` and `cluster` may be added.
A row that cannot be read is skipped with its reason; one that leaves cells out is completed by rules, and says by which.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from bench.cli import arguments
from bench.cli.output import Output
from bench.records import atomic_file
from estimators.cost.efficiency import efficiency_file
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.validation.compared import Compared, compared_memory, compared_run, compared_tuning
from estimators.validation.memory_score import memory_score
from estimators.validation.over_count import over_counts
from estimators.validation.score import Scored, scored
from estimators.validation.table import RUNS, TUNING, read_table, shipped, shipped_tuning
from estimators.validation.tuning_memory import ScoredMemory, scored_memory
from estimators.validation.tuning_time import ScoredStep, scored_step
from reports.table import Table
from reports.views.training import accuracy, by_class, tuning_memory, tuning_steps, whole_runs
from reports.views.training.accuracy_screen import accuracy_screen, fit_accuracy_screen


@frozen
class Options:
    """Options of `validate`."""

    rows: list[str] | None
    task: str | None
    strict: bool
    each: bool
    constants: bool
    plot: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `validate`."""
    parser.add_argument(
        "--rows", action="append", metavar="FILE", help="a CSV file of measured steps, instead of the shipped tables; repeatable"
    )
    parser.add_argument("--task", choices=("fit",), metavar="fit", help="memory and verdicts of fine-tunings alone, as `fit` gives them")
    parser.add_argument("--strict", action="store_true", help="leave out rows that rules had to complete; each says which cells")
    parser.add_argument("--each", action="store_true", help="print every row; json and csv always have them")
    parser.add_argument("--constants", action="store_true", help="print the cost model's constants instead: priors, values and ranges")
    parser.add_argument("--plot", metavar="FILE", help="write predicted against measured there, as SVG, drawn by matplotlib")


def run(options: Options, out: Output) -> int:
    """Predict every row and say how far off it is; 1 where no row could be scored."""
    if options.constants:
        constants = [accuracy.constants_table(efficiency_file())]
        out.emit(constants, replace(accuracy_screen(constants), is_list=True))
        return 0
    if options.task == "fit":
        return _fit(options, out)
    paths: Sequence[str] = options.rows or [*shipped().values(), shipped_tuning()]
    records = [record for path in paths for record in read_table(path)]
    rows = [scored(record, strict=options.strict) for record in records if record.kind not in (RUNS, TUNING)]
    tuning = [scored_step(record, strict=options.strict) for record in records if record.kind == TUNING]
    memory = [scored_memory(record, strict=options.strict) for record in records if record.kind == TUNING]
    runs = [compared_run(record, strict=options.strict) for record in records if record.kind == RUNS]
    if options.plot and any(row.counts for row in rows):
        from reports.plots import plot

        atomic_file.write(options.plot, plot(rows) + "\n", mend="name a file in a writable folder with --plot")
    shown = tables(rows, runs, tuning, memory, whole=options.each or out.format in ("json", "csv"), first=out.format == "json")
    out.emit(shown, accuracy_screen(shown, asked=shown[-1:] if options.each else ()))
    scored_any = any(error is not None for some in (rows, tuning, memory) for error in (row.error for row in some))
    return 0 if scored_any or any(run.predicted for run in runs) else 1


def _fit(options: Options, out: Output) -> int:
    """Memory and verdicts of fine-tunings."""
    records = [record for path in options.rows or [shipped_tuning()] for record in read_table(path)]
    rows = [scored_memory(record, strict=options.strict) for record in records if record.kind == TUNING]
    if not rows:
        raise BadValueError("--task fit scores fine-tunings; none of these files is a table of them: python -m bench list measured")
    each = accuracy.rows_table([], [], [compared_memory(row) for row in rows])
    shown = tuning_memory.memory_tables(rows)
    whole = options.each or out.format in ("json", "csv")
    emitted = arguments.with_all_facts([each, *shown] if out.format == "json" else [*shown, *([each] if whole else [])])
    out.emit(emitted, fit_accuracy_screen(shown, asked=[each] if options.each else ()))
    return 0 if any(row.error is not None or row.is_judged for row in rows) else 1


def tables(
    rows: Sequence[Scored],
    runs: Sequence[Compared] = (),
    tuning: Sequence[ScoredStep] = (),
    memory: Sequence[ScoredMemory] = (),
    *,
    whole: bool,
    first: bool = False,
) -> list[Table]:
    """Every table of the answer; the rows themselves first in json, where `rows` are expected at top level."""
    summary = accuracy.summary_table(rows)
    each = replace(accuracy.rows_table(rows, runs, [*map(compared_tuning, tuning), *map(compared_memory, memory)]), facts=summary.facts)
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
    if tuning:
        shown += [*tuning_steps.tuning_tables(tuning), *tuning_memory.memory_tables(memory)]
    if runs:
        shown.append(whole_runs.runs_table(runs))
    if any(row.skipped_reason for row in rows):
        shown.append(accuracy.left_out_table(rows))
    return [each, *shown] if first else [*shown, *([each] if whole else [])]
