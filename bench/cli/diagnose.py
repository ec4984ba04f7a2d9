"""Is a run's speed normal, why not, and what settles it: from figures that people already have.

Training:    python -m bench diagnose llama-2-7b --tokens-per-s 3700 --per gpu --hardware a100 --gpus 8 --seq-len 4096
Two figures: python -m bench diagnose llama-2-7b --tokens-per-s 3700 --per gpu --mfu 0.15 --hardware a100 --gpus 8 --seq-len 4096
A step:      python -m bench diagnose gpt2 --step-time 562ms --batch 12 --grad-accum 5 --hardware 8xA100 --seq-len 1024 --software nanoGPT
Serving:     python -m bench diagnose llama-3-70b --phase decode --tokens-per-s 17 --hardware a100-pcie-80gb --gpus 2 --weights bf16
Fine-tuning: python -m bench diagnose llama-3-8b --method lora --step-time 14s --batch 8 --grad-accum 2 --seq-len 2048 --hardware 1x4090
A log:       python -m bench diagnose train.log --model llama-3-8b --hardware h100 --gpus 8
Two runs:    python -m bench diagnose --step-time 2.07s --hardware h100-pcie --gpus 2 --against 1.27s --against-gpus 1

A file is known by what stands in it (python -m bench list run-files); options say what it does not.
Figures of one run are held against one another first, then against physics, then against what is predicted. Exit 0: normal, or fast and
possible; 1: slow, impossible, miscounted, or a fact is missing that decides.
"""

from __future__ import annotations

import argparse
import math

from bench.cli import arguments, names, sequences
from bench.cli.output import Output
from bench.cli.typed_figures import Given, flop_count, flop_rate, like, rate, time, utilization
from estimators.cost.layout import LAYOUT_KEYS, MAX_DEVICES
from estimators.diagnosis.answer import diagnose
from estimators.diagnosis.decoding import bits_of
from estimators.diagnosis.observed import Figure, Observed, OtherRun, Quantity, Scope, Setting
from estimators.diagnosis.question import question_of
from estimators.diagnosis.readers.formats import observed_in
from estimators.errors import BadValueError
from estimators.frozen import frozen, replace
from estimators.parsing import parse_count
from estimators.weight_formats import served_format
from reports.views.diagnosis.diagnosis import diagnosis_tables
from reports.views.diagnosis.screen import diagnosis_screen

PER: dict[str, Scope] = {"gpu": "device", "device": "device", "job": "job", "total": "job", "request": "request"}


@frozen
class Options(arguments.ModelOptions):
    """Options of `diagnose`; None for what was not given."""

    file: str | None
    tokens_per_s: Given | None
    samples_per_s: Given | None
    requests_per_s: Given | None
    flop_per_s: Given | None
    mfu: Given | None
    step_time: Given | None
    wall_time: Given | None
    tokens: int | None
    steps: int | None
    per: str | None
    against: str | None
    against_gpus: int | None
    against_hardware: str | None
    hardware: str | None
    gpus: int | None
    seq_len: int | None
    layout: str | None
    batch: int | None
    grad_accum: int | None
    global_batch: int | None
    dtype: str | None
    recompute: str | None
    software: str | None
    method: str | None
    phase: str
    weights: str | None
    flop_per_sample: Given | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `diagnose`."""
    arguments.add_model(parser, required=False)
    parser.add_argument(
        "--file",
        metavar="FILE",
        help="what a training left: a log, its metrics, a record (python -m bench list run-files); --file may be left out",
    )
    _add_figures(parser)
    _add_run(parser)


def _add_figures(parser: argparse.ArgumentParser) -> None:
    figures = parser.add_argument_group("what was observed; the first that is given is asked about, the others must agree with it")
    figures.add_argument("--tokens-per-s", type=rate("tokens-per-s"), metavar="NUM", help="tokens per second; say of what with --per")
    figures.add_argument("--samples-per-s", type=rate("samples-per-s"), metavar="NUM", help="sequences, images or samples per second")
    figures.add_argument("--requests-per-s", type=rate("requests-per-s"), metavar="NUM", help="requests per second of a server")
    figures.add_argument("--step-time", type=time("step-time"), metavar="TIME", help="of one optimizer step, such as 1.9s or 562ms")
    figures.add_argument("--wall-time", type=time("wall-time"), metavar="TIME", help="of a whole run, with --tokens or --steps")
    figures.add_argument("--tokens", type=arguments.count("tokens"), metavar="NUM", help="counted in the whole run, such as 5.5B")
    figures.add_argument("--steps", type=arguments.count("steps"), metavar="NUM", help="optimizer steps of the whole run")
    figures.add_argument("--mfu", type=utilization, metavar="SHARE", help="as printed, such as 0.15 or 15%%; above 1 is taken, and judged")
    figures.add_argument(
        "--tflops", "--flop-per-s", type=flop_rate, dest="flop_per_s", metavar="NUM", help="TFLOP/s as printed, such as 168, or 0.168P"
    )
    figures.add_argument("--per", choices=tuple(PER), help="what a rate is of: one gpu, or the whole job; a request of a server")
    other = parser.add_argument_group("another run to compare with")
    other.add_argument("--against", metavar="VALUE", help="the same figure of another run, in the same unit")
    other.add_argument("--against-gpus", type=arguments.count("against-gpus", maximum=MAX_DEVICES), metavar="NUM", help="its devices")
    other.add_argument("--against-hardware", metavar="NAME", help="its kind of device")


def _add_run(parser: argparse.ArgumentParser) -> None:
    run = parser.add_argument_group("the run; what is not given is not assumed")
    run.add_argument("--hardware", metavar="NAME", help=names.HARDWARE_HELP)
    run.add_argument("--gpus", type=arguments.count("gpus", maximum=MAX_DEVICES), metavar="NUM", help="devices of the job")
    sequences.add_sequence(run, "none is assumed")
    run.add_argument("--batch", type=sequences.batch_size, metavar="NUM", help="sequences of one pass on one device; of a server, requests")
    run.add_argument("--grad-accum", type=arguments.count("grad-accum"), metavar="NUM", help="passes of one step")
    run.add_argument("--global-batch", type=sequences.batch_size, metavar="NUM", help="sequences of one step of the whole job")
    run.add_argument("--layout", metavar="KEY=VALUE,...", help="such as tp=2,pp=1,zero=3,micro_batch=2,recompute=full")
    run.add_argument(
        "--software", metavar="NAME", help="framework or engine, such as nanoGPT, vLLM or one of: python -m bench list software"
    )
    run.add_argument("--dtype", type=arguments.dtype, metavar="TYPE", help="of the products; the device's 16-bit one by default")
    run.add_argument("--recompute", choices=("none", "selective", "full"), help="whether activations are computed again")
    run.add_argument("--method", choices=("full", "lora", "qlora", "freeze"), help="what is trained; all by default")
    run.add_argument("--phase", choices=("train", "decode"), default="train", help="decode: tokens of a generation; train by default")
    run.add_argument("--weights", metavar="FORMAT", help="of a served model, such as bf16, int8, q4_k_m or awq")
    run.add_argument(
        "--flop-per-sample", type=flop_count, metavar="NUM", help="of the forward pass of a network that is not known here, such as 16.5G"
    )


def run(options: Options, out: Output) -> int:
    """Diagnose; 1 where something is wrong, or a fact is missing that decides.

    Raises:
        BadValueError: no figure, or one that does not say what it is of.
    """
    observed = observed_of(options)
    if options.phase != "decode":
        arguments.refuse({"--weights": options.weights}, "is of a served model: add --phase decode, or leave it out")
    if options.model or options.config:
        arguments.refuse({"--flop-per-sample": options.flop_per_sample}, "is of a network that has no name here; leave it or the model out")
    model = arguments.load_model(options)[0] if options.model or options.config else None
    hardware = arguments.load_hardware(options.hardware) if options.hardware else None
    answer = diagnose(question_of(observed, model, hardware))
    tables = arguments.with_all_facts(diagnosis_tables(answer))
    out.emit(tables, diagnosis_screen(answer, tables))
    return 1 if answer.needs_attention or answer.verdict == "UNKNOWN" else 0


def observed_of(options: Options) -> Observed:
    """What the options say that was observed.

    Raises:
        BadValueError: no figure; a rate on several devices that does not say what it is of; an --against in another unit; a file of no
            format that is known.
        UnavailableError: a file that cannot be read.
    """
    read = observed_in(options.file) if options.file is not None else Observed()
    figures = [*_figures(options), *read.figures]
    if not figures and options.file is None:
        raise BadValueError("what was observed? Give --tokens-per-s, --step-time, --mfu, --tflops, --wall-time with --tokens, or a file")
    setting = setting_of(options).filled(read.setting)
    if not figures:
        return replace(read, setting=setting)
    main = figures[0]
    others: tuple[OtherRun, ...] = ()
    if options.against is not None:
        against = like(main.quantity, "against")(options.against)
        other = Figure(quantity=main.quantity, value=against.value, scope=main.scope, digits=against.digits)
        others = (OtherRun(figure=other, num_devices=options.against_gpus, hardware=options.against_hardware or ""),)
    elif options.against_gpus is not None or options.against_hardware is not None:
        raise BadValueError("--against-gpus and --against-hardware are of --against; give it, in the unit of the run's own figure")
    missing = tuple(each for each in read.missing if not any(word in each.flag for word in _answered(options)))
    return replace(read, figures=tuple(figures), setting=setting, others=others, missing=missing)


def _answered(options: Options) -> list[str]:
    """Options that were given, of those that a reader asks for where a file lacks what they say."""
    given = {"--wall-time": options.wall_time, "--seq-len": options.seq_len, "--tokens-per-s": options.tokens_per_s}
    return [word for word, value in given.items() if value is not None]


def _figures(options: Options) -> list[Figure]:
    scoped: dict[Quantity, Given | None] = {
        "tokens_per_s": options.tokens_per_s,
        "samples_per_s": options.samples_per_s,
        "requests_per_s": options.requests_per_s,
        "flop_per_s": options.flop_per_s,
    }
    if not any(scoped.values()):
        arguments.refuse({"--per": options.per}, "says what a rate is of: give the rate, such as --tokens-per-s, or leave it out")
    decodes = options.phase == "decode"
    found = []
    for quantity, given in scoped.items():
        if given is None:
            continue
        if decodes and quantity == "tokens_per_s":
            figure = Figure(quantity="decode_tokens_per_s", value=given.value, scope=_scope_of_generation(options), digits=given.digits)
        else:
            figure = Figure(quantity=quantity, value=given.value, scope=_scope(options, quantity), digits=given.digits)
        found.append(figure)
    times: dict[Quantity, Given | None] = {"step_time_s": options.step_time, "wall_time_s": options.wall_time}
    found += [Figure(quantity=name, value=given.value, digits=given.digits) for name, given in times.items() if given]
    if options.mfu is not None:
        found.append(Figure(quantity="mfu_fraction", value=options.mfu.value, scope="device", digits=options.mfu.digits))
    counts: dict[Quantity, int | None] = {"tokens": options.tokens, "steps": options.steps}
    return found + [Figure(quantity=name, value=float(value)) for name, value in counts.items() if value]


def _scope_of_generation(options: Options) -> Scope:
    """Of one request, where one is answered at a time. Raises BadValueError where several are and nobody says."""
    if options.per is None and (options.batch or 1) > 1:
        raise BadValueError(f"a rate at {options.batch:,} requests at once: of one of them, or of all? Add --per request or --per job")
    return PER[options.per or "request"]


def _scope(options: Options, quantity: str) -> Scope:
    """What a rate is of. Raises BadValueError where several devices ran and nobody says, and for a training's request."""
    if options.per == "request" and options.phase != "decode":
        raise BadValueError("--per request is of a server, with --phase decode; of a training expected --per gpu or --per job")
    if options.per is not None:
        return PER[options.per]
    if quantity == "requests_per_s":
        return "job"
    if quantity == "flop_per_s" or options.gpus in (None, 1):
        return "device"
    raise BadValueError(f"a rate on {options.gpus:,} GPUs: of one of them, or of the whole job? Add --per gpu or --per job")


def setting_of(options: Options) -> Setting:
    """The configuration that the options state. Raises BadValueError for a layout or a format of weights that cannot be read."""
    if options.weights and bits_of(options.weights) is None:
        served_format(options.weights)
    micro = None if options.phase == "decode" else options.batch
    setting = Setting(
        hardware="",
        num_devices=options.gpus,
        seq_len=options.seq_len,
        micro_batch=micro,
        accumulation=options.grad_accum,
        global_batch=options.batch if options.phase == "decode" else options.global_batch,
        recompute=options.recompute or "",
        dtype=options.dtype or "",
        precision=options.weights or "",
        software=options.software or "",
        method=options.method or "",
        phase=options.phase,
        forward_flop_per_sample=options.flop_per_sample.value if options.flop_per_sample else None,
    )
    setting = with_layout(setting, options.layout or "")
    ways = {"tp": setting.tp, "pp": setting.pp, "cp": setting.cp, "dp": setting.dp}
    if options.gpus and options.gpus % math.prod(each or 1 for each in ways.values()):
        cut = ",".join(f"{name}={each}" for name, each in ways.items() if each)
        raise BadValueError(f"layout {cut} does not share out {options.gpus:,} devices; expected a product that divides them")
    return setting


def with_layout(setting: Setting, text: str) -> Setting:
    """The setting with what a layout such as ``tp=2,zero=3,micro_batch=2`` states. Raises BadValueError."""
    taken = {"tp", "pp", "cp", "ep", "dp", "zero", "micro_batch"}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        key, _, value = part.partition("=")
        name = LAYOUT_KEYS.get(key.strip(), "")
        if name == "recompute" and value.strip() in ("none", "selective", "full"):
            setting = replace(setting, recompute=value.strip())
        elif name in taken and value.strip().isascii() and value.strip().isdigit():
            setting = replace(
                setting, **{name: parse_count(value.strip(), key.strip(), minimum=0 if name == "zero" else 1, maximum=MAX_DEVICES)}
            )
        else:
            raise BadValueError(
                f"layout part {part[:60]!r}; expected KEY=NUMBER with one of: {', '.join(sorted(taken))}, or recompute=full"
            )
    return setting
