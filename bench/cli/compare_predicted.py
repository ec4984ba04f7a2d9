"""`compare-hardware` where the step is predicted: each kind of device with its own layout, time and interval."""

from __future__ import annotations

import argparse

from bench.cli import arguments, step_options
from bench.cli import estimate_predicted as predicted
from bench.cli.compare_hardware import holding, with_steps
from bench.cli.estimate_training import make_study
from estimators.errors import BadValueError, DoesNotFitError
from estimators.spec import Hardware, Model
from estimators.training.run import Setup, predicted_run
from reports.table import Table
from reports.views.planning.hardware import Candidate
from reports.views.planning.predicted_hardware import Rival, comparison_table
from reports.views.training.predicted import PredictedStudy


def tables(args: argparse.Namespace, model: Model, names: list[str], params_text: str) -> list[Table]:
    """The comparison, what each device holds, and with --explain where each step goes.

    Raises:
        BadValueError: no device has an answer; names each reason.
        UnknownNameError: no such device.
    """
    devices = [arguments.load_hardware(name) for name in names]
    setup = step_options.setup(args, *(device.id for device in devices))
    rivals = [_rival(args, model, device, params_text, setup) for device in devices]
    answered = [rival.asked for rival in rivals if rival.asked]
    if not answered:
        reasons = dict.fromkeys(rival.reason for rival in rivals)
        raise BadValueError(f"no answer on {len(rivals)} kinds of device: {'; '.join(reasons)}"[:480])
    held = holding([with_steps(args, Candidate(hardware=a.run.prediction.hardware, study=a.study)) for a in answered])
    return arguments.with_all_facts([comparison_table(rivals), *held, *_explained(args, answered)])


def _rival(args: argparse.Namespace, model: Model, hardware: Hardware, params_text: str, setup: Setup) -> Rival:
    try:
        hardware.peak(args.dtype)
        run = predicted_run(
            model,
            tokens=args.tokens,
            seq_len=arguments.sequence_length(model, args.seq_len),
            hardware=hardware,
            num_devices=args.gpus,
            setup=setup,
        )
    except (BadValueError, DoesNotFitError) as error:
        return Rival(hardware=hardware, reason=str(error))
    study = make_study(args, model, hardware, params_text=params_text, run=run)
    return Rival(hardware=hardware, asked=predicted.study_of(args, study, run))


def _explained(args: argparse.Namespace, answered: list[PredictedStudy]) -> list[Table]:
    if not args.explain:
        return []
    from estimators.frozen import replace
    from reports.views.training.step_ledger import ledger_table

    found = []
    for asked in answered:
        table, device = ledger_table(asked.run.prediction), asked.run.prediction.hardware.id
        found.append(replace(table, title=f"{device}: {table.title[0].lower()}{table.title[1:]}", key=f"step on {device}"))
    return found
