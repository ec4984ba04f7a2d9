"""Options of a step that is predicted from first principles, shared by the verbs that predict whole trainings."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import arguments
from estimators.errors import BadValueError
from estimators.parsing import parse_byte_rate, parse_carbon

if TYPE_CHECKING:
    from estimators.cost.machine import OwnRates
    from estimators.training.run import Setup

NAMES = ("layout", "from", "global_batch", "software", "optimizer", "network", "calibration", "carbon")
"""Every option here; None unless given."""

_DESTS = {"from": "from_file"}

MAX_BATCH_TOKENS = 10**10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--layout, --from, --global-batch, --software, --optimizer, --network, --calibration, --carbon."""
    group = parser.add_argument_group("the step, which is predicted where --gpus is given and --utilization is not")
    group.add_argument(
        "--layout", type=_layout, metavar="KEY=VALUE,...", help="such as tp=2,pp=1,zero=3,micro_batch=2; else one that fits is chosen"
    )
    group.add_argument("--from", dest="from_file", metavar="FILE", help="the layout of a launcher's file, as `plan --emit` writes them")
    group.add_argument(
        "--global-batch",
        type=arguments.count("global-batch", maximum=MAX_BATCH_TOKENS),
        metavar="TOKENS",
        help="of one step, all devices together, such as 4M; else as the published run nearest in size",
    )
    group.add_argument("--software", type=_software, metavar="ID", help="python -m bench list software; megatron-core by default")
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


def read_launcher_file(args: argparse.Namespace, seq_len: int) -> None:
    """Set --layout, and --gpus and --global-batch where they were not given, from the launcher's file of --from.

    Raises:
        RequestError: --layout beside it, a file that is no launcher's, or one for other devices than --gpus.
    """
    if args.from_file is None:
        return
    from estimators.training.layouts.emit import from_file

    if args.layout is not None:
        raise BadValueError("--layout and --from both give a layout; leave one out")
    sequences = None if args.global_batch is None else max(1, round(args.global_batch / seq_len))
    layout = from_file(args.from_file, num_devices=args.gpus, global_batch=sequences)
    if args.gpus not in (None, layout.num_devices):
        raise BadValueError(f"the layout of {args.from_file!r} is for {layout.num_devices:,} GPUs; --gpus was {args.gpus:,}, leave it out")
    args.layout, args.gpus = str(layout), layout.num_devices
    if args.global_batch is None:
        args.global_batch = layout.global_batch * seq_len


def _layout(text: str) -> str:
    if not text.strip():
        raise BadValueError("layout is empty; expected for example tp=2,pp=1,zero=3,micro_batch=2, or no --layout")
    return text


def _software(text: str) -> str:
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


def setup(args: argparse.Namespace, *hardware_ids: str) -> Setup:
    """What was given, for `predicted_run` on these devices."""
    from estimators.cost.software import DEFAULT_STACK
    from estimators.training.run import Setup

    return Setup(
        layout=args.layout or "",
        batch_tokens=args.global_batch,
        dtype=args.dtype,
        software=args.software or DEFAULT_STACK,
        optimizer=args.optimizer or "adamw",
        network_bytes_per_s=args.network,
        own=own_rates(args, hardware_ids),
    )
