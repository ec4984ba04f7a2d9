"""What `plan` answers: the plan on each kind of device, its tables, or the launcher's file."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from bench.cli import arguments, step_options
from bench.sampling import progress
from estimators.cost.layout import parse_layout
from estimators.errors import BadValueError, RequestError
from estimators.facts.registry import prices
from estimators.frozen import replace
from estimators.training.layouts.deadline import Limits, plan_within
from estimators.training.layouts.emit import emit, from_file
from estimators.training.layouts.feasibility import check_layout
from estimators.training.layouts.global_batch import PUBLISHED_BATCH, Batch
from estimators.training.layouts.job import Job
from estimators.training.layouts.planned import Option, Plan, option, plan
from estimators.training.layouts.scaling import scaling_curve
from estimators.training.layouts.search import OnProgress, Restriction
from estimators.training.layouts.sizing import FLOP_PER_PARAM_TOKEN, compute_optimal
from estimators.training.layouts.what_if import what_if
from estimators.units import DAY_S, format_count, format_int
from reports.table import Table
from reports.views.planning.plan import Choice, choices_table, ledger_table, plan_table
from reports.views.planning.plan_questions import scaling_table, sizing_table, what_if_table
from reports.views.training.study import PriceRange, price_range

MAX_HARDWARE = 50
SLOW_S = 2.0
"""A search that takes longer says how far it is."""


def tables(args: argparse.Namespace) -> list[Table]:
    """Every table of the answer.

    Raises:
        RequestError: the request was wrong, or nothing keeps to the limits on any device.
    """
    choices = _choices(args)
    best = choices[0]
    assert best.plan is not None
    own = _own(args, best.plan)
    found = [choices_table(choices, args.tokens)] if len(choices) > 1 and args.tokens is not None else []
    source = _batch(args).source(best.plan.job.work.params, best.plan.best.prediction.tokens_per_step)
    found.append(plan_table(best.plan, args.tokens, best.price, batch_source=source or "given", own=own))
    found.append(ledger_table(best.plan))
    if args.scaling:
        if args.tokens is None:
            raise BadValueError("--scaling needs to know how much is trained: add --tokens")
        points = scaling_curve(best.plan.job, args.tokens, best.plan.num_devices, best.plan.global_batch, _restriction(args))
        found.append(scaling_table(points, best.price))
    if args.what_if is not None:
        layout = own.layout if own is not None else best.plan.best.layout
        found.append(what_if_table(what_if(best.plan.job, layout, args.what_if)))
    if args.compute_optimal:
        found.append(_sizing(args, best.plan))
    return arguments.with_all_facts(found)


def emitted(args: argparse.Namespace) -> str:
    """The launcher's file of the best layout that it can run, or of the user's own."""
    from estimators.training.layouts.launchers.setup import Setup

    (best, *more) = _choices(args)
    if more:
        raise BadValueError(f"--emit writes one file; give one --hardware instead of {len(more) + 1}")
    assert best.plan is not None
    own = _own(args, best.plan)
    job, layout = best.plan.job, own.layout if own is not None else best.plan.best.layout
    setup = Setup(seq_len=job.seq_len, layers=job.work.layers, dtype=job.dtype, devices_per_node=job.hardware.devices_per_node or 8)
    return emit(layout, args.emit, setup)


def _choices(args: argparse.Namespace) -> list[Choice]:
    """The plan on every kind of device, the one to take first; without any plan, the reason of the only one or of all."""
    names = list(dict.fromkeys(name.strip() for name in args.hardware.split(",") if name.strip()))
    if not 1 <= len(names) <= MAX_HARDWARE:
        raise BadValueError(f"--hardware {args.hardware[:40]!r} names {len(names)} devices; expected 1 to {MAX_HARDWARE}")
    _check(args)
    model, _ = arguments.load_model(args)
    devices = [arguments.load_hardware(name) for name in names]
    own = step_options.own_rates(args, [device.id for device in devices])
    jobs = [step_options.job(args, model, device, own) for device in devices]
    found = [_choice(args, job, alone=len(names) == 1) for job in jobs]
    planned = [choice for choice in found if choice.plan is not None]
    if not planned:
        raise BadValueError("; ".join(f"{choice.hardware_id}: {choice.reason}" for choice in found)[:450])
    return sorted(found, key=lambda choice: _rank(args, choice))


def _check(args: argparse.Namespace) -> None:
    for name in ("deadline", "budget"):
        if getattr(args, name) is not None and args.tokens is None:
            raise BadValueError(f"--{name} needs to know how much is trained: add --tokens")
    if args.gpus is None and args.tokens is None:
        raise BadValueError("how many devices? Give --gpus, or --tokens with --deadline, --budget or --max-gpus")
    if args.gpus is None and args.deadline is None and args.max_gpus is None:
        raise BadValueError("how many devices? Give --gpus, or a --deadline, or --max-gpus")


def _choice(args: argparse.Namespace, job: Job, *, alone: bool) -> Choice:
    """The plan on one kind of device; a refusal is a reason where there are others."""
    given = args.price
    price = PriceRange(low=given, median=given, high=given, source="given by --price") if given else price_range(prices(job.hardware.id))
    try:
        with searching(job.hardware.id) as on_progress:
            found = _plan(args, job, price, on_progress)
    except RequestError as error:
        if alone:
            raise
        return Choice(hardware_id=job.hardware.id, plan=None, price=price, reason=str(error))
    return Choice(hardware_id=job.hardware.id, plan=found, price=price)


def _plan(args: argparse.Namespace, job: Job, price: PriceRange | None, on_progress: OnProgress) -> Plan:
    batch = _batch(args)
    limits = Limits(
        num_devices=args.gpus,
        max_devices=args.max_gpus,
        deadline_s=args.deadline,
        budget_usd=args.budget,
        usd_per_gpu_hour=price.median if price else None,
    )
    restriction = _restriction(args)
    if args.tokens is None:
        return plan(job, args.gpus, batch, restriction, num_options=args.top, on_progress=on_progress)
    return plan_within(job, args.tokens, limits, batch, restriction, num_options=args.top, on_progress=on_progress)


def _batch(args: argparse.Namespace) -> Batch:
    return replace(args.global_batch or PUBLISHED_BATCH, most_tokens=args.max_global_batch)


def _restriction(args: argparse.Namespace) -> Restriction:
    return Restriction(max_tp=args.max_tp, schedule=args.schedule, launcher=args.emit or "")


def _rank(args: argparse.Namespace, choice: Choice) -> tuple[bool, float]:
    """The cheapest where a deadline is met by all of them and prices are known, else the fastest."""
    if choice.plan is None:
        return True, 0.0
    if args.tokens is None:
        return False, choice.plan.best.prediction.step_time_s
    if args.deadline is not None and choice.price is not None:
        return False, choice.plan.gpu_hours(args.tokens) * choice.price.median
    return False, choice.plan.run_s(args.tokens) if args.deadline is None else float("inf")


def _own(args: argparse.Namespace, found: Plan) -> Option | None:
    if args.layout is None and args.from_file is None:
        return None
    if args.layout is not None and args.from_file is not None:
        raise BadValueError("--layout and --from both give a layout; leave one out")
    if args.from_file is not None:
        layout = from_file(args.from_file, num_devices=found.num_devices, global_batch=found.global_batch)
        if (layout.num_devices, layout.global_batch) != (found.num_devices, found.global_batch):
            raise BadValueError(
                f"the layout of {args.from_file!r} is for {layout.num_devices:,} GPUs and {layout.global_batch:,} sequences a step; "
                f"give --gpus {layout.num_devices} --global-batch {layout.global_batch}seq"
            )
    else:
        layout = parse_layout(args.layout, num_devices=found.num_devices, global_batch=found.global_batch)
    check_layout(found.job, layout)
    return option(found.job, layout, found.best.prediction)


def _sizing(args: argparse.Namespace, found: Plan) -> Table:
    """For --budget-gpu-days at the rate of this plan, else for the run's own compute."""
    if args.budget_gpu_days is None and args.tokens is None:
        raise BadValueError("--compute-optimal needs a budget: add --budget-gpu-days, or --tokens")
    params, best = found.job.work.params, found.best.prediction
    if args.budget_gpu_days is not None:
        tokens = args.budget_gpu_days * DAY_S * best.tokens_per_s_per_device
        rate = f"{best.tokens_per_s_per_device:.4g} tokens/s of {format_count(params)} parameters"
        said = f"{format_int(args.budget_gpu_days)} GPU-days of {found.job.hardware.id} at this plan's {rate}"
    else:
        tokens = args.tokens
        said = f"{format_count(params)} parameters on {format_count(tokens)} tokens, as planned"
    flop = FLOP_PER_PARAM_TOKEN * params * tokens
    return sizing_table(compute_optimal(flop), flop, said)


@contextmanager
def searching(name: str, *, stream: TextIO | None = None, now: Callable[[], float] = time.monotonic) -> Iterator[OnProgress]:
    """Yields what a search tells how far it is; shown on a terminal once SLOW_S have passed."""
    started_s = now()
    with progress.line(stream=stream, now=now) as show:

        def on_progress(done: int, whole: int) -> None:
            if show is not None and now() - started_s > SLOW_S:
                bar = "█" * (20 * done // max(1, whole))
                show(lambda: f"{name}: {bar:<20} {done:,} of {whole:,} layouts")

        yield on_progress
