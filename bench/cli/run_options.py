"""What `run` is asked, typed, and how its values are read."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.cli import article_options, names
from bench.cli.arguments import count, positive, share, targets
from bench.cli.sequences import add_image_size, batch_size, length
from bench.records.request import ALL_TASKS
from bench.sampling import presets
from estimators.frozen import frozen
from estimators.parsing import MAX_LENGTH
from estimators.samples import MAX_IMAGES, Image
from estimators.tuning.settings import METHODS, PRECISIONS
from estimators.weight_formats import WeightFormat, weight_format

DEFAULT_OUT = "runs"
RECOMPUTE = ("none", "full")


@frozen
class Options:
    """Options of `run`; None where the preset, the workload or the device decides."""

    model: str | None
    config: str | None
    suite: str | None
    task: str | None
    batch: int | None
    seq_len: int | None
    new_tokens: int | None
    num_beams: int | None
    prompt: str | None
    images: int | None
    image: Image | None
    text_tokens: int | None
    recompute: str
    method: str | None
    lora_rank: int | None
    lora_targets: tuple[str, ...] | None
    lora_dropout: float | None
    base_format: WeightFormat | None
    precision: str | None
    optimizer: str | None
    layers: int | None
    device: str | None
    dtype: str | None
    attn: str | None
    cache: str | None
    compile: bool
    weights: str | None
    trust_remote_code: bool
    steps: int | None
    max_time_s: float | None
    preset: str
    repeats: int | None
    seed: int
    epochs: int | None
    learning_rate: float | None
    neurons: int | None
    hidden_layers: int | None
    days: int | None
    train_days: int | None
    data: str | None
    num_requests: int | None
    concurrency: int | None
    rate: float | None
    endpoint: str | None
    tool: str | None
    tokenizer: str | None
    allow_host: str | None
    hardware: str | None
    gpus: int | None
    waterfall: bool
    out: Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `run`."""
    which = parser.add_argument_group("what to run").add_mutually_exclusive_group(required=True)
    which.add_argument("--model", metavar="NAME", help=names.MODEL_HELP)
    which.add_argument("--config", metavar="PATH", help="a Hugging Face config.json, or a folder that holds one")
    which.add_argument("--suite", metavar="NAME", help="several runs and one table: python -m bench list suites")
    task = parser.add_argument_group("the task")
    task.add_argument("--task", metavar="NAME", help=f"{', '.join(ALL_TASKS)}; language models generate unless said, others train")
    task.add_argument("--batch", type=batch_size, metavar="NUM", help="sequences (or samples) per step")
    task.add_argument("--seq-len", type=length("seq-len"), metavar="NUM", help="tokens per sequence, or of the prompt")
    task.add_argument("--new-tokens", type=length("new-tokens"), metavar="NUM", help="tokens to generate")
    task.add_argument(
        "--num-beams", type=count("num-beams", maximum=MAX_LENGTH), metavar="NUM", help="beams per prompt; the article's call has 5"
    )
    task.add_argument("--prompt", metavar="TEXT", help="the prompt; the article's by default")
    task.add_argument(
        "--checkpointing",
        "--recompute",
        dest="recompute",
        choices=RECOMPUTE,
        default="none",
        help="activation checkpointing while training; none by default",
    )
    task.add_argument(
        "--layers",
        type=count("layers", maximum=MAX_LENGTH),
        metavar="NUM",
        help="measure slices of half and of all of these, extrapolate to full depth",
    )
    _add_samples(parser)
    _add_tuning(parser)
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
    amount.add_argument(
        "--max-time", type=positive("max-time", 10**6), dest="max_time_s", metavar="SECONDS", help="for the timed part, at most"
    )
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
    article_options.add_arguments(parser)
    load = parser.add_argument_group("a server under load, of --task serve")
    load.add_argument(
        "--requests", type=count("requests", maximum=10**6), dest="num_requests", metavar="NUM", help="sent in all; three rounds by default"
    )
    load.add_argument(
        "--concurrency",
        type=count("concurrency", maximum=10**5),
        metavar="NUM",
        help="in flight at most, each followed by the next; 4 by default",
    )
    load.add_argument("--rate", type=positive("rate", 10**6), metavar="NUM", help="requests a second, Poisson by --seed, in its place")
    _add_endpoint(parser)
    records = parser.add_argument_group("records")
    records.add_argument(
        "--waterfall", action="store_true", help="predict the step from this machine's calibration and explain it part by part"
    )
    records.add_argument(
        "--out", type=Path, default=Path(DEFAULT_OUT), metavar="FOLDER", help=f"where records go; {DEFAULT_OUT}/ by default"
    )


def _add_samples(parser: argparse.ArgumentParser) -> None:
    """What a sample is, of a model that reads images."""
    group = parser.add_argument_group("samples of models that read images; their values are made up")
    group.add_argument(
        "--images",
        type=count("images", maximum=MAX_IMAGES),
        metavar="NUM",
        help="of an example of a vision-language model, which is then run whole: tower, projector and language part",
    )
    add_image_size(group)
    group.add_argument("--text-tokens", type=length("text-tokens", minimum=0), metavar="NUM", help="beside the images; 32 by default")


def _add_tuning(parser: argparse.ArgumentParser) -> None:
    """Options of a fine-tuning, by the names that `fit` has for them."""
    group = parser.add_argument_group("a fine-tuning, as `fit --framework transformers` describes it")
    group.add_argument("--method", metavar="NAME", help=f"what is trained: {', '.join(METHODS)}; all in fp32 by plain AdamW unless said")
    group.add_argument("--lora-rank", type=count("lora-rank", maximum=10**6), metavar="NUM", help="of the adapters")
    group.add_argument("--lora-targets", type=targets, metavar="NAMES", help="which matrices get one, or all-linear; peft's by default")
    group.add_argument("--lora-dropout", type=share("lora-dropout", 0.99), metavar="SHARE", help="of an adapter's input")
    group.add_argument("--base-format", type=weight_format, metavar="NAME", help="of a quantised base: nf4 or nf4-double")
    group.add_argument("--precision", choices=tuple(PRECISIONS), metavar="NAME", help=f"{', '.join(PRECISIONS)}: weights, then autocast")
    group.add_argument("--optimizer", metavar="NAME", help="transformers' name of it: python -m bench list optimizers")


def _add_endpoint(parser: argparse.ArgumentParser) -> None:
    """A server that answers already."""
    group = parser.add_argument_group("a server that answers already, loaded by a tool that is installed here")
    group.add_argument("--endpoint", metavar="URL", help="such as http://127.0.0.1:8000/v1; --model is the name that it answers to")
    group.add_argument("--tool", metavar="NAME", help="vllm, guidellm or aiperf; the first that is on PATH")
    group.add_argument("--tokenizer", metavar="PATH", help="of the tool, a folder or a name; the model's by default")
    group.add_argument("--allow-host", metavar="HOST", help="another machine's name, where it is yours to load; this one alone otherwise")
    group.add_argument("--hardware", metavar="NAME", help="that it runs on, to hold the result against: python -m bench list hardware")
    group.add_argument("--gpus", type=count("gpus", maximum=10**5), metavar="NUM", help="that it runs on")
