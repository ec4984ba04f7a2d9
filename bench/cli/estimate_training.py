"""`estimate` for a whole training: the run itself, a claim, a budget, a deadline."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from bench.cli import arguments
from bench.cli import estimate_predicted as predicted
from estimators.counting.estimate import count_params
from estimators.counting.rules_of_thumb import rules
from estimators.errors import BadValueError, PhysicsError
from estimators.spec import Workload
from estimators.training.at_utilization import training_flop, training_run
from reports.table import Table
from reports.views.counting.rules_of_thumb import rules_tables
from reports.views.training.at_utilization import answer_table, flop_table
from reports.views.training.study import PriceRange, Study, price_range, range_source

if TYPE_CHECKING:
    from estimators.spec import Hardware, Model
    from estimators.training.claim import Claim
    from estimators.training.run import PredictedRun
    from reports.views.training.predicted import PredictedStudy

STEP_OPTIONS = ("batch", "prompt_tokens", "new_tokens", "num_beams")


def tables(args: argparse.Namespace) -> list[Table]:
    """Every table of the answer, what was asked first.

    Raises:
        RequestError: options that contradict each other, an unknown name, a value out of range.
        PhysicsError: a claimed run that would pass the peak.
    """
    _check(args)
    model, entry = arguments.load_model(args)
    hardware = arguments.load_hardware(args.hardware) if args.hardware else None
    params_text = entry.published_params_text if entry else ""
    run = predicted.predict(args, model, hardware)
    study = make_study(args, model, hardware, params_text=params_text, run=run)
    asked = predicted.study_of(args, study, run) if run else None
    in_time = _in_time(args, model, hardware, params_text, asked)
    claim = _claim(args, study)
    found = [*_asked(args, study, claim, in_time)]
    if args.tokens is not None:
        answer = predicted.tables(args, asked) if asked else [answer_table(study)]
        found += [*answer, flop_table(study.training_flop, study.tokens, study.item), *_rules(study)]
    if args.explain:
        found.append(_explanation(args, study, found, claim, asked, in_time))
    return arguments.with_all_facts(found)


def _in_time(
    args: argparse.Namespace, model: Model, hardware: Hardware | None, params_text: str, asked: PredictedStudy | None
) -> PredictedStudy | None:
    """The training on the devices that --deadline asks for; None without a deadline, or where no step is predicted."""
    if args.deadline is None or asked is None or hardware is None:
        return None
    if args.gpus is None:
        return asked
    run = predicted.in_time(args, model, hardware)
    return predicted.study_of(args, make_study(args, model, hardware, params_text=params_text, run=run), run)


def _claim(args: argparse.Namespace, study: Study) -> Claim | None:
    """The claimed wall time held against the published runs and physics; None where none was claimed.

    Raises:
        PhysicsError: no such run exists.
    """
    if args.days is None:
        return None
    from estimators.training.claim import check_claim
    from reports.views.training.claim import judgement

    assert study.hardware is not None
    claim = check_claim(
        study.model,
        tokens=study.tokens,
        seq_len=study.seq_len,
        hardware=study.hardware,
        num_devices=args.gpus,
        wall_s=args.days,
        dtype=study.dtype,
    )
    if not claim.possible:
        raise PhysicsError(judgement(claim, study))
    return claim


def _explanation(
    args: argparse.Namespace,
    study: Study,
    found: list[Table],
    claim: Claim | None,
    run: PredictedStudy | None,
    in_time: PredictedStudy | None,
) -> Table:
    from reports.views.explain.inverse import budget_step, claim_step, deadline_step, predicted_deadline_step
    from reports.views.explain.training import explain_training

    asked = []
    if claim is not None:
        asked.append(claim_step(study, claim))
    if in_time is not None:
        asked.append(predicted_deadline_step(in_time, args.deadline))
    elif args.deadline is not None:
        answer = next(table.facts["deadline_num_devices"] for table in found if table.key == "deadline")
        asked.append(deadline_step(study, args.deadline, answer))
    if args.budget_gpu_days is not None:
        asked.append(budget_step(study, budget_usd=None, budget_gpu_days=args.budget_gpu_days))
    if args.budget_usd is not None and study.price is not None:
        asked.append(budget_step(study, budget_usd=args.budget_usd, budget_gpu_days=None))
    return explain_training(study, model_option=arguments.model_option(args), asked=asked, whole=args.tokens is not None, predicted=run)


def _check(args: argparse.Namespace) -> None:
    for name in STEP_OPTIONS:
        if getattr(args, name) is not None:
            raise BadValueError(f"--{name.replace('_', '-')} describes a single step; leave it out, or leave --tokens and the like out")
    for name in ("gpus", "utilization", "price", "days", "deadline", "budget_usd", "budget_gpu_days"):
        if getattr(args, name) is not None and args.hardware is None:
            raise BadValueError(f"--{name.replace('_', '-')} needs a device: add --hardware ID; list them: python -m bench list hardware")
    if args.days is not None and (args.tokens is None or args.gpus is None):
        raise BadValueError("--days is a claim about a run: add its --tokens and --gpus")
    if args.deadline is not None and args.tokens is None:
        raise BadValueError("--deadline needs to know how much is trained: add --tokens")


def make_study(
    args: argparse.Namespace, model: Model, hardware: Hardware | None, *, params_text: str, run: PredictedRun | None = None
) -> Study:
    """What was asked for, and a run at each utilisation; without --tokens, of one sequence.

    Args:
        run: what is predicted; its share of peak is then the one utilisation.

    Raises:
        BadValueError: no peak for the dtype, or a sequence that the model has no positions for.
    """
    seq_len = arguments.sequence_length(model, args.seq_len)
    tokens = args.tokens or seq_len
    flop = training_flop(model, tokens, seq_len)
    if run is not None:
        shares, labels, said_by = predicted.utilization(run, flop[args.convention], args.dtype)
    else:
        shares, labels, said_by = _utilizations(args, model, hardware) if hardware else ((), (), "")
    price, reason = _price(args, hardware) if hardware else (None, "")
    num_devices = run.prediction.layout.num_devices if run is not None else args.gpus
    return Study(
        model=model,
        params=count_params(model.ops(Workload(phase="train", seq_len=seq_len))),
        params_text=params_text,
        item=model.item,
        tokens=tokens,
        seq_len=seq_len,
        seq_len_given=args.seq_len is not None,
        dtype=args.dtype,
        convention=args.convention,
        training_flop=flop,
        hardware=hardware,
        num_devices=num_devices,
        runs=tuple(
            training_run(
                model,
                tokens=tokens,
                seq_len=seq_len,
                hardware=hardware,
                num_devices=num_devices or 1,
                utilization=share,
                dtype=args.dtype,
                counted_as=args.convention,
            )
            for share in shares
            if hardware is not None
        ),
        labels=labels,
        utilization_source=said_by,
        price=price,
        price_reason=reason,
    )


def _utilizations(args: argparse.Namespace, model: Model, hardware: Hardware) -> tuple[tuple[float, ...], tuple[str, ...], str]:
    if args.utilization is not None:
        return (args.utilization,), ("given",), "given by --utilization"
    from estimators.facts.registry import utilization_range

    found = utilization_range(hardware.id)
    said_by = range_source(found)
    if reason := predicted.model_reason(args, model):
        said_by += f" No step is predicted: {reason}."
    return (found.low, found.median, found.high), ("low", "median", "high"), said_by


def _price(args: argparse.Namespace, hardware: Hardware) -> tuple[PriceRange | None, str]:
    if args.price is not None:
        return PriceRange(low=args.price, median=args.price, high=args.price, source="given by --price"), ""
    from estimators.facts.registry import prices

    found = price_range(prices(hardware.id))
    return found, "" if found else f"no rental price of {hardware.id} is known; give one with --price USD"


def _rules(study: Study) -> list[Table]:
    one_sequence = rules(study.model, Workload(phase="train", seq_len=study.seq_len, dtype=study.dtype))
    return rules_tables(one_sequence, work="the whole training", num_steps=(study.tokens, study.seq_len))


def _asked(args: argparse.Namespace, study: Study, claim: Claim | None, in_time: PredictedStudy | None) -> list[Table]:
    """The tables that answer the inverse questions; what each tool would print for a claim is left to `check-claim`."""
    asked = []
    if claim is not None:
        from reports.views.training.claim import claim_tables

        asked += claim_tables(claim, study)[:2]
    if args.deadline is not None:
        from reports.views.training.inverse import deadline_table, predicted_deadline_table

        asked.append(predicted_deadline_table(in_time, args.deadline) if in_time else deadline_table(study, args.deadline))
    if args.budget_usd is not None or args.budget_gpu_days is not None:
        from reports.views.training.inverse import budget_table

        asked.append(budget_table(study, budget_usd=args.budget_usd, budget_gpu_days=args.budget_gpu_days))
    return asked
