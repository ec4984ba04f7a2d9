"""Estimate a model, measure it here, cross-check the two, print the tables and keep a record.

The article's own call:  python -m bench run --model phi-2
A slice of true width:   python -m bench run --model phi-2 --task train --layers 4 --seq-len 256
A network of your own:   python -m bench run --model mlp --neurons 200 --hidden-layers 3
All of the article:      python -m bench run --suite article --format md
What a GPU can reach:    python -m bench run --suite reach
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import output, run_repeats
from bench.cli.arguments import count, length
from bench.machine.ranks import say
from bench.records.request import CACHES, TASKS, Request
from bench.sampling import presets
from estimators.errors import BadValueError, SixndError, UnavailableError, UnknownNameError
from estimators.parsing import parse_float

if TYPE_CHECKING:
    from bench.records.calibration import Calibration
    from bench.records.record import Measurement

DEFAULT_OUT = "runs"
RECOMPUTE = ("none", "full")


def _number(name: str, minimum: float, maximum: float) -> Any:
    return lambda text: parse_float(text, name, minimum=minimum, maximum=maximum, exclusive_minimum=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `run`."""
    which = parser.add_argument_group("what to run").add_mutually_exclusive_group(required=True)
    which.add_argument("--model", metavar="NAME", help="a model of the registry: python -m bench list models")
    which.add_argument("--config", metavar="PATH", help="a Hugging Face config.json, or a folder that holds one")
    which.add_argument("--suite", metavar="NAME", help="several runs and one table: python -m bench list suites")
    task = parser.add_argument_group("the task")
    task.add_argument("--task", metavar="NAME", help=f"{', '.join(TASKS)}; the article's models train, others generate unless said")
    task.add_argument("--batch", type=length("batch"), metavar="NUM", help="sequences (or samples) per step")
    task.add_argument("--seq-len", type=length("seq-len"), metavar="NUM", help="tokens per sequence, or of the prompt")
    task.add_argument("--new-tokens", type=length("new-tokens"), metavar="NUM", help="tokens to generate")
    task.add_argument("--num-beams", type=length("num-beams"), metavar="NUM", help="beams per prompt; the article's call has 5")
    task.add_argument("--prompt", metavar="TEXT", help="the prompt; the article's by default")
    task.add_argument("--recompute", choices=RECOMPUTE, default="none", help="activation checkpointing while training; none by default")
    task.add_argument(
        "--layers", type=length("layers"), metavar="NUM", help="measure slices of half and of all of these, extrapolate to full depth"
    )
    machine = parser.add_argument_group("the machine")
    machine.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:N or mps; the first CUDA device if there is one, else the CPU")
    machine.add_argument("--dtype", metavar="TYPE", help="fp32, bf16, fp16; on a CPU the faster of the first two unless said, else bf16")
    machine.add_argument("--attn", metavar="NAME", help="attention of transformers: eager, sdpa, flash_attention_2; sdpa by default")
    machine.add_argument("--cache", metavar="NAME", help="of keys and values: dynamic, static (of full length at once); dynamic by default")
    machine.add_argument("--compile", action="store_true", help="apply torch.compile")
    weights = parser.add_argument_group("weights")
    weights.add_argument("--weights", metavar="PATH", help="a checkpoint folder; else the local hub cache, else seeded random weights")
    weights.add_argument("--trust-remote-code", action="store_true", help="let the checkpoint's own code run; never otherwise")
    amount = parser.add_argument_group("how much")
    amount.add_argument("--steps", type=count("steps", maximum=10**9), metavar="NUM", help="timed steps (or generations) at most")
    amount.add_argument("--max-time", type=_number("max-time", 0, 10**6), metavar="SECONDS", help="for the timed part, at most")
    amount.add_argument(
        "--preset",
        default=presets.DEFAULT,
        metavar="NAME",
        help=f"how thorough: {', '.join(presets.PRESETS)}; {presets.DEFAULT} by default",
    )
    amount.add_argument(
        "--repeats",
        type=count("repeats", maximum=1000),
        metavar="NUM",
        help="runs in fresh processes, one after another; 3 for rigorous, else 1",
    )
    amount.add_argument(
        "--seed",
        type=count("seed", minimum=0, maximum=2**31),
        default=0,
        metavar="NUM",
        help="of data, weights, stand-in tokens; 0 by default",
    )
    training = parser.add_argument_group("hyper-parameters of the article's models")
    training.add_argument("--epochs", type=count("epochs", maximum=10**9), metavar="NUM", help="passes over the training data")
    training.add_argument("--learning-rate", type=_number("learning-rate", 0, 1000), metavar="RATE", help="of the optimizer")
    training.add_argument("--neurons", type=count("neurons", maximum=10**9), metavar="NUM", help="per hidden layer")
    training.add_argument("--hidden-layers", type=count("hidden-layers", maximum=10**9), metavar="NUM", help="how many")
    training.add_argument("--days", type=count("days", maximum=10**9), metavar="NUM", help="days that a deep network looks back on")
    training.add_argument("--data", metavar="FILE", help="your own views.csv (date,views) or spam.csv; synthetic data otherwise")
    records = parser.add_argument_group("records")
    records.add_argument(
        "--waterfall", action="store_true", help="predict the step from this machine's calibration and explain it part by part"
    )
    records.add_argument("--out", default=DEFAULT_OUT, metavar="FOLDER", help=f"where records go; {DEFAULT_OUT}/ by default")
    output.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, print, and return 1 if any check failed."""
    from bench.machine.ranks import is_main, start_promised_ranks

    start_promised_ranks()
    repeats = run_repeats.num_repeats(args)
    if args.suite is not None:
        return _run_suite(args)
    request, hub_id = _request(args)
    if repeats > 1:
        return run_repeats.run(request, repeats, hub_id, args, say)
    from bench.runs.measure import Interrupted, measure
    from reports.checks.crosscheck import crosscheck, failed
    from reports.views.records.measured import tables
    from reports.views.records.waterfall import waterfall_tables

    try:
        record = measure(request, hub_id=hub_id, out=Path(args.out), say=say, calibration=_calibration(args))
    except Interrupted as stopped:
        if is_main() and stopped.record.phases:
            output.emit(tables(stopped.record), args)
        raise
    if not is_main():
        return 0
    output.emit([*tables(record), *(waterfall_tables([record]) if args.waterfall else [])], args)
    say(f"record: {Path(args.out) / record.run_id}.json")
    return 1 if failed(crosscheck(record)) else 0


def _calibration(args: argparse.Namespace) -> Calibration | None:
    """This device's calibration where a waterfall is asked for.

    Raises:
        UnavailableError: there is none for this device, its threads and this torch.
    """
    if not args.waterfall:
        return None
    from bench.backend import device as devices
    from bench.records import calibration_file

    found = calibration_file.find(devices.choose(args.device).describe())
    if found is None:
        raise UnavailableError("--waterfall needs a calibration of this device, its threads and this torch: python -m bench calibrate")
    return found


def _config_name(path: str) -> str:
    """What to call a model that has no name but its file's, or where that is config.json, its folder's."""
    given = Path(path).resolve()
    return given.parent.name if given.name == "config.json" else given.stem if given.is_file() else given.name


def _request(args: argparse.Namespace, model: str | None = None) -> tuple[Request, str | None]:
    """The request of the command line, and the model's name in the hub's cache."""
    hub_id = None
    if args.config is not None and model is None:
        from estimators.architectures.from_config import read_config

        name, config = _config_name(args.config), read_config(args.config)
    else:
        from estimators.facts.registry import model_entry

        entry = model_entry(model or args.model)
        name, config, hub_id = entry.id, dict(entry.config), entry.checkpoint
        if entry.alias_note:
            say(entry.alias_note)
    task = args.task or ("train" if config.get("model_type") == "dense_network" or name == "tiny-gpt" else "generate")
    if task not in TASKS:
        raise UnknownNameError("task", task, TASKS, "python -m bench list tasks")
    if args.attn not in (None, "eager", "sdpa", "flash_attention_2"):
        raise BadValueError(f"attention {args.attn[:40]!r} is unknown; expected eager, sdpa or flash_attention_2")
    if args.cache not in (None, *CACHES):
        raise BadValueError(f"cache {args.cache[:40]!r} is unknown; expected {' or '.join(CACHES)}")
    assert args.max_time is None or math.isfinite(args.max_time)
    request = Request(
        model=name,
        config=config,
        task=task,
        batch=args.batch,
        seq_len=args.seq_len,
        new_tokens=args.new_tokens,
        num_beams=args.num_beams,
        dtype=args.dtype,
        device=args.device,
        attn=args.attn,
        compile=args.compile,
        cache=args.cache,
        layers=args.layers,
        weights=args.weights,
        trust_remote_code=args.trust_remote_code,
        steps=args.steps,
        max_time_s=args.max_time,
        recompute=args.recompute,
        epochs=args.epochs,
        learning_rate=args.learning_rate,
        hidden_layers=args.hidden_layers,
        neurons=args.neurons,
        days=args.days,
        data=args.data,
        seed=args.seed,
        prompt=args.prompt,
        preset=args.preset,
    )
    return request, hub_id


def _run_suite(args: argparse.Namespace) -> int:
    from bench.machine.ranks import is_main
    from bench.runs.suites import SUITES, estimate_only

    if args.suite not in SUITES:
        raise UnknownNameError("suite", args.suite, SUITES, "python -m bench list suites")
    suite = SUITES[args.suite]
    from bench.runs.measure import measure
    from reports import summary
    from reports.views.records.waterfall import waterfall_tables

    out = Path(args.out)
    records: list[Measurement] = []
    refused: list[str] = []
    for planned in suite.runs:
        name = planned.model
        request, hub_id = _request(args, name)
        request = dataclasses.replace(request, **planned.changes)
        try:
            records.append(measure(request, hub_id=hub_id, out=out, say=say, calibration=_calibration(args)))
        except SixndError as error:
            refused.append(f"{name}: {error}")
            say(f"{name} was left out: {error}")
    if not is_main():
        return 0
    records += [estimate_only(name, tokens, records, out) for name, tokens in suite.estimated]
    output.emit([*summary.tables(records), *(waterfall_tables(records) if args.waterfall else [])], args)
    for line in refused:
        print(f"error: {line}", file=sys.stderr)
    say(f"records: {out}/")
    return 1 if refused or summary.num_failed(records) else 0
