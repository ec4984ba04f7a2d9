"""Estimate a model, measure it here, cross-check the two, print the tables and keep a record.

The article's own call:  python -m bench run --model phi-2
A slice of true width:   python -m bench run --model phi-2 --task train --layers 4 --seq-len 256
A fine-tuning, counted:  python -m bench run --model gpt2 --task train --method lora --lora-rank 8 --batch 2 --seq-len 64
A network of your own:   python -m bench run --model mlp --neurons 200 --hidden-layers 3
Images, speech, latents: python -m bench run --model whisper-tiny --batch 2
Images beside a text:    python -m bench run --model smolvlm2-2.2b --images 1 --image-size 384 --task forward
All of the article:      python -m bench run --suite article --format md
What a GPU can reach:    python -m bench run --suite reach
A server under load:     python -m bench run gpt2 --task serve --concurrency 8 --requests 24 --seq-len 64 --new-tokens 32
One that answers:        python -m bench run --endpoint http://127.0.0.1:8000/v1 --model NAME --concurrency 8
"""

from __future__ import annotations

import argparse
import math
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import article_options, names, records_page, run_endpoint, run_repeats, run_suite
from bench.cli.arguments import count, positive, share, targets
from bench.cli.output import Output
from bench.cli.sequences import add_image_size, batch_size, length
from bench.machine.device_name import kind_and_index
from bench.machine.ranks import say
from bench.records.request import ALL_TASKS, CACHES, SERVING, Request
from bench.sampling import presets
from estimators.errors import BadValueError, NoOpTableError, UnavailableError, UnknownNameError
from estimators.extras import expect
from estimators.frozen import frozen
from estimators.parsing import MAX_LENGTH
from estimators.samples import MAX_IMAGES, Image
from estimators.tuning.settings import METHODS, PRECISIONS
from estimators.weight_formats import WeightFormat, weight_format

if TYPE_CHECKING:
    from bench.records.calibration import Calibration

DEFAULT_OUT = "runs"
HAS_PICTURES = True
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
    run_endpoint.add_arguments(parser)
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


def run(options: Options, out: Output) -> int:
    """Measure, print, and return 1 if any check failed."""
    from bench.machine.ranks import start_promised_ranks

    if options.endpoint is not None:
        return run_endpoint.run(options, out)
    _demand_no_server(options)
    start_promised_ranks()
    repeats = run_repeats.num_repeats(options.repeats, options.preset, is_suite=options.suite is not None)
    if options.suite is not None:
        return run_suite.run(
            options.suite,
            partial(_request, options),
            calibration_of=partial(_calibration, options),
            folder=options.out,
            waterfall=options.waterfall,
            out=out,
        )
    request, hub_id = _request(options)
    expect("torch")
    say(f"{request.model}: {article_options.promise(request)}")
    if repeats > 1:
        return run_repeats.run(request, repeats, hub_id, folder=options.out, out=out, say=say)
    from bench.runs.measure import Interrupted, keeps, measure
    from reports.checks.crosscheck import crosscheck, failed

    try:
        record = measure(request, hub_id=hub_id, out=options.out, say=say, calibration=_calibration(options, request))
    except Interrupted as stopped:
        if keeps(request.task) and stopped.record.phases:
            with suppress(BrokenPipeError, UnavailableError):  # the signal, too, ended who read it
                records_page.emit_one(out, stopped.record)
        raise
    if not keeps(request.task):
        return 0
    records_page.emit_one(out, record, waterfall=options.waterfall)
    say(f"record: {options.out / record.run_id}.json")
    return 1 if failed(crosscheck(record)) else 0


def _demand_no_server(options: Options) -> None:
    """Raises BadValueError for an option of an endpoint where there is none."""
    for name in ("tool", "tokenizer", "allow_host", "hardware", "gpus"):
        if getattr(options, name) is not None:
            word = "--" + name.replace("_", "-")
            raise BadValueError(f"{word} is of a server that answers already, of --endpoint; a model is run on --device of this machine")


def _calibration(options: Options, request: Request | None = None) -> Calibration | None:
    """This device's calibration where a waterfall is asked for; of a fine-tuning and of a server where there is one.

    Raises:
        UnavailableError: a waterfall without one for this device, its threads and this torch.
    """
    if not options.waterfall and options.task not in SERVING and (request is None or request.method is None):
        return None
    from bench.backend import device as devices
    from bench.records import calibration_file

    calibration = calibration_file.find(devices.choose(options.device).describe())
    if calibration is None and options.waterfall:
        raise UnavailableError("--waterfall needs a calibration of this device, its threads and this torch: python -m bench calibrate")
    return calibration


def _request(options: Options, model: str | None = None) -> tuple[Request, str | None]:
    """The request of the command line, and the model's name in the hub's cache."""
    name, config, hub_id = names.configuration(model or options.model, None if model else options.config, whole=options.images is not None)
    task = options.task or _usual_task(name, config, options)
    if task not in ALL_TASKS:
        raise UnknownNameError("task", task, ALL_TASKS, "python -m bench list tasks")
    if options.attn not in (None, "eager", "sdpa", "flash_attention_2"):
        raise BadValueError(f"attention {options.attn[:40]!r} is unknown; expected eager, sdpa or flash_attention_2")
    if options.cache not in (None, *CACHES):
        raise BadValueError(f"cache {options.cache[:40]!r} is unknown; expected {' or '.join(CACHES)}")
    if options.device is not None:
        kind_and_index(options.device)
    assert options.max_time_s is None or math.isfinite(options.max_time_s)
    request = Request(
        model=name,
        config=config,
        task=task,
        batch=options.batch,
        seq_len=options.seq_len,
        images=options.images,
        image_size=None if options.image is None else (options.image.height, options.image.width),
        text_tokens=options.text_tokens,
        new_tokens=options.new_tokens,
        num_beams=options.num_beams,
        dtype=options.dtype,
        device=options.device,
        attn=options.attn,
        compile=options.compile,
        cache=options.cache,
        layers=options.layers,
        weights=options.weights,
        trust_remote_code=options.trust_remote_code,
        steps=options.steps,
        max_time_s=options.max_time_s,
        recompute=options.recompute,
        method=options.method,
        lora_rank=options.lora_rank,
        lora_targets=options.lora_targets,
        lora_dropout=options.lora_dropout,
        base_format=options.base_format,
        precision=options.precision,
        optimizer=options.optimizer,
        epochs=options.epochs,
        learning_rate=options.learning_rate,
        hidden_layers=options.hidden_layers,
        neurons=options.neurons,
        days=options.days,
        train_days=options.train_days,
        data=options.data,
        seed=options.seed,
        prompt=options.prompt,
        preset=options.preset,
        num_requests=options.num_requests,
        concurrency=options.concurrency,
        request_rate=options.rate,
    )
    return request, hub_id


def _usual_task(name: str, config: dict[str, Any], options: Options) -> str:
    """Without --task: language models generate, all others train."""
    if config.get("model_type") == "dense_network" or name == "tiny-gpt" or options.images is not None:
        return "train"
    from estimators.architectures.decoder import Decoder
    from estimators.architectures.from_config import model_from_config

    with suppress(NoOpTableError):  # which is said when the run is decided
        return "generate" if isinstance(model_from_config(config, name), Decoder) else "train"
    return "generate"
