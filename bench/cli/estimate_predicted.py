"""`estimate` for a whole training whose step is predicted: no utilisation is given, and none is assumed."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bench.cli import arguments, step_options

if TYPE_CHECKING:
    from estimators.spec import Hardware, Model
    from estimators.training.run import PredictedRun
    from reports.table import Table
    from reports.views.training.predicted import PredictedStudy
    from reports.views.training.study import Study

SAID_BY = "predicted from first principles, not assumed; --utilization sets your own."


def predict(args: argparse.Namespace, model: Model, hardware: Hardware | None) -> PredictedRun | None:
    """The predicted run, or None where the request is for something else: a given utilisation, no devices, an inverse question,
    a model without a language model's head.

    Raises:
        BadValueError: options of a predicted step where none is predicted, or out of range.
        RequestError: as predicted_run.
    """
    why = why_not(args, model)
    if why or hardware is None:
        step_options.refuse(args, why)
        return None
    from estimators.training.run import predicted_run

    return predicted_run(
        model,
        tokens=args.tokens,
        seq_len=arguments.sequence_length(model, args.seq_len),
        hardware=hardware,
        num_devices=args.gpus,
        setup=step_options.setup(args, hardware.id),
    )


def why_not(args: argparse.Namespace, model: Model) -> str:
    """What keeps the request from being predicted, as advice; empty where nothing does."""
    for name in ("tokens", "hardware", "gpus"):
        if getattr(args, name) is None:
            return f"add --{name}"
    for name in ("utilization", "deadline", "budget_usd", "budget_gpu_days"):
        if getattr(args, name, None) is not None:
            return f"leave --{name.replace('_', '-')} out"
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
        highest_published=utilization_range(run.prediction.hardware.id).high,
    )


def tables(args: argparse.Namespace, study: Study, run: PredictedRun) -> list[Table]:
    """The answer, the ledger of a step, and what whole runs add."""
    from reports.views.training.predicted import allowance_table, answer_table
    from reports.views.training.step_ledger import ledger_table

    asked = study_of(args, study, run)
    return [answer_table(asked, claimed_s=args.days), ledger_table(run.prediction), allowance_table(asked)]
