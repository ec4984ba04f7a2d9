"""A published MFU or TFLOP/s in the convention, and against the peak, of another tool.

python -m bench translate --model llama-2-7b --seq-len 4096 --mfu 0.54 --from llm-foundry --to megatron
python -m bench translate --model llama-3-8b --seq-len 8192 --tflops 711 --from nemo-24.07 --to all --hardware h100-sxm5-80gb --dtype fp8
python -m bench translate --model gpt-3 --tflops 140 --from megatron-2021 --to palm --hardware a100-sxm4-80gb --recompute full
"""

from __future__ import annotations

import argparse

from bench.cli import arguments, sequences
from bench.cli.output import Output
from estimators.counting.estimate import count_params
from estimators.counting.translate import least, read, translate
from estimators.errors import BadValueError
from estimators.facts.tool_conventions import ToolConvention, tool, tools
from estimators.frozen import frozen
from estimators.parsing import parse_float, parse_flop_rate
from estimators.spec import Recompute, Workload
from reports.views.counting.translation import conditions, physics_notes, translation_tables
from reports.views.counting.translation_screen import translation_screen
from reports.views.training.conditions import scope_notes

MAX_UTILIZATION = 10
"""More than ten times the peak is a slip of the pen; less may be a convention's fault, and is explained."""

EVERYBODY = "all"


@frozen
class Options(arguments.ModelOptions):
    """Options of `translate`.

    Attributes:
        given_by, to: whose figure it is, and whose it becomes; None for everybody's.
        frozen: whether all weights but small adapters were frozen.
    """

    mfu: float | None
    flop_per_s: float | None
    given_by: ToolConvention
    to: ToolConvention | None
    seq_len: int | None
    hardware: str | None
    dtype: str
    recompute: Recompute
    frozen: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `translate`."""
    arguments.add_model(parser)
    figure = parser.add_argument_group("the published figure").add_mutually_exclusive_group(required=True)
    figure.add_argument("--mfu", type=_utilization, metavar="SHARE", help="share of peak, such as 0.54 or 54%%")
    figure.add_argument("--tflops", type=_flop_rate, dest="flop_per_s", metavar="NUM", help="TFLOP/s of one device, such as 168")
    between = parser.add_argument_group("conventions")
    between.add_argument("--from", type=tool, required=True, dest="given_by", metavar="NAME", help=", ".join(tools()))
    between.add_argument("--to", type=_tool_or_all, required=True, metavar="NAME", help="one of them, or all")
    run = parser.add_argument_group("the run")
    sequences.add_sequence(run)
    run.add_argument("--hardware", metavar="ID", help="the device, whose peaks differ between tools: python -m bench list hardware")
    arguments.add_dtype(run)
    run.add_argument("--recompute", choices=("none", "full"), default="none", help="whether it recomputed activations; none by default")
    run.add_argument("--frozen", action="store_true", help="all weights but small adapters were frozen (LoRA)")


def run(options: Options, out: Output) -> int:
    """Translate; 1 where no machine can have done it."""
    model, entry = arguments.load_model(options)
    hardware = arguments.load_hardware(options.hardware) if options.hardware else None
    length = sequences.training_length(model, entry, options.seq_len)
    seq_len = length.tokens
    given = read(
        options.given_by,
        model,
        seq_len=seq_len,
        recompute=options.recompute,
        utilization=options.mfu,
        flop_per_s=options.flop_per_s,
        hardware=hardware,
        dtype=options.dtype,
    )
    targets = [options.to] if options.to else [other for other in tools().values() if other != options.given_by]
    translations = [translate(given, to, model, recompute=options.recompute, hardware=hardware, dtype=options.dtype) for to in targets]
    at_least = least(given, model, hardware=hardware, dtype=options.dtype)
    params = count_params(model.ops(Workload(phase="train", seq_len=seq_len)))
    notes = physics_notes(
        [given, *(translation.translated for translation in translations)],
        at_least,
        frozen=options.frozen,
        hardware=hardware,
        dtype=options.dtype,
        recompute=options.recompute,
    )
    lines = conditions(model, params, length, hardware, options.dtype, options.recompute)
    tables = translation_tables(translations, conditions=lines, notes=notes)
    share = None if at_least is None else at_least.frozen if options.frozen else at_least.training
    possible = None if share is None else share <= 1
    shown = arguments.with_all_facts(tables, model=model.name, seq_len=seq_len, least_fraction=share, possible=possible)
    scope = scope_notes(model, Workload(phase="train", seq_len=seq_len), [hardware] if hardware else [])
    out.emit(shown, translation_screen(translations, shown[0], scope=scope, physics=notes, possible=possible))
    return 1 if possible is False else 0


def _utilization(text: str) -> float:
    try:
        return parse_float(text, "mfu", minimum=0, maximum=MAX_UTILIZATION, exclusive_minimum=True)
    except BadValueError as error:
        raise BadValueError(f"{error}; a percentage needs its sign, as in 54%") from None


def _flop_rate(text: str) -> float:
    return parse_flop_rate(text, "tflops")


def _tool_or_all(text: str) -> ToolConvention | None:
    """None stands for all."""
    return None if text.casefold() == EVERYBODY else tool(text)
