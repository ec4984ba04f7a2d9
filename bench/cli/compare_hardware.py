"""One training run on several kinds of device, side by side: predicted, or at a utilization with --utilization.

python -m bench compare-hardware --model llama-3-8b --tokens 1T --hardware all --gpus 64
python -m bench compare-hardware --model gpt-3 --tokens 300B --hardware a100-sxm4-80gb,h100-sxm5-80gb,h200-sxm-141gb --utilization 0.4
"""

from __future__ import annotations

import argparse

from bench.cli import amounts, arguments, names, outlook, sequences, step_options
from bench.cli.output import Output
from estimators.cost.layout import MAX_DEVICES
from estimators.frozen import frozen, replace
from estimators.training.at_utilization import COUNTED_AS
from estimators.training.on_devices import HardwareComparison, compare_hardware
from estimators.training.question import Question
from reports.table import Table
from reports.views.planning.hardware import holding_table, training_table
from reports.views.planning.hardware_screen import hardware_screen
from reports.views.planning.predicted_hardware import comparison_table, fastest_first

HAS_PICTURES = True
MAX_CANDIDATES = 200


@frozen
class Options(step_options.TrainingOptions):
    """Options of `compare-hardware`."""

    tokens: int | None
    images_total: int | None
    hardware: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `compare-hardware`."""
    arguments.add_model(parser)
    group = parser.add_argument_group("the training")
    amounts.add_arguments(group, tokens_help="tokens (or samples), such as 300B")
    group.add_argument(
        "--hardware",
        type=names.listed("--hardware", MAX_CANDIDATES),
        metavar="ID,ID,...",
        required=True,
        help="devices, separated by commas: python -m bench list hardware; all: those with a measured matmul ceiling",
    )
    group.add_argument(
        "--gpus",
        type=arguments.count("gpus", maximum=MAX_DEVICES),
        metavar="NUM",
        help="of each kind; else the fewest that hold the training",
    )
    arguments.add_utilization(group, COUNTED_AS)
    sequences.add_sequence(group)
    arguments.add_dtype(group)
    step_options.add_arguments(parser)
    arguments.add_method(parser)
    arguments.add_habits(parser)
    group.add_argument("--explain", action="store_true", help=arguments.EXPLAIN_HELP)


def run(options: Options, out: Output) -> int:
    """Compare."""
    ids = _with_ceilings(options.dtype) if options.hardware == ("all",) else options.hardware
    model, entry = arguments.load_model(options)
    devices = [arguments.load_hardware(name) for name in ids]
    question = step_options.question(options, model, entry, devices, tokens=amounts.trained_on(options, model))
    answer = compare_hardware(question, devices)
    held = [holding_table(answer.bounds)] if answer.bounds else []
    if answer.predicted:
        first, explained = comparison_table(answer.predicted), _ledgers(answer) if options.explain else []
    else:
        first = training_table(answer.at_utilization)
        explained = _explanations(answer, arguments.model_option(options)) if options.explain else []
    filled = _filled(question, answer) if options.outlook or out.draws else []
    asked = [*(filled if options.outlook else []), *explained]
    screen = hardware_screen(answer, first, more=arguments.explain_more(options.explain), asked=asked)
    tables = [first, *held, *filled, *explained]
    tables = arguments.with_all_facts(tables) if answer.predicted else tables
    out.emit(tables, screen, outlook.pictures(out, tables))
    return 0


def _filled(question: Question, answer: HardwareComparison) -> list[Table]:
    """What fills a device of each kind whose step is predicted."""
    from estimators.training.layouts.outlook import held

    predicted = [(device.hardware, device.answer.run.prediction.layout) for device in fastest_first(answer.predicted) if device.answer]
    return outlook.held_tables([held(replace(question, hardware=hardware).job, layout) for hardware, layout in predicted])


def _with_ceilings(dtype: str) -> tuple[str, ...]:
    """The devices whose matmul ceiling was measured for a dtype."""
    from estimators.cost.machine import ceilings

    return tuple(dict.fromkeys(hardware_id for hardware_id, measured in ceilings() if measured == dtype))


def _explanations(answer: HardwareComparison, model_option: str) -> list[Table]:
    """How each answer at a utilization came about."""
    from reports.views.explain.training import explain_training

    return [
        explain_training(device.answer, model_option=model_option, key=f"explanation of {device.hardware.id}")
        for device in answer.at_utilization
        if device.answer
    ]


def _ledgers(answer: HardwareComparison) -> list[Table]:
    """Where each predicted step goes."""
    from reports.views.training.step_ledger import ledger_table

    tables = [(device.hardware.id, ledger_table(device.answer.run.prediction)) for device in answer.predicted if device.answer]
    return [
        replace(table, title=f"{device}: {table.title[0].lower()}{table.title[1:]}", key=f"step on {device}") for device, table in tables
    ]
