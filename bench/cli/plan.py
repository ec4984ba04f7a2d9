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

from bench.cli import arguments, step_options
from bench.cli.output import Output
from estimators.cost.layout import SCHEDULES
from estimators.training.layouts.emit import LAUNCHERS

MAX_GPUS = 10**7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `plan`."""
    arguments.add_model(parser)
    training = parser.add_argument_group("the training")
    training.add_argument("--hardware", required=True, metavar="ID[,ID...]", help="one device or several: python -m bench list hardware")
    training.add_argument("--gpus", type=arguments.count("gpus", maximum=MAX_GPUS), metavar="NUM", help="number of devices")
    training.add_argument("--tokens", type=arguments.count("tokens"), metavar="NUM", help="tokens to train on, such as 300B")
    training.add_argument(
        "--global-batch",
        type=step_options.batch,
        metavar="NUM",
        help="tokens of one step, such as 4M, or sequences, such as 1536seq; else as the published run nearest in size",
    )
    arguments.add_sequence(training)
    arguments.add_dtype(training)
    training.add_argument(
        "--software", type=step_options.software, metavar="ID", help="what trains: python -m bench list software; megatron-core by default"
    )
    training.add_argument("--optimizer", default="adamw", metavar="NAME", help="adamw, adamw-8bit, adafactor, muon, sgd")
    training.add_argument(
        "--network", type=step_options.network, metavar="RATE", help="per device and direction, such as 50GB/s; else the usual one"
    )
    step_options.add_calibration(training)
    training.add_argument("--price", type=arguments.price, metavar="USD", help="per device and hour; else the range of quotes seen")
    limits = parser.add_argument_group("limits (without --gpus, as many devices are taken as they ask for)")
    limits.add_argument("--max-gpus", type=arguments.count("max-gpus", maximum=MAX_GPUS), metavar="NUM", help="at most so many")
    limits.add_argument("--deadline", type=arguments.duration("deadline"), metavar="TIME", help="done within, such as 30d")
    limits.add_argument("--budget", type=arguments.dollars, metavar="USD", help="for at most so much, such as 500k")
    limits.add_argument(
        "--max-global-batch",
        type=arguments.count("max-global-batch", maximum=step_options.MAX_BATCH),
        metavar="NUM",
        help="tokens of one step at most",
    )
    limits.add_argument("--max-tp", type=arguments.count("max-tp", maximum=1024), metavar="NUM", help="tensor parallel ways at most")
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
    more.add_argument("--compute-optimal", action="store_true", help="the model and tokens that this compute is best spent on")
    more.add_argument(
        "--budget-gpu-days", type=arguments.count("budget-gpu-days"), metavar="NUM", help="the compute of --compute-optimal; else --tokens'"
    )
    more.add_argument("--emit", choices=tuple(LAUNCHERS), metavar="|".join(LAUNCHERS), help="write the layout as that launcher reads it")


Options = argparse.Namespace


def run(args: argparse.Namespace, out: Output) -> int:
    """Plan."""
    from bench.cli.plan_answer import emitted, tables

    if args.emit is None:
        out.emit(tables(args))
    else:
        out.emit_text(emitted(args))
    return 0
