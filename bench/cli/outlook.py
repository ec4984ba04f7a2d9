"""--outlook: what lies around a planned training, for whoever decides: more devices, its memory, what moves it, runs like it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.cli.output import Output
    from estimators.facts.prices import PriceRange
    from estimators.training.layouts.job import Job
    from estimators.training.layouts.outlook import Held
    from estimators.training.layouts.restriction import Restriction
    from estimators.training.prediction import Prediction
    from reports.pages.picture import Picture
    from reports.table import Table


def pictures(out: Output, tables: Sequence[Table]) -> Sequence[Picture]:
    """A picture of each table that has one, where any is to be drawn."""
    if not out.draws:
        return ()
    from reports.pages.planning import planning_pictures  # deferred: most answers are text

    return planning_pictures(tables)


def held_tables(held: Sequence[Held]) -> list[Table]:
    """What fills a device of each kind."""
    from reports.views.planning.outlook import held_table

    return [held_table(held)] if held else []


def around_tables(
    job: Job,
    step: Prediction,
    tokens: int,
    price: PriceRange | None,
    *,
    deadline_s: float | None,
    has_curve: bool = False,
    restriction: Restriction | None = None,
) -> list[Table]:
    """Around one training: the curve, what moves it, published runs.

    Args:
        step: of the layout that the training has.
        has_curve: whether the answer has its curve already.
    """
    from estimators.counting.estimate import count_active_params  # deferred, as all of these: most answers do without
    from estimators.spec import Workload
    from estimators.training.layouts.outlook import around_devices, outlook
    from estimators.training.layouts.restriction import ANYTHING
    from estimators.validation.nearest_runs import nearest_runs
    from reports.views.planning.outlook import knobs_table, near_runs_table
    from reports.views.planning.plan_questions import scaling_table

    layout = step.layout
    curve = [] if has_curve else [scaling_table(around_devices(job, layout, tokens, restriction or ANYTHING), price, deadline_s)]
    params = count_active_params(job.trained.ops(Workload(phase="train", seq_len=job.seq_len)))
    near = nearest_runs(params, tokens, layout.num_devices)
    return [*curve, knobs_table(outlook(job, layout, tokens, price)), near_runs_table(near)]
