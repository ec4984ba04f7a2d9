"""`estimate` for a whole training whose step is predicted: no utilisation is given, and none is assumed."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bench.cli import arguments, step_options

if TYPE_CHECKING:
    from estimators.spec import Hardware, Model
    from estimators.training.layouts.job import Job
    from estimators.training.run import PredictedRun
    from reports.table import Table
    from reports.views.training.predicted import PredictedStudy
    from reports.views.training.study import Study

SAID_BY = "predicted from first principles, not assumed; --utilization sets your own."


def predict(args: argparse.Namespace, model: Model, hardware: Hardware | None) -> PredictedRun | None:
    """The predicted run, or None where a utilisation is given, or no step of the model is predicted.

    Without --tokens it is of one sequence; without --gpus on the devices of the deadline, or on the fewest that hold it well.

    Raises:
        BadValueError: options of a predicted step where none is predicted, or out of range.
        RequestError: as predicted_run.
    """
    why = why_not(args, model)
    if why or hardware is None:
        step_options.refuse(args, why)
        return None
    from estimators.training.run import predicted_run

    job, wished = _asked(args, model, hardware)
    if args.deadline is not None and wished.num_devices is None and not wished.layout:
        return in_time(args, model, hardware)
    tokens = args.tokens or job.seq_len
    return predicted_run(job, tokens=tokens, num_devices=wished.num_devices, batch=wished.batch, layout=wished.layout)


def in_time(args: argparse.Namespace, model: Model, hardware: Hardware) -> PredictedRun:
    """The run on the fewest devices that meet --deadline. Raises BadValueError where none do."""
    from estimators.training.layouts.deadline import Limits, plan_within
    from estimators.training.run import run_of

    job, wished = _asked(args, model, hardware)
    return run_of(plan_within(job, args.tokens, Limits(deadline_s=args.deadline), wished.batch, num_options=1), args.tokens, wished.batch)


def _asked(args: argparse.Namespace, model: Model, hardware: Hardware) -> tuple[Job, step_options.Wished]:
    own = step_options.own_rates(args, [hardware.id])
    return step_options.job(args, model, hardware, own), step_options.wished(args, arguments.sequence_length(model, args.seq_len))


def why_not(args: argparse.Namespace, model: Model) -> str:
    """What keeps the request from being predicted, as advice; empty where nothing does."""
    if args.hardware is None:
        return "add --hardware"
    if args.utilization is not None:
        return "leave --utilization out"
    return model_reason(args, model)


def model_reason(args: argparse.Namespace, model: Model) -> str:
    """Why no step of this model is predicted, whatever else is given; empty where one is."""
    if not model.generates:
        return f"{model.name} does not write tokens one by one"
    from estimators.training.supported import not_covered

    reason = not_covered(model, arguments.sequence_length(model, args.seq_len))
    return f"{model.name} {reason}" if reason else ""


def utilization(run: PredictedRun, flop: int, dtype: str) -> tuple[tuple[float, ...], tuple[str, ...], str]:
    """The predicted share of peak, its label, and who says so, as a study takes them.

    Args:
        flop: of the whole training, under the study's convention.
    """
    device_s = run.wall_s * run.prediction.layout.num_devices
    return (flop / (device_s * run.prediction.hardware.peak(dtype)),), ("predicted",), SAID_BY


def study_of(args: argparse.Namespace, study: Study, run: PredictedRun) -> PredictedStudy:
    """The study with everything that its tables say beside it."""
    from estimators.facts.electricity import Figure, power_share, world_carbon
    from estimators.facts.registry import utilization_range
    from estimators.spec import Source
    from reports.views.training.predicted import PredictedStudy

    given = args.carbon is not None
    return PredictedStudy(
        study=study,
        run=run,
        power=power_share(),
        carbon=Figure(value=args.carbon, source=Source(title="given by --carbon")) if given else world_carbon(),
        published=utilization_range(run.prediction.hardware.id),
    )


def tables(args: argparse.Namespace, asked: PredictedStudy) -> list[Table]:
    """The answer, the ledger of a step, and what whole runs add."""
    from reports.views.training.predicted import allowance_table, answer_table
    from reports.views.training.step_ledger import ledger_table

    return [answer_table(asked, claimed_s=args.days), ledger_table(asked.run.prediction), allowance_table(asked)]
