"""One training run on several kinds of device, side by side: predicted, or at a utilization with --utilization.

python -m bench compare-hardware --model llama-3-8b --tokens 1T --hardware all --gpus 64
python -m bench compare-hardware --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb,h100-sxm5-80gb,h200-sxm-141gb --utilization 0.4
"""

from __future__ import annotations

import argparse
import dataclasses

from bench.cli import arguments, step_options
from bench.cli import estimate_predicted as predicted
from bench.cli.estimate_training import make_study
from bench.cli.output import Output
from estimators.cost.layout import MAX_DEVICES
from estimators.cost.machine import OwnRates
from estimators.counting.estimate import estimate
from estimators.errors import BadValueError, DoesNotFitError
from estimators.frozen import replace
from estimators.spec import Case, Estimate, Hardware, Model, Workload
from estimators.training.at_utilization import COUNTED_AS
from estimators.training.run import predicted_run
from reports.table import Table
from reports.views.planning.hardware import Candidate, holding_table, training_table
from reports.views.planning.predicted_hardware import Rival, comparison_table
from reports.views.training.predicted import PredictedStudy

MAX_CANDIDATES = 200


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `compare-hardware`."""
    arguments.add_model(parser)
    group = parser.add_argument_group("the training")
    group.add_argument("--tokens", type=arguments.count("tokens"), metavar="NUM", required=True, help="tokens (or samples), such as 300B")
    group.add_argument(
        "--hardware",
        metavar="ID,ID,...",
        required=True,
        help="devices, separated by commas: python -m bench list hardware; all: those with a measured matmul ceiling",
    )
    group.add_argument(
        "--gpus",
        type=arguments.count("gpus", maximum=MAX_DEVICES),
        metavar="NUM",
        help="of each kind; else the fewest that hold the training",
    )
    arguments.add_utilization(group, COUNTED_AS)
    arguments.add_sequence(group)
    arguments.add_dtype(group)
    step_options.add_arguments(parser)
    group.add_argument("--explain", action="store_true", help=arguments.EXPLAIN_HELP)


Options = argparse.Namespace


def run(args: argparse.Namespace, out: Output) -> int:
    """Compare."""
    names = _names(args)
    if not 1 <= len(names) <= MAX_CANDIDATES:
        raise BadValueError(
            f"--hardware {args.hardware[:40]!r} names {len(names)} devices; expected 1 to {MAX_CANDIDATES}, separated by commas"
        )
    model, entry = arguments.load_model(args)
    params_text = entry.published_params_text if entry else ""
    if why := predicted.why_not(args, model):
        step_options.refuse(args, why)
        out.emit(_at_a_utilization(args, model, names, params_text))
    else:
        out.emit(_predicted(args, model, names, params_text))
    return 0


def _names(args: argparse.Namespace) -> list[str]:
    if args.hardware.strip() == "all":
        from estimators.cost.machine import ceilings

        return list(dict.fromkeys(hardware_id for hardware_id, dtype in ceilings() if dtype == args.dtype))
    return list(dict.fromkeys(name.strip() for name in args.hardware.split(",") if name.strip()))


def _at_a_utilization(args: argparse.Namespace, model: Model, names: list[str], params_text: str) -> list[Table]:
    candidates = [_candidate(args, model, arguments.load_hardware(name), params_text) for name in names]
    answered = [candidate for candidate in candidates if candidate.study]
    if not answered:
        raise BadValueError(
            "; ".join(f"{candidate.hardware.id}: {candidate.reason}" for candidate in candidates) + "; give another --dtype"
        )
    return [training_table(candidates), *_holding(answered), *_explained(args, answered)]


def _holding(answered: list[Candidate]) -> list[Table]:
    """What each device holds, where the model has sequences."""
    study = answered[0].study
    assert study is not None
    return [holding_table(answered, seq_len=study.seq_len, context_len=_context(study.seq_len))] if study.item == "token" else []


def _context(seq_len: int) -> int:
    return max(0, seq_len - 1)


def _candidate(args: argparse.Namespace, model: Model, hardware: Hardware, params_text: str) -> Candidate:
    if args.dtype not in hardware.peak_flop_per_s:
        return Candidate(hardware=hardware, study=None, reason=f"no dense {args.dtype} peak; it has {', '.join(hardware.peak_flop_per_s)}")
    return _with_steps(args, Candidate(hardware=hardware, study=make_study(args, model, hardware, params_text=params_text)))


def _with_steps(args: argparse.Namespace, candidate: Candidate) -> Candidate:
    """The candidate with one prefill and one decode step, for the bounds; as it is where the model has no sequences."""
    study, hardware = candidate.study, candidate.hardware
    if study is None or study.item == "sample":
        return candidate
    return dataclasses.replace(
        candidate,
        prefill=_step(study.model, Workload(phase="prefill", seq_len=study.seq_len, dtype=args.dtype), hardware),
        decode=_step(study.model, Workload(phase="decode", context_len=_context(study.seq_len), dtype=args.dtype), hardware),
    )


def _step(model: Model, workload: Workload, hardware: Hardware) -> Estimate:
    return estimate(Case(model=model, workload=workload, hardware=hardware))


def _explained(args: argparse.Namespace, answered: list[Candidate]) -> list[Table]:
    if not args.explain:
        return []
    from reports.views.explain.training import explain_training

    option = arguments.model_option(args)
    return [explain_training(c.study, model_option=option, key=f"explanation of {c.hardware.id}") for c in answered if c.study]


def _predicted(args: argparse.Namespace, model: Model, names: list[str], params_text: str) -> list[Table]:
    """The comparison, what each device holds, and with --explain where each step goes.

    Raises:
        BadValueError: no device has an answer; names each reason.
        UnknownNameError: no such device.
    """
    devices = [arguments.load_hardware(name) for name in names]
    own = step_options.own_rates(args, [device.id for device in devices])
    wished = step_options.wished(args, arguments.sequence_length(model, args.seq_len))
    rivals = [_rival(args, model, device, params_text, own, wished) for device in devices]
    answered = [rival.asked for rival in rivals if rival.asked]
    if not answered:
        reasons = dict.fromkeys(rival.reason for rival in rivals)
        raise BadValueError(f"no answer on {len(rivals)} kinds of device: {'; '.join(reasons)}"[:480])
    held = _holding([_with_steps(args, Candidate(hardware=a.run.prediction.hardware, study=a.study)) for a in answered])
    return arguments.with_all_facts([comparison_table(rivals), *held, *_ledgers(args, answered)])


def _rival(
    args: argparse.Namespace, model: Model, hardware: Hardware, params_text: str, own: OwnRates | None, wished: step_options.Wished
) -> Rival:
    try:
        job = step_options.job(args, model, hardware, own)
        run = predicted_run(job, tokens=args.tokens, num_devices=wished.num_devices, batch=wished.batch, layout=wished.layout)
    except (BadValueError, DoesNotFitError) as error:
        return Rival(hardware=hardware, reason=str(error))
    study = make_study(args, model, hardware, params_text=params_text, run=run)
    return Rival(hardware=hardware, asked=predicted.study_of(args, study, run))


def _ledgers(args: argparse.Namespace, answered: list[PredictedStudy]) -> list[Table]:
    if not args.explain:
        return []
    from reports.views.training.step_ledger import ledger_table

    found = []
    for asked in answered:
        table, device = ledger_table(asked.run.prediction), asked.run.prediction.hardware.id
        found.append(replace(table, title=f"{device}: {table.title[0].lower()}{table.title[1:]}", key=f"step on {device}"))
    return found
