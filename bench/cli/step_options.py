"""Options of a step that is predicted from first principles, shared by the verbs that predict whole trainings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import arguments, sequences
from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.parsing import parse_byte_rate, parse_carbon, parse_float

if TYPE_CHECKING:
    from estimators.cost.machine import MeasuredRates
    from estimators.facts.registry import ModelEntry
    from estimators.method import TrainingMethod
    from estimators.spec import Hardware, Model
    from estimators.training.layouts.global_batch import Batch
    from estimators.training.question import Question
    from estimators.training.sequence_length import SequenceLength

BATCH_HELP = (
    "tokens of one step, such as 4M, or sequences, such as 1536seq; else as the published run nearest in size, a 100th of a short training"
)


@frozen
class StepOptions(arguments.MethodOptions):
    """What every verb that plans a training takes; None where it is left to be chosen.

    Attributes:
        gpus: number of devices.
        layout: such as ``tp=2,pp=1``; `from_file` is a launcher's file that has one.
        network_bytes_per_s: per device and direction.
        calibration: path of a file of `calibrate --out`.
        memory_margin: share of a device's memory that a chosen layout leaves free; None for the usual one.
        usd_per_gpu_hour: in place of the quotes that were seen.
        framework, checkpointing: of a fine-tuning: whose habits fill in the rest, and which activations are kept.
        outlook: whether what lies around the answer is asked for.
    """

    gpus: int | None
    layout: str | None
    from_file: str | None
    global_batch: Batch | None
    software: str | None
    optimizer: str | None
    network_bytes_per_s: float | None
    calibration: str | None
    memory_margin: float | None
    usd_per_gpu_hour: float | None
    seq_len: int | None
    dtype: str
    framework: str | None
    checkpointing: str | None
    outlook: bool


@frozen
class TrainingOptions(StepOptions):
    """What the verbs take beside it that predict a training unless a utilization is given.

    Attributes:
        utilization: share of the dense peak, counted under `convention`; None for the usual one.
        carbon_kg_per_j: CO2 of the electricity; None for the world's average.
    """

    utilization: float | None
    convention: str | None
    carbon_kg_per_j: float | None
    explain: bool


def add_outlook(parser: argparse._ActionsContainer) -> None:
    """--outlook."""
    said = "fewer and more devices, what fills the memory, what one change makes of it, published runs like it; a page always has them"
    parser.add_argument("--outlook", action="store_true", help=said)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--layout, --from, --global-batch, --software, --optimizer, --network, --calibration, --memory-margin, --carbon, --outlook."""
    group = parser.add_argument_group("the step, which is predicted where --utilization is not given")
    group.add_argument(
        "--layout", type=_layout, metavar="KEY=VALUE,...", help="such as tp=2,pp=1,zero=3,micro_batch=2; else one that fits is chosen"
    )
    group.add_argument(
        "--from",
        dest="from_file",
        metavar="FILE",
        help="the layout of a launcher's file, as `plan --emit` writes them; on a data set the job's own, as `fit` reads it",
    )
    group.add_argument(
        "--global-batch",
        type=batch,
        metavar="NUM",
        help=BATCH_HELP,
    )
    group.add_argument("--software", type=software, metavar="ID", help="python -m bench list software; the usual of a layout by default")
    group.add_argument("--optimizer", type=_optimizer, metavar="NAME", help="adamw by default; adamw-8bit, adafactor, muon, sgd")
    add_measured(group)
    add_memory_margin(group)
    group.add_argument("--carbon", type=_carbon, dest="carbon_kg_per_j", metavar="G", help="grams of CO2 per kWh; else the world's average")
    add_outlook(group)


def add_measured(group: argparse._ArgumentGroup) -> None:
    """--network and --calibration, which a user measured."""
    group.add_argument(
        "--network",
        type=_network,
        dest="network_bytes_per_s",
        metavar="RATE",
        help="per device and direction, such as 50GB/s; else the usual one",
    )
    group.add_argument(
        "--calibration", metavar="FILE", help="rates of products and links that `calibrate --out FILE` measured, for the device it is of"
    )


def add_memory_margin(group: argparse._ArgumentGroup) -> None:
    """--memory-margin."""
    group.add_argument(
        "--memory-margin",
        type=_memory_margin,
        metavar="SHARE",
        help="of a device's memory that a chosen layout leaves free, 5%% by default; a --layout may fill it all",
    )


def question(
    options: TrainingOptions, model: Model, entry: ModelEntry | None, hardware: Sequence[Hardware], *, tokens: int | None
) -> Question:
    """The training that is asked about, on the one device that was named or on none yet.

    Args:
        hardware: every device that was named.
        entry: what is published of the model.

    Raises:
        RequestError: options of a step that is predicted where none is, --layout beside --from, a file that is not a launcher's or one for
            other devices than --gpus, or a calibration of another device.
    """
    from estimators.training.question import Question  # deferred, as in all of this module: help needs none of it

    length, method = length_of(options, model, entry), method_of(options, model)
    seq_len = length.tokens
    if why := _why_not(options, model, hardware, seq_len):
        refuse(options, why)
    layout, num_devices, batch, notes = _wished(options, seq_len)
    return Question(
        model=model,
        hardware=hardware[0] if len(hardware) == 1 else None,
        seq_len=seq_len,
        seq_len_source=length.source,
        params_text=entry.published_params_text if entry else "",
        method=method,
        tokens=tokens,
        dtype=options.dtype,
        convention=options.convention,
        num_devices=num_devices,
        utilization=options.utilization,
        layout=layout,
        layout_notes=notes,
        batch=batch,
        stack_id=options.software,
        optimizer=optimizer_of(options, model),
        framework=options.framework or "",
        checkpointing=options.checkpointing or "",
        network_bytes_per_s=options.network_bytes_per_s,
        own=measured_rates(options, [device.id for device in hardware]),
        memory_margin=options.memory_margin,
        usd_per_gpu_hour=options.usd_per_gpu_hour,
        carbon_kg_per_j=options.carbon_kg_per_j,
    )


def _why_not(options: TrainingOptions, model: Model, hardware: Sequence[Hardware], seq_len: int) -> str:
    """What keeps the step from being predicted, as advice; empty where nothing does."""
    if not hardware:
        return "add --hardware"
    if options.utilization is not None:
        return "leave --utilization out"
    from estimators.training.supported import why_not_predicted

    return why_not_predicted(model, seq_len)


def measured_rates(options: StepOptions, hardware_ids: Sequence[str]) -> MeasuredRates | None:
    """What the file of --calibration says; None where none was given.

    Raises:
        BadRecordError: no calibration.
        BadValueError: it is of none of these devices.
    """
    if options.calibration is None:
        return None
    from bench.records import calibration_file
    from bench.records.calibration import measured_rates

    rates = measured_rates(calibration_file.read(Path(options.calibration)), Path(options.calibration).name)
    if rates.hardware_id not in hardware_ids:
        raise BadValueError(
            f"--calibration {options.calibration[:60]!r} is of {rates.hardware_id}; --hardware was {','.join(hardware_ids)[:60]}"
        )
    return rates


def _wished(options: StepOptions, seq_len: int) -> tuple[str, int | None, Batch, tuple[str, ...]]:
    """Layout, devices and batch as given; what a launcher's file of --from says in place of --layout, and what of it is not heeded.

    Raises:
        RequestError: --layout beside --from, a file that is not a launcher's, or one for other devices or another run than was asked for.
    """
    from estimators.training.layouts.global_batch import PUBLISHED_BATCH, Batch

    given = options.global_batch or PUBLISHED_BATCH
    if options.from_file is None:
        return options.layout or "", options.gpus, given, ()
    from estimators.training.layouts.emit import from_file

    if options.layout is not None:
        raise BadValueError("--layout and --from both give a layout; leave one out")
    sequences = given.sequences or (max(1, round(given.tokens / seq_len)) if given.tokens else None)
    file = from_file(options.from_file, num_devices=options.gpus, global_batch=sequences)
    file.demand(dtype=options.dtype, seq_len=seq_len, optimizer=options.optimizer or "adamw")
    layout = file.layout
    if options.gpus not in (None, layout.num_devices):
        raise BadValueError(
            f"the layout of {options.from_file!r} is for {layout.num_devices:,} GPUs; --gpus was {options.gpus:,}, leave it out"
        )
    size = given if options.global_batch is not None else Batch(sequences=layout.global_batch)
    return str(layout), layout.num_devices, size, file.notes


def batch(given: str | float) -> Batch:
    """Tokens of one step, or sequences where it says so. Raises BadValueError."""
    from estimators.training.layouts.global_batch import parse_batch

    return parse_batch(given, "global-batch")


def _layout(text: str) -> str:
    if not text.strip():
        raise BadValueError("layout is empty; expected for example tp=2,pp=1,zero=3,micro_batch=2, or no --layout")
    return text


def software(text: str) -> str:
    """The id of a software stack, whatever its case. Raises UnknownNameError."""
    from estimators.cost.software import stack

    return stack(text).id


def _optimizer(text: str) -> str:
    from estimators.memory.optimizers import OPTIMIZERS
    from estimators.training.step import OPTIMIZER_BYTES

    if text not in (*OPTIMIZER_BYTES, *OPTIMIZERS):
        raise BadValueError(f"optimizer {text[:40]!r} is unknown; expected one of: {', '.join(OPTIMIZER_BYTES)}")
    return text


def _network(text: str) -> float:
    return parse_byte_rate(text, "network")


def _memory_margin(given: str | float) -> float:
    return parse_float(given, "memory-margin", minimum=0, maximum=0.9)


def _carbon(given: str | float) -> float:
    return parse_carbon(given, "carbon")


def refuse(options: TrainingOptions, why: str, *, but: Sequence[str] = ()) -> None:
    """Demand that none of the options here was given.

    Args:
        but: those that may be.

    Raises:
        BadValueError: one was.
    """
    given = {
        "--layout": options.layout,
        "--from": options.from_file,
        "--global-batch": options.global_batch,
        "--software": options.software,
        "--optimizer": options.optimizer,
        "--network": options.network_bytes_per_s,
        "--calibration": options.calibration,
        "--memory-margin": options.memory_margin,
        "--carbon": options.carbon_kg_per_j,
    }
    arguments.refuse({word: value for word, value in given.items() if word not in but}, f"describes a step that is predicted; {why}")


def is_tuned(options: StepOptions, model: Model) -> bool:
    """Whether a part of a decoder is trained, which frameworks of fine-tuning do.

    Raises:
        BadValueError: options of a fine-tuning where none is asked about.
    """
    from estimators.architectures.decoder import Decoder
    from estimators.method import FULL

    if arguments.method(options) != FULL and isinstance(model, Decoder):
        return True
    for word, value in {"--framework": options.framework, "--checkpointing": options.checkpointing}.items():
        if value is not None:
            raise BadValueError(f"{word} is of a fine-tuning of a language model; add --lora-rank or --frozen-layers, or leave it out")
    return False


def method_of(options: StepOptions, model: Model) -> TrainingMethod:
    """How the model is trained, with what the framework has of it where the options say nothing. Raises as `arguments.method`."""
    from estimators.tuning.recipes import recipe_of
    from estimators.tuning.settings import method_under

    method = arguments.method(options)
    return method_under(method, recipe_of(options.framework)) if is_tuned(options, model) else method


def optimizer_of(options: StepOptions, model: Model) -> str:
    """--optimizer, or the framework's of a fine-tuning, else AdamW."""
    from estimators.tuning.recipes import recipe_of

    usual = recipe_of(options.framework).optimizer if is_tuned(options, model) else "adamw"
    return options.optimizer or usual


def length_of(options: StepOptions, model: Model, entry: ModelEntry | None) -> SequenceLength:
    """Tokens of the sequences of a training, or of the longest sample of a fine-tuning. Raises BadValueError as `sequences`."""
    from estimators.tuning.recipes import recipe_of

    if is_tuned(options, model):
        return sequences.tuning_length(model, recipe_of(options.framework), options.seq_len)
    return sequences.training_length(model, entry, options.seq_len)
