"""What a training run, or a single step, costs.

A training run:  python -m bench estimate --model llama-2-7b --tokens 2T --hardware a100-sxm4-80gb --gpus 512
At a given MFU:  python -m bench estimate --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb --gpus 1024 --utilization 0.45
A claim:         python -m bench estimate --model phi-2 --tokens 1.4T --hardware a100-sxm4-80gb --gpus 96 --days 14
A budget:        python -m bench estimate --model llama-3-8b --hardware h100-sxm5-80gb --budget-usd 1M
A deadline:      python -m bench estimate --model llama-3-8b --tokens 1T --hardware h100-sxm5-80gb --deadline 30d
My data set:     python -m bench estimate --model qwen2.5-7b --method lora --lengths lengths.csv --epochs 3 --hardware rtx-4090-24gb
Images and text: python -m bench estimate --model qwen2.5-vl-7b --images 2 --text-tokens 300 --examples 100k --hardware h100 --gpus 8
Images:          python -m bench estimate --model vit-b-16 --images-total 1.28M --epochs 300 --hardware a100-sxm4-80gb --gpus 8
Speech:          python -m bench estimate --model whisper-large-v3 --audio-hours 1000 --epochs 3 --hardware a6000
Single steps:    python -m bench estimate --model phi-2 --hardware a100-sxm4-80gb --prompt-tokens 512 --new-tokens 128
A generation:    python -m bench estimate llama-3.1-70b --hardware h100 --gpus 4 --weights fp8 --prompt-tokens 1000 --new-tokens 300
"""

from __future__ import annotations

import argparse

from bench.cli import arguments, data_options, names, outlook, sample_options, sequences, serve_options, step_options
from bench.cli.estimate_options import Options
from bench.cli.output import Output
from estimators.cost.layout import MAX_DEVICES
from estimators.errors import BadValueError
from estimators.frozen import replace
from estimators.training.at_utilization import COUNTED_AS

HAS_PICTURES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `estimate`."""
    arguments.add_model(parser, required=False)
    training = parser.add_argument_group("a training run")
    training.add_argument("--tokens", type=arguments.count("tokens"), metavar="NUM", help="tokens (or samples) to train on, such as 300B")
    training.add_argument("--hardware", metavar="NAME", help=names.HARDWARE_HELP)
    training.add_argument("--gpus", type=arguments.count("gpus", maximum=MAX_DEVICES), metavar="NUM", help="number of devices")
    arguments.add_utilization(training, COUNTED_AS)
    step_options.add_arguments(parser)
    asked = parser.add_argument_group("the other way round")
    asked.add_argument(
        "--days",
        type=arguments.duration("days"),
        dest="claimed_s",
        metavar="TIME",
        help="claimed wall time: what utilization does it imply?",
    )
    asked.add_argument(
        "--deadline",
        type=arguments.duration("deadline"),
        dest="deadline_s",
        metavar="TIME",
        help="how many devices finish within it?",
    )
    asked.add_argument("--budget-usd", type=arguments.dollars, metavar="USD", help="how many tokens fit into this money?")
    asked.add_argument(
        "--budget-gpu-days", type=arguments.count("budget-gpu-days"), metavar="NUM", help="how many fit into this device time?"
    )
    step = parser.add_argument_group("single steps and a generation (without --tokens)")
    step.add_argument("--batch", type=sequences.batch_size, metavar="NUM", help="sequences per step; 1 by default")
    step.add_argument("--prompt-tokens", type=sequences.length("prompt-tokens"), metavar="NUM", help="length of the prompt")
    step.add_argument("--new-tokens", type=sequences.length("new-tokens", maximum=10**5), metavar="NUM", help="tokens generated after it")
    step.add_argument("--num-beams", type=arguments.count("num-beams", maximum=10**4), metavar="NUM", help="beams per prompt; 1 by default")
    step.add_argument("--engine", metavar="NAME", help="that a generation runs on: python -m bench list engines; vllm by default")
    step.add_argument(
        "--weights",
        type=serve_options.weights,
        metavar="FORMAT",
        help="that it holds them in: bf16, fp8, int4, nvfp4, ...; 16 bits by default",
    )
    arguments.add_method(parser)
    arguments.add_habits(parser)
    data_options.add_arguments(parser)
    samples = sample_options.add_arguments(parser)
    samples.add_argument("--images-total", type=arguments.count("images-total"), metavar="NUM", help="of an epoch of a model of images")
    samples.add_argument(
        "--audio-hours",
        type=arguments.positive("audio-hours", 1e9),
        metavar="NUM",
        help="of an epoch of a model of speech; --seq-len is the text of a window",
    )
    both = parser.add_argument_group("both")
    sequences.add_sequence(both)
    arguments.add_dtype(both)
    both.add_argument("--explain", action="store_true", help=arguments.EXPLAIN_HELP)


def run(options: Options, out: Output) -> int:
    """Answer, as a fine-tuning on a data set, a training run or single steps."""
    if options.from_file is None or not options.about_a_data_set:
        _demand_model(options)
    if options.about_samples:
        from bench.cli.estimate_samples import answered
    elif "grpo" in options.method:
        from bench.cli.estimate_rollouts import answered
    elif options.about_a_data_set:
        from bench.cli import estimate_data_set

        options, reading = estimate_data_set.read(options, out)
        _demand_model(options)
        tables, screen = estimate_data_set.answered(options, reading)
        out.emit(tables, screen, outlook.pictures(out, tables))
        return 0
    elif options.about_a_training:
        from bench.cli.estimate_training import answered
    else:
        from bench.cli.estimate_step import answered
    if not options.about_a_training:
        arguments.refuse({"--outlook": options.outlook}, "is of a whole training: add --tokens, --hardware and --gpus, or leave it out")
    tables, screen = answered(replace(options, outlook=options.outlook or out.draws))
    out.emit(tables, screen, outlook.pictures(out, tables))
    return 0


def _demand_model(options: Options) -> None:
    if options.model is None and options.config is None:
        raise BadValueError("one of the arguments --model --config is required; for help: python -m bench estimate --help")
