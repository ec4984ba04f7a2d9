"""Does a fine-tuning fit on a device: memory moment by moment, what decides, and what would make it fit.

QLoRA on a 4090:    python -m bench fit llama-3.1-8b --method qlora --lora-rank 64 --batch 4 --seq-len 2048 --hardware 4090 --framework trl
All of a model:     python -m bench fit llama-3-8b --method full --precision pure-bf16 --seq-len 4096 --hardware a100-sxm4-80gb
Its own files:      python -m bench fit --from axolotl.yml --from ds_config.json --hardware a100-40gb --gpus 4
A guard:            python -m bench fit gpt2 --seq-len 1024 --hardware 3060 --strict && accelerate launch train.py
The largest:        python -m bench fit llama-3.1-8b --method lora --hardware 4090 --largest seq-len
What can mine do:   python -m bench fit --hardware 3060 --menu
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast, get_args

from bench.cli import arguments, fit_files, sequences
from bench.cli.output import Output
from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.tuning.job import Attention, Sharding, TuningJob
from estimators.tuning.recipes import Checkpointing, LossPath, Packing, Recipe, recipe, recipe_of
from estimators.tuning.settings import (
    PRECISIONS,
    USUAL_RANK,
    Value,
    adapter_settings,
    job_of,
    precision_settings,
    trained_layers,
    usual_length,
)
from estimators.weight_formats import PLAIN

if TYPE_CHECKING:
    from estimators.spec import Hardware, Model
    from estimators.tuning.fit import Fit
    from estimators.tuning.fixes import Fix
    from estimators.tuning.largest import Quantity
    from estimators.tuning.readers.job_files import Reading

TRAINED = ("full", "lora", "qlora", "dora", "freeze")
OBJECTIVES = ("sft", "dpo", "orpo", "kto", "reward", "grpo", "inference")

HAS_PICTURES = True

OFFLOADED = ("optimizer", "parameters", "activations")
QUANTITIES = ("batch", "seq-len", "lora-rank")
MAX_GPUS = 1024


@frozen
class Options(arguments.MethodOptions):
    """Options of `fit`; None where one was not given."""

    method: tuple[str, ...]
    from_files: tuple[str, ...]
    hardware: str
    gpus: int | None
    framework: str | None
    batch: int | None
    seq_len: int | None
    accumulation: int | None
    packing: str | None
    optimizer: str | None
    checkpointing: str | None
    attention: str | None
    loss: str | None
    sharding: str | None
    offload: tuple[str, ...]
    precision: str | None
    lora_dropout: float | None
    largest: str | None
    menu: bool
    strict: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `fit`."""
    arguments.add_model(parser, required=False)
    job = parser.add_argument_group("the fine-tuning")
    job.add_argument(
        "--method",
        type=methods,
        default=(),
        metavar="NAME[,NAME]",
        help=f"what is trained: {', '.join(TRAINED)}; and what for: {', '.join(OBJECTIVES)}; lora and sft by default",
    )
    job.add_argument(
        "--from", dest="from_files", type=fit_files.paths, action=fit_files.Append, default=(), metavar="FILE", help=fit_files.HELP
    )
    job.add_argument("--hardware", required=True, metavar="NAME", help="the device: python -m bench list hardware")
    job.add_argument("--gpus", type=arguments.count("gpus", maximum=MAX_GPUS), metavar="NUM", help="devices of one machine; 1 by default")
    job.add_argument(
        "--framework", metavar="NAME[@VERSION]", help="whose habits fill in the rest: python -m bench list recipes; else an assumption"
    )
    job.add_argument("--batch", type=sequences.batch_size, metavar="NUM", help="samples of one pass on one device; the framework's default")
    sequences.add_sequence(job)
    job.add_argument("--accumulation", type=arguments.count("accumulation", maximum=10**6), metavar="NUM", help="passes of one step")
    job.add_argument("--packing", choices=get_args(Packing), metavar="|".join(get_args(Packing)), help="how samples share a row")
    job.add_argument("--precision", choices=tuple(PRECISIONS), metavar="NAME", help=f"{', '.join(PRECISIONS)}: weights, then autocast")
    job.add_argument("--optimizer", metavar="NAME", help="transformers' name of it: python -m bench list optimizers")
    memory = parser.add_argument_group("what saves memory; the framework's defaults")
    memory.add_argument(
        "--checkpointing", choices=get_args(Checkpointing), metavar="|".join(get_args(Checkpointing)), help="which activations are kept"
    )
    memory.add_argument("--loss", choices=get_args(LossPath), metavar="NAME", help=f"how it is made: {', '.join(get_args(LossPath))}")
    memory.add_argument(
        "--attention", choices=get_args(Attention), metavar="|".join(get_args(Attention)), help="its kernel; sdpa by default"
    )
    memory.add_argument(
        "--sharding",
        choices=get_args(Sharding),
        metavar="NAME",
        help=f"what is shared: {', '.join(get_args(Sharding))}; ddp by default",
    )
    memory.add_argument("--offload", type=_offloaded, default=(), metavar="NAMES", help=f"what lies on the host: {', '.join(OFFLOADED)}")
    arguments.add_method(parser)
    memory.add_argument("--lora-dropout", type=arguments.share("lora-dropout", 0.99), metavar="SHARE", help="of an adapter's input")
    more = parser.add_argument_group("more")
    more.add_argument("--largest", choices=QUANTITIES, metavar="|".join(QUANTITIES), help="the largest that still fits")
    more.add_argument("--menu", action="store_true", help="what the device can do: models by method, and the longest sample of each")
    more.add_argument("--strict", action="store_true", help="exit code 1 for TIGHT, too")


def _words(given: str | Sequence[str]) -> tuple[str, ...]:
    return tuple(word.strip().casefold() for word in (given.split(",") if isinstance(given, str) else given))


def methods(given: str | Sequence[str]) -> tuple[str, ...]:
    """What is trained and what for, such as ``qlora,dpo``. Raises BadValueError."""
    words = _words(given)
    for kinds in (TRAINED, OBJECTIVES):
        if sum(word in kinds for word in words) > 1:
            raise BadValueError(f"--method {','.join(words)[:40]}: expected one of {', '.join(kinds)}")
    if strange := [word for word in words if word not in (*TRAINED, *OBJECTIVES)]:
        raise BadValueError(f"unknown method {strange[0][:40]!r}; expected one of: {', '.join((*TRAINED, *OBJECTIVES))}")
    return words


def _offloaded(given: str | Sequence[str]) -> tuple[str, ...]:
    words = _words(given)
    if strange := [word for word in words if word not in OFFLOADED]:
        raise BadValueError(f"--offload {strange[0][:40]!r}: expected some of: {', '.join(OFFLOADED)}")
    return words


def run(options: Options, out: Output) -> int:
    """Fit; 1 for NO, and under --strict for TIGHT. Raises BadValueError."""
    hardware = arguments.load_hardware(options.hardware)
    if options.menu:
        return _menu(options, hardware, out)
    reading = None
    if options.from_files:
        reading = fit_files.read(options.from_files, options, options.framework, stated_beside_files(options))
        options = fit_files.with_model(options, reading, out)
    if options.model is None and options.config is None:
        raise BadValueError("which model? Give its name, or --config; --from FILE that names one; or --menu for what the device can do")
    model, _ = arguments.load_model(options)
    job = decided(options, model, hardware) if reading is None else in_files(options, reading, model, hardware)
    if options.largest:
        return _largest(options, job, hardware, reading, out)
    from estimators.tuning.fit import fit
    from reports.pages.tuning import tuning_pictures
    from reports.views.planning.fit import fit_screen, fit_tables

    answer = fit(job, hardware)
    changes, way = _fixes(answer) if answer.verdict != "FITS" or out.shows_everything or out.draws else ((), ())
    tables = arguments.with_all_facts([*fit_tables(answer, changes, way), *fit_files.tables(reading)])
    out.emit(tables, fit_files.on_screen(fit_screen(answer, changes, way, tables), reading, job), tuning_pictures(tables))
    return 1 if answer.verdict == "NO" or (options.strict and answer.verdict == "TIGHT") else 0


def _fixes(answer: Fit) -> tuple[tuple[Fix, ...], tuple[Fix, ...]]:
    from estimators.tuning.fixes import fixes, way_to_fit  # deferred: they price steps, which a job that fits does without

    way = () if answer.verdict == "FITS" else way_to_fit(answer.job, answer.hardware)
    return fixes(answer.job, answer.hardware), way


def _largest(options: Options, job: TuningJob, hardware: Hardware, reading: Reading | None, out: Output) -> int:
    from estimators.tuning.largest import largest
    from reports.pages.tuning import tuning_pictures
    from reports.views.planning.fit import largest_screen, largest_tables

    if getattr(options, str(options.largest).replace("-", "_")) is not None:
        raise BadValueError(f"--largest {options.largest} looks for what --{options.largest} says; leave one out")
    found = largest(job, hardware, cast("Quantity", options.largest))
    tables = arguments.with_all_facts([*largest_tables(found), *fit_files.tables(reading)])
    out.emit(tables, fit_files.on_screen(largest_screen(found, tables), reading, job), tuning_pictures(tables))
    return 0 if found.value else 1


JOB = (
    *("method", "batch", "seq_len", "source_len", "accumulation", "packing", "precision", "optimizer"),
    *("checkpointing", "loss", "attention", "sharding", "offload"),
    *("lora_rank", "lora_targets", "lora_dropout", "frozen_layers"),
)
"""Options of a fine-tuning, as fields."""


def _menu(options: Options, hardware: Hardware, out: Output) -> int:
    from estimators.tuning.menu import menu
    from reports.pages.tuning import menu_pictures
    from reports.views.planning.fit_menu import menu_screen, menu_table

    stated = {
        "the model": options.model or options.config,
        "--from": options.from_files,
        "--largest": options.largest,
        "--gpus": options.gpus,
        "--strict": options.strict,
        "--image-size": options.image,
        **{f"--{name.replace('_', '-')}": getattr(options, name) for name in JOB},
        "--base-format": None if options.base_format == PLAIN else options.base_format,
    }
    arguments.refuse(stated, "has no part in --menu, which is of a device and its framework; leave it out")
    table = menu_table(menu(hardware, recipe_of(options.framework)), hardware)
    out.emit([table], menu_screen(table, hardware), menu_pictures(table))
    return 0 if table.rows else 1


def stated_beside_files(options: Options) -> dict[str, Value]:
    """What the options name, and nothing of what they leave to the files."""
    given = plain_settings(options)
    trained = next((word for word in TRAINED if word in options.method), "")
    if objective := next((word for word in OBJECTIVES if word in options.method), ""):
        given["objective"] = objective
    if trained:
        given |= {"method": trained} if trained in ("full", "freeze") else {"method": "lora", "dora": trained == "dora"}
    if trained in ("lora", "dora") or options.base_format != PLAIN:
        given["base_format"] = options.base_format
    elif trained == "qlora":
        given["base_format"] = "nf4-double" if recipe_of(options.framework).doubles_scales else "nf4"
    if options.precision is not None:
        given["weights_dtype"], given["autocast"] = PRECISIONS[options.precision]
    if options.frozen_layers is not None:
        given["method"] = "freeze"
    if options.lora_rank is not None:
        given |= {"lora_rank": options.lora_rank, "method": "lora"}
    if options.lora_targets is not None:
        given |= {"lora_targets": options.lora_targets, "method": "lora"}
    return given


def in_files(options: Options, reading: Reading, model: Model, hardware: Hardware) -> TuningJob:
    """The job of the files of --from, with what `fit` takes where neither they nor the framework say. Raises as job_of."""
    given = reading.given()
    chosen = recipe(reading.framework or "unknown", reading.version)
    usual: dict[str, Value] = {"seq_len": given.get("seq_len", usual_length(chosen, model))}
    if given.get("method") == "lora":
        usual["lora_rank"] = given.get("lora_rank", USUAL_RANK)
    if options.frozen_layers is not None:
        usual["trained_layers"] = trained_layers(model, options.frozen_layers)
    if not {"weights_dtype", "autocast"} & set(reading.settings):
        usual |= precision_settings(options.precision, chosen, str(given.get("method", "full")), hardware.peak_flop_per_s)
    return fit_files.job_in(reading, model, usual)


def decided(options: Options, model: Model, hardware: Hardware | None) -> TuningJob:
    """The job that the options mean.

    Args:
        hardware: None where no device is named.

    Raises:
        BadValueError, UnknownNameError: options that contradict one another, unknown names.
    """
    chosen = recipe_of(options.framework)
    words = set(options.method)
    trained = next((word for word in TRAINED if word in words), "")
    if not trained:
        trained = "freeze" if options.frozen_layers is not None else "full" if "inference" in words and not options.lora_rank else "lora"
    given = _of_method(options, trained, chosen, model)
    objective = next((word for word in OBJECTIVES if word in words), "sft")
    dtypes = hardware.peak_flop_per_s if hardware else None
    given |= {"objective": objective, **precision_settings(options.precision, chosen, str(given["method"]), dtypes)}
    given |= plain_settings(options)
    given.setdefault("seq_len", usual_length(chosen, model))
    return job_of(model, chosen, given)


def plain_settings(options: Options) -> dict[str, Value]:
    """The settings that one option states each. Raises UnknownNameError for an optimizer that is none."""
    stated = {
        "num_gpus": options.gpus,
        "micro_batch": options.batch,
        "seq_len": options.seq_len,
        "accumulation": options.accumulation,
        "packing": options.packing,
        "optimizer": options.optimizer,
        "checkpointing": options.checkpointing,
        "attention": options.attention,
        "loss": options.loss,
        "sharding": options.sharding,
        "lora_dropout": options.lora_dropout,
    }
    given: dict[str, Value] = {name: value for name, value in stated.items() if value is not None}
    given |= {f"offload_{name}": True for name in options.offload}
    if options.optimizer is not None:
        from estimators.memory.optimizers import optimizer

        given["optimizer"] = optimizer(options.optimizer).name
    return given


def _of_method(options: Options, trained: str, chosen: Recipe, model: Model) -> dict[str, Value]:
    """What is trained of the model. Raises BadValueError for options of another method."""
    for word, value in {"--lora-rank": options.lora_rank, "--lora-targets": options.lora_targets}.items():
        if value is not None and trained in ("full", "freeze"):
            raise BadValueError(f"{word} is of adapters; with --method {trained} leave it out")
    if options.frozen_layers is not None and trained != "freeze":
        raise BadValueError(f"--frozen-layers is of --method freeze; with {trained} leave it out")
    if trained == "freeze":
        if options.frozen_layers is None:
            raise BadValueError("--method freeze needs --frozen-layers")
        return {"method": "freeze", "trained_layers": trained_layers(model, options.frozen_layers)}
    base = options.base_format
    if trained == "full":
        return {"method": "full", **({"base_format": base} if base != PLAIN else {})}
    return adapter_settings(trained, chosen, rank=options.lora_rank, targets=options.lora_targets, base_format=base)
