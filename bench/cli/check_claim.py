"""What utilization a claimed training implies under each convention, where that stands among published runs, and
whether physics allows it.

python -m bench check-claim --model phi-2 --tokens 1.4T --hardware a100-sxm4-80gb --gpus 96 --days 14
python -m bench check-claim --model llama-3-8b --tokens 15T --seq-len 8192 --hardware h100-sxm5-80gb --gpus 16000 --days 81h
"""

from __future__ import annotations

import argparse

from bench.cli import amounts, arguments, names, sequences
from bench.cli.output import Output
from estimators.cost.layout import MAX_DEVICES
from estimators.errors import BadValueError
from estimators.frozen import frozen
from estimators.spec import Recompute
from estimators.training.answer import training_answer
from estimators.training.inverse import claim_of
from estimators.training.question import Question
from reports.views.training.claim import claim_tables
from reports.views.training.claim_screen import claim_screen


@frozen
class Options(arguments.ModelOptions):
    """Options of `check-claim`."""

    tokens: int | None
    images_total: int | None
    hardware: str
    gpus: int | None
    wall_s: float
    seq_len: int | None
    dtype: str
    recompute: Recompute


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `check-claim`."""
    arguments.add_model(parser)
    claim = parser.add_argument_group("the claim")
    amounts.add_arguments(claim, tokens_help="tokens trained on, such as 1.4T")
    claim.add_argument("--hardware", required=True, metavar="NAME", help=names.HARDWARE_HELP)
    claim.add_argument(
        "--gpus", type=arguments.count("gpus", maximum=MAX_DEVICES), metavar="NUM", help="number of devices, unless --hardware has it"
    )
    claim.add_argument(
        "--days", type=arguments.duration("days"), required=True, dest="wall_s", metavar="TIME", help="wall time, such as 14 or 36h"
    )
    details = parser.add_argument_group("details of the run")
    sequences.add_sequence(details)
    arguments.add_dtype(details)
    details.add_argument("--recompute", choices=("none", "full"), default="none", help="whether it recomputed activations; none by default")


def run(options: Options, out: Output) -> int:
    """Judge; 1 where physics forbids it.

    Raises:
        BadValueError: it is not said on how many devices.
    """
    if options.gpus is None:
        raise BadValueError("on how many devices? Give --gpus NUM, or the number before the device, as in --hardware 8xH100")
    model, entry = arguments.load_model(options)
    hardware = arguments.load_hardware(options.hardware)
    length = sequences.training_length(model, entry, options.seq_len)
    question = Question(
        model=model,
        hardware=hardware,
        seq_len=length.tokens,
        seq_len_source=length.source,
        params_text=entry.published_params_text if entry else "",
        tokens=amounts.trained_on(options, model),
        dtype=options.dtype,
        num_devices=options.gpus,
    )
    claim = claim_of(question, options.wall_s, options.recompute)
    training = training_answer(question)
    tables = arguments.with_all_facts(claim_tables(claim, training), model=model.name)
    out.emit(tables, claim_screen(claim, training, tables[0]))
    return 0 if claim.possible else 1
