"""The layouts that train a model fastest on given devices, with the reason why each of the others loses.

A cluster:      python -m bench plan --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb --gpus 1024
Your layout:    python -m bench plan --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb --gpus 1024 --layout tp=8,pp=8,sp=1
A deadline:     python -m bench plan --model llama-3-8b --tokens 1T --hardware h100-sxm5-80gb,h200-sxm-141gb --deadline 30d
A budget:       python -m bench plan --model llama-3-8b --tokens 1T --hardware h100-sxm5-80gb --budget 500k --max-gpus 1024
One change:     python -m bench plan --model llama-2-7b --hardware a100-sxm4-80gb --gpus 64 --what-if recompute=full
To a launcher:  python -m bench plan --model llama-2-7b --hardware a100-sxm4-80gb --gpus 64 --emit torchtitan --output job.toml
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from bench.cli import arguments, names, outlook, sequences, step_options
from bench.cli.output import Output
from estimators.cost.layout import SCHEDULES
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.training.layouts.emit import LAUNCHERS

if TYPE_CHECKING:
    from estimators.facts.registry import ModelEntry
    from estimators.spec import Hardware, Model
    from estimators.training.layouts.answer import PlanQuestion, Plans
    from estimators.training.layouts.global_batch import Batch
    from estimators.training.layouts.restriction import OnProgress
    from reports.table import Table

HAS_PICTURES = True
MAX_GPUS = 10**7
MAX_HARDWARE = 50
SLOW_S = 2.0
"""A search that takes longer says how far it is."""


@frozen
class Options(step_options.StepOptions):
    """Options of `plan`; None where one was not given.

    Attributes:
        layout, from_file: one of the user's own, set beside the plan.
        budget_usd: for the training; budget_gpu_days is that of `compute_optimal`.
        top: layouts shown.
        emit: a launcher whose file is written.
    """

    hardware: tuple[str, ...]
    tokens: int | None
    max_gpus: int | None
    deadline_s: float | None
    budget_usd: int | None
    max_global_batch: Batch | None
    max_tp: int | None
    schedule: str
    top: int
    what_if: str | None
    scaling: bool
    compute_optimal: bool
    budget_gpu_days: int | None
    emit: str | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `plan`."""
    arguments.add_model(parser)
    training = parser.add_argument_group("the training")
    training.add_argument(
        "--hardware",
        type=names.listed("--hardware", MAX_HARDWARE),
        required=True,
        metavar="NAME[,NAME...]",
        help="one device or several, such as h100,a100 or 64xH100, or your own as JSON: python -m bench list hardware",
    )
    training.add_argument("--gpus", type=arguments.count("gpus", maximum=MAX_GPUS), metavar="NUM", help="number of devices")
    training.add_argument("--tokens", type=arguments.count("tokens"), metavar="NUM", help="tokens to train on, such as 300B")
    training.add_argument(
        "--global-batch",
        type=step_options.batch,
        metavar="NUM",
        help=step_options.BATCH_HELP,
    )
    sequences.add_sequence(training)
    arguments.add_dtype(training)
    training.add_argument(
        "--software",
        type=step_options.software,
        metavar="ID",
        help="what trains: python -m bench list software; the usual of a layout by default",
    )
    training.add_argument("--optimizer", metavar="NAME", help="adamw by default; adamw-8bit, adafactor, muon, sgd")
    step_options.add_measured(training)
    step_options.add_memory_margin(training)
    arguments.add_price(training)
    arguments.add_method(parser)
    arguments.add_habits(parser)
    limits = parser.add_argument_group("limits (without --gpus, as many devices are taken as they ask for)")
    limits.add_argument("--max-gpus", type=arguments.count("max-gpus", maximum=MAX_GPUS), metavar="NUM", help="at most so many")
    limits.add_argument(
        "--deadline", type=arguments.duration("deadline"), dest="deadline_s", metavar="TIME", help="done within, such as 30d"
    )
    limits.add_argument("--budget", type=arguments.dollars, dest="budget_usd", metavar="USD", help="for at most so much, such as 500k")
    limits.add_argument(
        "--max-global-batch",
        type=_most,
        metavar="NUM",
        help="tokens of one step at most, such as 4M, or sequences, such as 1536seq",
    )
    limits.add_argument(
        "--max-tp", type=arguments.count("max-tp", maximum=1024), metavar="NUM", help="largest degree of tensor parallelism"
    )
    limits.add_argument(
        "--schedule",
        choices=SCHEDULES,
        default="1f1b",
        metavar="|".join(SCHEDULES),
        help="of pipelines; 1f1b by default",
    )
    more = parser.add_argument_group("more")
    more.add_argument("--layout", metavar="KEY=VALUE,...", help="one of your own, to be checked and set beside the plan: tp=8,pp=8,sp=1")
    more.add_argument("--from", dest="from_file", metavar="FILE", help="the same, read from a launcher's file, as --emit writes them")
    more.add_argument("--top", type=arguments.count("top", maximum=50), default=5, metavar="NUM", help="layouts shown; 5 by default")
    more.add_argument("--what-if", metavar="KEY=VALUE", help="gpus=2048, seq_len=32768, recompute=full, hardware=ID, tp=4 ...")
    more.add_argument("--scaling", action="store_true", help="days on 1 to 64 times as many devices, and where more stop paying")
    step_options.add_outlook(more)
    more.add_argument("--compute-optimal", action="store_true", help="the model and tokens that this compute is best spent on")
    more.add_argument(
        "--budget-gpu-days", type=arguments.count("budget-gpu-days"), metavar="NUM", help="the compute of --compute-optimal; else --tokens'"
    )
    more.add_argument("--emit", choices=tuple(LAUNCHERS), metavar="|".join(LAUNCHERS), help="write the layout as that launcher reads it")


def _most(given: str | float) -> Batch:
    from estimators.training.layouts.global_batch import parse_batch

    return parse_batch(given, "max-global-batch")


def _most_tokens(most: Batch | None, seq_len: int) -> int | None:
    if most is None:
        return None
    return most.tokens if most.sequences is None else most.sequences * seq_len


def run(options: Options, out: Output) -> int:
    """Plan."""
    from estimators.training.layouts.answer import answer_plan, launcher_text  # deferred: numpy, as in the imports below

    _check(options)
    model, entry = arguments.load_model(options)
    devices = [arguments.load_hardware(name) for name in options.hardware]
    answer = answer_plan(_question(options, model, entry, devices), searching)
    if options.emit is not None:
        out.emit_text(launcher_text(answer, options.emit))
        return 0
    from reports.views.planning.plan import plan_tables
    from reports.views.planning.plan_screen import plan_screen

    around = _around(answer) if options.outlook or out.draws else []
    tables = arguments.with_all_facts([*plan_tables(answer), *around])
    screen = replace(plan_screen(answer, tables), asked=around if options.outlook else ())
    out.emit(tables, screen, outlook.pictures(out, tables))
    return 0


def _around(answer: Plans) -> list[Table]:
    """What fills a device of each kind, and, of a whole training, what lies around the plan to take."""
    from estimators.training.layouts.outlook import held

    tables = outlook.held_tables([held(choice.answer.job, choice.answer.best.layout) for choice in answer.choices if choice.answer])
    question, best = answer.question, answer.best
    if question.tokens is None:
        return tables
    around = outlook.around_tables(
        best.job,
        best.best.prediction,
        question.tokens,
        answer.choices[0].price,
        deadline_s=question.deadline_s,
        has_curve=bool(answer.points),
        restriction=question.restriction,
    )
    return [*tables, *around]


def _check(options: Options) -> None:
    for word, value in {"--deadline": options.deadline_s, "--budget": options.budget_usd}.items():
        if value is not None and options.tokens is None:
            raise BadValueError(f"{word} needs to know how much is trained: add --tokens")
    if options.gpus is None and options.tokens is None:
        raise BadValueError("how many devices? Give --gpus, or --tokens with --deadline, --budget or --max-gpus")
    if options.gpus is None and options.deadline_s is None and options.max_gpus is None:
        raise BadValueError("how many devices? Give --gpus, or a --deadline, or --max-gpus")
    if options.emit is not None and len(options.hardware) > 1:
        raise BadValueError(f"--emit writes one file; give one --hardware instead of {len(options.hardware)}")


def _question(options: Options, model: Model, entry: ModelEntry | None, devices: Sequence[Hardware]) -> PlanQuestion:
    """What is planned. Raises RequestError for a calibration of another device, or a job that no step is predicted of."""
    from estimators.training.layouts.answer import PlanQuestion
    from estimators.training.layouts.global_batch import PUBLISHED_BATCH
    from estimators.training.layouts.job import Job
    from estimators.training.layouts.restriction import Restriction

    own = step_options.measured_rates(options, [device.id for device in devices])
    length = step_options.length_of(options, model, entry)
    jobs = tuple(
        Job(
            model=model,
            method=step_options.method_of(options, model),
            hardware=device,
            seq_len=length.tokens,
            dtype=options.dtype,
            stack_id=options.software or "",
            optimizer=step_options.optimizer_of(options, model),
            framework=options.framework or "",
            checkpointing=options.checkpointing or "",
            network_bytes_per_s=options.network_bytes_per_s,
            own=own,
            memory_margin=options.memory_margin,
        )
        for device in devices
    )
    return PlanQuestion(
        jobs=jobs,
        seq_len_source=length.source,
        tokens=options.tokens,
        num_devices=options.gpus,
        max_devices=options.max_gpus,
        deadline_s=options.deadline_s,
        budget_usd=options.budget_usd,
        usd_per_gpu_hour=options.usd_per_gpu_hour,
        batch=replace(options.global_batch or PUBLISHED_BATCH, most_tokens=_most_tokens(options.max_global_batch, length.tokens)),
        restriction=Restriction(max_tp=options.max_tp, schedule=options.schedule, launcher=options.emit or ""),
        num_options=options.top,
        layout=options.layout or "",
        launcher_file=options.from_file or "",
        change=options.what_if or "",
        scaling=options.scaling,
        compute_optimal=options.compute_optimal,
        budget_gpu_days=options.budget_gpu_days,
    )


@contextmanager
def searching(name: str, *, stream: TextIO | None = None, now: Callable[[], float] = time.monotonic) -> Iterator[OnProgress]:
    """Yields what a search tells how far it is; shown on a terminal once SLOW_S have passed."""
    from bench.sampling.live_line import line  # deferred: not a part of help

    started_s = now()
    with line(stream=stream, now=now) as show:

        def on_progress(done: int, whole: int) -> None:
            if show is not None and now() - started_s > SLOW_S:
                bar = "█" * (20 * done // max(1, whole))
                show(lambda: f"{name}: {bar:<20} {done:,} of {whole:,} layouts")

        yield on_progress
