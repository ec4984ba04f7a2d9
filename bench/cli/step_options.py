"""Options of a step that is predicted from first principles, shared by the verbs that predict whole trainings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import arguments
from estimators.cost.software import DEFAULT_STACK
from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.parsing import parse_byte_rate, parse_carbon, parse_count
from estimators.training.layouts.global_batch import PUBLISHED_BATCH, Batch
from estimators.training.layouts.job import Job

if TYPE_CHECKING:
    from estimators.cost.machine import OwnRates
    from estimators.spec import Hardware, Model

NAMES = ("layout", "from", "global_batch", "software", "optimizer", "network", "calibration", "carbon")
"""Every option here; None unless given."""

_DESTS = {"from": "from_file"}

MAX_BATCH = 10**10


@frozen
class Wished:
    """How the step is to be run, where that is not left to be chosen.

    Attributes:
        layout: empty where it is chosen.
        num_devices: None where they are chosen.
    """

    layout: str
    num_devices: int | None
    batch: Batch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--layout, --from, --global-batch, --software, --optimizer, --network, --calibration, --carbon."""
    group = parser.add_argument_group("the step, which is predicted where --utilization is not given")
    group.add_argument(
        "--layout", type=_layout, metavar="KEY=VALUE,...", help="such as tp=2,pp=1,zero=3,micro_batch=2; else one that fits is chosen"
    )
    group.add_argument("--from", dest="from_file", metavar="FILE", help="the layout of a launcher's file, as `plan --emit` writes them")
    group.add_argument(
        "--global-batch",
        type=batch,
        metavar="NUM",
        help="tokens of one step, such as 4M, or sequences, such as 1536seq; else as the published run nearest in size",
    )
    group.add_argument("--software", type=software, metavar="ID", help="python -m bench list software; megatron-core by default")
    group.add_argument("--optimizer", type=_optimizer, metavar="NAME", help="adamw by default; adamw-8bit, adafactor, muon, sgd")
    group.add_argument("--network", type=network, metavar="RATE", help="per device and direction, such as 50GB/s; else the usual one")
    add_calibration(group)
    group.add_argument("--carbon", type=_carbon, metavar="G", help="grams of CO2 per kWh; else the world's average")


def add_calibration(group: argparse._ArgumentGroup) -> None:
    """--calibration FILE."""
    group.add_argument(
        "--calibration", metavar="FILE", help="rates of products and links that `calibrate --out FILE` measured, for the device it is of"
    )


def own_rates(args: argparse.Namespace, hardware_ids: Sequence[str]) -> OwnRates | None:
    """What the file of --calibration says; None where none was given.

    Raises:
        BadRecordError: no calibration.
        BadValueError: it is of none of these devices.
    """
    if args.calibration is None:
        return None
    from bench.records import calibration_file
    from bench.records.calibration import own_rates

    found = own_rates(calibration_file.read(Path(args.calibration)), Path(args.calibration).name)
    if found.hardware_id not in hardware_ids:
        raise BadValueError(
            f"--calibration {args.calibration[:60]!r} is of {found.hardware_id}; --hardware was {','.join(hardware_ids)[:60]}"
        )
    return found


def wished(args: argparse.Namespace, seq_len: int) -> Wished:
    """Layout, devices and batch as given; what a launcher's file of --from says in place of --layout.

    Raises:
        RequestError: --layout beside --from, a file that is no launcher's, or one for other devices than --gpus.
    """
    given = args.global_batch or PUBLISHED_BATCH
    if args.from_file is None:
        return Wished(layout=args.layout or "", num_devices=args.gpus, batch=given)
    from estimators.training.layouts.emit import from_file

    if args.layout is not None:
        raise BadValueError("--layout and --from both give a layout; leave one out")
    sequences = given.sequences or (max(1, round(given.tokens / seq_len)) if given.tokens else None)
    layout = from_file(args.from_file, num_devices=args.gpus, global_batch=sequences)
    if args.gpus not in (None, layout.num_devices):
        raise BadValueError(f"the layout of {args.from_file!r} is for {layout.num_devices:,} GPUs; --gpus was {args.gpus:,}, leave it out")
    batch = given if args.global_batch is not None else Batch(sequences=layout.global_batch)
    return Wished(layout=str(layout), num_devices=layout.num_devices, batch=batch)


def batch(text: str) -> Batch:
    """Tokens of one step, or sequences where the number ends in `seq`. Raises BadValueError."""
    number = text.strip().removesuffix("seq")
    size = parse_count(number, "global-batch", maximum=MAX_BATCH)
    return Batch(tokens=size) if number == text.strip() else Batch(sequences=size)


def _layout(text: str) -> str:
    if not text.strip():
        raise BadValueError("layout is empty; expected for example tp=2,pp=1,zero=3,micro_batch=2, or no --layout")
    return text


def software(text: str) -> str:
    """The id of a software stack, whatever its case. Raises UnknownNameError."""
    from estimators.cost.software import stack

    return stack(text).id


def _optimizer(text: str) -> str:
    from estimators.training.step import OPTIMIZER_BYTES

    if text not in OPTIMIZER_BYTES:
        raise BadValueError(f"optimizer {text[:40]!r} is unknown; expected one of: {', '.join(OPTIMIZER_BYTES)}")
    return text


def network(text: str) -> float:
    """A rate per device and direction, such as 50GB/s. Raises BadValueError."""
    return parse_byte_rate(text, "network")


def _carbon(text: str) -> float:
    return parse_carbon(text, "carbon")


def given(args: argparse.Namespace) -> list[str]:
    """The options here that were given, as they are written."""
    return [f"--{name.replace('_', '-')}" for name in NAMES if getattr(args, _DESTS.get(name, name)) is not None]


def refuse(args: argparse.Namespace, why: str) -> None:
    """Demand that none of the options here was given. Raises BadValueError."""
    options = given(args)
    if options:
        raise BadValueError(f"{options[0]} describes a step that is predicted; {why}")


def job(args: argparse.Namespace, model: Model, hardware: Hardware, own: OwnRates | None) -> Job:
    """What is trained on what, as given.

    Raises:
        BadValueError: a model or an optimizer that no step is predicted of, or a sequence that is too long.
    """
    return Job(
        model=model,
        hardware=hardware,
        seq_len=arguments.sequence_length(model, args.seq_len),
        dtype=args.dtype,
        stack_id=args.software or DEFAULT_STACK,
        optimizer=args.optimizer or "adamw",
        network_bytes_per_s=args.network,
        own=own,
    )
